/** What is known of a clip: the same, whichever engine heard it (the service's `Recognition`). */

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
  centre: number[][] | null;
  scope: number[][] | null;
  gates: number[][] | null;
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

/** Something that recognizes. */
export interface Engine {
  /** Words for the reader: where audio goes. */
  readonly where: string;
  recognize(clip: Clip): Promise<Recognition>;
  listen(rate: number, hear: (event: LiveEvent) => void, fail: (reason: Error) => void): Promise<Live>;
}

/** Live speech on its way. */
export interface Live {
  feed(samples: Float32Array): void;
  stop(): Promise<void>;
}

/** One channel's samples at 16 kHz, and what is unusual about the recording that they come from. */
export interface Sound {
  samples: Float32Array;
  notices: string[];
}

/** A clip as it was given, and its sound. */
export interface Clip extends Sound {
  name: string;
  file: Blob;
}

export const RATE = 16_000;
