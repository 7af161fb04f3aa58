/** Live speech at 16 kHz → an event for each segment: `StreamingRecognizer` of the package, frame by frame. */

import * as ort from "onnxruntime-web/wasm";
import { named, softmax } from "./segments";
import type { Settings } from "./settings";
import { RATE, type LiveEvent } from "../types";
import { EnergyVoice, Smoother } from "./voice";

const MIDDLE_SECONDS = 0.15;

export class LiveSpeech {
  private readonly hop: number; // frames from event to event
  private readonly around: number; // frames that a frame's window reaches over
  private readonly voice: EnergyVoice;
  private readonly smoother: Smoother;
  private samples = new Float32Array(0); // from frame `origin` on
  private origin = 0;
  private heard = 0; // samples
  private frames: { encoded: Float32Array; level: number; voiced: boolean }[] = []; // from frame `first` on
  private first = 0;
  private done = 0; // segments

  constructor(
    private readonly settings: Settings,
    private readonly encode: ort.InferenceSession,
    private readonly classify: ort.InferenceSession,
    private readonly otherInputs: Record<string, ort.Tensor>,
  ) {
    const second = settings.hop / RATE;
    this.hop = Math.max(1, Math.round(settings.live.hop / second));
    this.around = Math.ceil(settings.reach / 2 / settings.hop);
    this.voice = new EnergyVoice(settings.segment.top_db, second);
    this.smoother = new Smoother(this.hop * second);
  }

  async feed(fresh: Float32Array): Promise<LiveEvent[]> {
    const joined = new Float32Array(this.samples.length + fresh.length);
    joined.set(this.samples);
    joined.set(fresh, this.samples.length);
    this.samples = joined;
    this.heard += fresh.length;
    const frames = Math.max(0, 1 + Math.floor((this.heard - this.settings.ahead) / this.settings.hop));
    const ready = frames >= this.settings.live.frames ? this.segmentsIn(frames) : 0;
    return this.advance(frames, ready);
  }

  /** What is left, as if silence followed. */
  async finish(): Promise<LiveEvent[]> {
    const frames = 1 + Math.floor(this.heard / this.settings.hop);
    return this.heard ? this.advance(frames, this.segmentsIn(frames)) : [];
  }

  private segmentsIn(frames: number): number {
    return Math.max(1, 1 + Math.floor((frames - this.settings.live.frames) / this.hop));
  }

  private async advance(frames: number, ready: number): Promise<LiveEvent[]> {
    if (ready <= this.done) return [];
    await this.compute(frames);
    const events: LiveEvent[] = [];
    for (; this.done < ready; this.done++) events.push(await this.event(this.done));
    const kept = Math.min(this.done * this.hop - this.first, this.frames.length);
    this.frames.splice(0, kept);
    this.first += kept;
    return events;
  }

  /** Encode frames up to a number, and forget the samples that no later one needs. */
  private async compute(frames: number): Promise<void> {
    const { hop } = this.settings;
    const waveform = new ort.Tensor("float32", this.samples, [1, this.samples.length]);
    const found = await this.encode.run({ waveform, lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(this.samples.length)), [1]) });
    const [, , width] = found.encoded.dims;
    const encoded = found.encoded.data as Float32Array;
    const level = found.level.data as Float32Array;
    for (let frame = this.first + this.frames.length; frame < frames; frame++) {
      const i = frame - this.origin;
      this.frames.push({
        encoded: encoded.slice(i * width, (i + 1) * width),
        level: level[i],
        voiced: this.voice.hears(level[i]),
      });
    }
    const origin = Math.max(0, frames - this.around);
    this.samples = this.samples.slice((origin - this.origin) * hop);
    this.origin = origin;
  }

  private async event(number: number): Promise<LiveEvent> {
    const { labels, live, temperature, threshold, hop } = this.settings;
    const start = number * this.hop - this.first;
    const part = this.frames.slice(start, start + live.frames);
    const width = part[0].encoded.length;
    const rows = new Float32Array(part.length * width);
    part.forEach((frame, i) => rows.set(frame.encoded, i * width));
    const frames = new ort.Tensor("float32", rows, [1, part.length, width]);
    const found = await this.classify.run({ ...this.otherInputs, frames }, ["frame_logits"]);
    const scores = softmax(found.frame_logits.data as Float32Array, temperature);
    const reach = Math.ceil((MIDDLE_SECONDS * RATE) / hop);
    const middle = Math.floor(part.length / 2);
    const speech = part.slice(Math.max(0, middle - reach), middle + reach + 1).some((frame) => frame.voiced);
    this.smoother.update(scores, speech);
    const { label, mean } = this.smoother;
    const second = hop / RATE;
    const begins = number * this.hop * second;
    return {
      start: begins,
      end: Math.min(begins + live.frames * second, this.heard / RATE),
      emotion: label === null ? null : labels[label],
      confident: label !== null && mean !== null && mean[label] >= threshold,
      speech,
      damaged: false,
      level: Math.max(...part.map((frame) => frame.level)),
      scores: named(scores, labels),
    };
  }
}
