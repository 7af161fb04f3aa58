/** What is known of a recording: the same, whichever engine heard it (the service's `Recognition`). */

export interface Segment {
  start: number;
  end: number;
  label: string;
  scores: Record<string, number>;
}

export interface Listening {
  frames: number[];
  attention: (number | null)[];
  loudest: number;
  segments: number[];
  /** Whether a segment is loud enough to count. */
  speech: boolean[];
  centre: number[][] | null;
  scope: number[][] | null;
  gates: number[][] | null;
  /** Largest sample of each frame; from the service alone. */
  amplitude?: number[];
}

export interface Recognition {
  model: string;
  label: string;
  confident: boolean;
  scores: Record<string, number>;
  duration: number;
  warnings: string[];
  timeline: Segment[] | null;
  listening: Listening | null;
}

/** What was heard in one segment of live speech (the service's events). */
export interface LiveEvent {
  start: number;
  end: number;
  emotion: string | null;
  confident: boolean;
  speech: boolean;
  damaged: boolean;
  level: number;
  scores: Record<string, number>;
}

/** Samples at 16 kHz, one channel, block by block. */
export interface Sound {
  blocks(): AsyncIterable<Float32Array>;
  /** Seconds, as far as the file says before it is read. */
  seconds: number | null;
  /** What is unusual about the file; complete when all blocks are read. */
  notices: string[];
}

/** A recording as it was given. */
export interface Clip {
  name: string;
  file: Blob;
  /** Its sound; null where this browser cannot read the file. */
  sound: Sound | null;
}

/** How far it is, and whether it goes on. */
export interface Watch {
  signal: AbortSignal;
  report(seconds: number): void;
  /** Takes samples that are on their way to the engine. */
  see(samples: Float32Array): void;
}

/** Something that recognizes. */
export interface Engine {
  recognize(clip: Clip, watch: Watch): Promise<Recognition>;
  listen(hear: (event: LiveEvent) => void, fail: (reason: unknown) => void): Promise<Live>;
}

/** Live speech on its way. */
export interface Live {
  feed(samples: Float32Array): void;
  stop(): Promise<void>;
}

export const RATE = 16_000;

/** Shortest sound, in samples, and least swing, that can be recognized: as in the package. */
export const LEAST_SAMPLES = 400;
export const LEAST_SWING = 1e-4;
