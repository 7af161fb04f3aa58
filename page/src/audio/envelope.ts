/** Lowest and highest sample of each few milliseconds: what a waveform is drawn from, at any zoom. */

import { RATE } from "../types";

const BUCKET = 64; // samples

export class Envelope {
  private low = new Float32Array(1 << 12);
  private high = new Float32Array(1 << 12);
  private count = 0; // samples
  peak = 0;

  /** An envelope of the largest sample of each frame, where no samples are at hand. */
  static of(amplitude: number[], duration: number): Envelope {
    const found = new Envelope();
    const size = Math.round((duration * RATE) / Math.max(1, amplitude.length));
    for (const value of amplitude) {
      const frame = new Float32Array(size).fill(value);
      for (let t = 0; t < size; t += 2) frame[t] = -value;
      found.feed(frame);
    }
    return found;
  }

  get seconds(): number {
    return this.count / RATE;
  }

  feed(samples: Float32Array): void {
    const needed = Math.ceil((this.count + samples.length) / BUCKET);
    if (needed > this.low.length) [this.low, this.high] = [grown(this.low, needed), grown(this.high, needed)];
    for (let t = 0; t < samples.length; t++) {
      const place = Math.floor((this.count + t) / BUCKET);
      const sample = samples[t];
      if (sample < this.low[place]) this.low[place] = sample;
      else if (sample > this.high[place]) this.high[place] = sample;
    }
    for (const sample of samples) this.peak = Math.max(this.peak, Math.abs(sample));
    this.count += samples.length;
  }

  /** Lowest and highest sample between two seconds. */
  between(start: number, end: number): [number, number] {
    const first = Math.max(0, Math.floor((start * RATE) / BUCKET));
    const last = Math.min(Math.ceil(this.count / BUCKET), Math.max(first + 1, Math.ceil((end * RATE) / BUCKET)));
    let [low, high] = [0, 0];
    for (let i = first; i < last; i++) {
      low = Math.min(low, this.low[i]);
      high = Math.max(high, this.high[i]);
    }
    return [low, high];
  }
}

function grown(values: Float32Array<ArrayBuffer>, needed: number): Float32Array<ArrayBuffer> {
  const larger = new Float32Array(2 * needed);
  larger.set(values);
  return larger;
}
