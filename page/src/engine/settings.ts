/** `config.json` of a model: what the page needs of it. */

export interface Settings {
  model: string;
  labels: string[];
  /** Samples from frame to frame. */
  hop: number;
  /** Samples from a frame's position to its middle, to the last one that it is made of, and around its middle. */
  centre: number;
  ahead: number;
  reach: number;
  /** Frames of a segment of live speech, and seconds from one to the next. */
  live: { frames: number; hop: number };
  /** Whether features are without a DC offset. */
  offsetRemoved: boolean;
  /** Frames of a segment, from segment to segment, and decibels below the loudest that are silence. */
  segment: { frames: number; hop: number; top_db: number };
  /** Frames of a position of the attention maps. */
  step: number;
  temperature: number;
  threshold: number;
  /** Features of a voice, and seconds of speech at which it counts half, of a model that can be adapted; null for others. */
  voice: { size: number; strength: number } | null;
  /** Features that overlapping segments share of a frame, where `model.onnx` classifies live segments too; 0 elsewhere. */
  frameSize: number;
  /** File of the page's model → bytes of it, so that loading can be shown. */
  bytes: Record<string, number>;
}

export function settingsOf(config: any): Settings {
  const labels = Object.keys(config.id2label)
    .sort((a, b) => Number(a) - Number(b))
    .map((key) => config.id2label[key] as string);
  if (config.format !== "emofocus/1" || config.features.deltas !== 0) {
    throw new Error("this page cannot run this model: another format, or features with slopes");
  }
  return {
    model: config.model,
    labels,
    hop: config.features.hop,
    centre: config.page.centre,
    ahead: config.page.ahead,
    reach: config.features.window,
    live: { frames: config.page.live_frames, hop: config.page.live_hop },
    offsetRemoved: config.features.remove_offset === true,
    segment: config.segment,
    step: config.frames_a_step,
    temperature: config.temperature,
    threshold: config.threshold,
    voice: config.page.voice_size ? { size: config.page.voice_size, strength: config.network.voice_seconds } : null,
    frameSize: "live-classify.onnx" in (config.page.bytes ?? {}) ? 0 : config.page.frame_size,
    bytes: config.page.bytes ?? {},
  };
}
