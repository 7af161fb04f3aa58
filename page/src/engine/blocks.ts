/** A recording of any length → its outputs, block by block: `BlockRunner` of the package, in memory of a block. */

import { RATE } from "../types";
import type { Outputs } from "./outputs";
import { segmentCount } from "./segments";
import type { Settings } from "./settings";

/** Samples that are scored at a time, as in the package. */
export const BLOCK_SAMPLES = 10 * RATE;

/** What is kept of all blocks: a few numbers a segment, and one a frame. */
export interface Scored {
  logits: number[][]; // S rows of C
  level: number[]; // n
  received: number[][] | null; // S rows of m: attention to each position over an even share
  centre: number[][] | null; // S rows of h: in positions 1 … m
  scope: number[][] | null; // S rows of h: in positions
  gates: number[][] | null; // S rows of h
  voice: number[][] | null; // S rows of 2 · F, where a voice is measured
}

export const NOTHING = (): Scored => ({ logits: [], level: [], received: null, centre: null, scope: null, gates: null, voice: null });

const BY_SEGMENT = ["received", "centre", "scope", "gates", "voice"] as const;

/** Runs samples (T,) through the model: all segments and frames of them. */
export type Run = (samples: Float32Array) => Promise<Outputs>;

export class Blocks {
  readonly scored = NOTHING();
  private waiting: Float32Array[] = [];
  private count = 0; // samples that wait
  private origin = 0; // position of the first of them
  private readonly hop: number; // samples from segment to segment
  private readonly margin: number; // segments that stay, because windows of the next frames reach before them

  constructor(
    private readonly settings: Settings,
    private readonly run: Run,
    private readonly size = BLOCK_SAMPLES,
  ) {
    this.hop = settings.segment.hop * settings.hop;
    this.margin = Math.ceil(Math.ceil(settings.reach / 2 / settings.hop) / settings.segment.hop);
  }

  async feed(samples: Float32Array): Promise<void> {
    for (let start = 0; start < samples.length; start += this.size) {
      const part = samples.subarray(start, start + this.size);
      this.waiting.push(part);
      this.count += part.length;
      if (this.count >= this.size) await this.score(false);
    }
  }

  async finish(): Promise<void> {
    if (this.count) await this.score(true);
    this.waiting = [];
  }

  private async score(last: boolean): Promise<void> {
    const samples = joined(this.waiting, this.count);
    const [frames, segments] = this.final(samples.length, last);
    const out = segments || last ? await this.run(samples) : null;
    const firstSegment = this.origin / this.hop;
    const firstFrame = this.origin / this.settings.hop;
    if (out) this.take(out, firstFrame, frames, firstSegment, segments);
    this.origin = Math.max(0, firstSegment + segments - this.margin) * this.hop;
    const rest = samples.slice(this.origin - firstSegment * this.hop);
    this.waiting = [rest];
    this.count = rest.length;
  }

  /** Frames and segments that no later sample can change. */
  private final(samples: number, last: boolean): [number, number] {
    const { hop, ahead, segment } = this.settings;
    if (last) {
      const frames = 1 + Math.floor(samples / hop);
      return [frames, segmentCount(frames, this.settings)];
    }
    const frames = Math.max(0, 1 + Math.floor((samples - ahead) / hop));
    return [frames, frames >= segment.frames ? segmentCount(frames, this.settings) : 0];
  }

  private take(out: Outputs, firstFrame: number, frames: number, firstSegment: number, segments: number): void {
    const { scored } = this;
    const newFrames = scored.level.length - firstFrame;
    for (let frame = newFrames; frame < frames; frame++) scored.level.push(out.level[frame]);
    const from = scored.logits.length - firstSegment;
    scored.logits.push(...out.logits.slice(from, segments));
    for (const name of BY_SEGMENT) {
      const rows = out[name];
      if (rows) (scored[name] ??= []).push(...rows.slice(from, segments));
    }
  }
}

export function joined(parts: Float32Array[], count: number): Float32Array {
  if (parts.length === 1) return parts[0];
  const whole = new Float32Array(count);
  parts.reduce((place, part) => (whole.set(part, place), place + part.length), 0);
  return whole;
}
