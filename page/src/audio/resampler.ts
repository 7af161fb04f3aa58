/** Samples of any rate → 16 kHz, block by block: a Kaiser-windowed sinc (Smith, *Digital Audio Resampling*, 2002). */

import { RATE } from "../types";

const ZEROS = 24; // zero crossings on either side
const BETA = 9; // some 90 dB
const ROLLOFF = 0.95; // of the lower of both Nyquist frequencies

export class Resampler {
  private readonly up: number;
  private readonly down: number;
  private readonly reach: number; // input samples on either side
  private readonly filters: Float32Array[]; // one for each phase
  private kept: Float32Array; // input from position `origin` on
  private origin: number;
  private heard = 0; // input samples
  private given = 0; // output samples

  constructor(rate: number) {
    const common = divisor(rate, RATE);
    [this.up, this.down] = [RATE / common, rate / common];
    const cutoff = ROLLOFF * Math.min(1, RATE / rate);
    this.reach = Math.ceil(ZEROS / cutoff);
    this.filters = Array.from({ length: this.up }, (_, phase) => filter(phase / this.up, cutoff, this.reach));
    this.origin = -this.reach; // silence before
    this.kept = new Float32Array(this.reach);
  }

  feed(samples: Float32Array): Float32Array {
    this.heard += samples.length;
    return this.advance(samples, Math.max(0, Math.floor(((this.heard - this.reach - 1) * this.up) / this.down)));
  }

  /** The rest, as if silence followed. */
  finish(): Float32Array {
    return this.advance(new Float32Array(this.reach + 1), Math.ceil((this.heard * this.up) / this.down));
  }

  private advance(samples: Float32Array, end: number): Float32Array {
    const input = new Float32Array(this.kept.length + samples.length);
    input.set(this.kept);
    input.set(samples, this.kept.length);
    const out = new Float32Array(Math.max(0, end - this.given));
    for (let i = 0; i < out.length; i++) {
      const place = (this.given + i) * this.down;
      const taps = this.filters[place % this.up];
      const first = Math.floor(place / this.up) - this.reach + 1 - this.origin;
      let sum = 0;
      for (let k = 0; k < taps.length; k++) sum += taps[k] * input[first + k];
      out[i] = sum;
    }
    this.given += out.length;
    const next = Math.floor((this.given * this.down) / this.up) - this.reach;
    const cut = Math.max(0, Math.min(input.length, next - this.origin));
    this.kept = input.slice(cut);
    this.origin += cut;
    return out;
  }
}

/** Weights of the input samples around a place that lies a fraction behind one of them. */
function filter(fraction: number, cutoff: number, reach: number): Float32Array {
  return Float32Array.from({ length: 2 * reach }, (_, k) => {
    const distance = k - reach + 1 - fraction;
    const share = distance / reach;
    if (Math.abs(share) >= 1) return 0;
    const x = Math.PI * cutoff * distance;
    const sinc = x === 0 ? 1 : Math.sin(x) / x;
    return cutoff * sinc * (bessel(BETA * Math.sqrt(1 - share * share)) / bessel(BETA));
  });
}

/** Modified Bessel function of the first kind, order zero. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) sum += term *= (x / 2 / k) ** 2;
  return sum;
}

function divisor(a: number, b: number): number {
  return b ? divisor(b, a % b) : a;
}
