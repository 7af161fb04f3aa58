/** What is wrong with a recording: the rules, numbers and words of `emofocus.audio.quality`. */

import { Trouble } from "../trouble";
import { LEAST_SAMPLES, LEAST_SWING, RATE } from "../types";

const SOFT_DB = -45;
const CLIPPED_SHARE = 1e-3;
const CLIPPED_RUN = 4;
const NARROW_HERTZ = 6_200;
const NARROW_DB = -65;
const NOISY_DB = 20;
const SPARSE_SHARE = 0.15;
const OFFSET_SHARE = 3e-4;
const OFFSET_ERRORS = 4;
const LEAST_FRAMES = 50;
const SPECTRUM = 1024;
const LOOKS = 64;

/** Watches a recording block by block: `Quality` of the package. */
export class Quality {
  samples = 0;
  /** Number of the sample that is the largest. */
  loudest = 0;
  lowest = Infinity;
  highest = -Infinity;
  private peak = 0; // as far as runs at it are counted
  private peakSoFar = 0;
  private clipped = 0;
  private sum = 0;
  private squares = 0;
  private whole = 0;
  private high = 0;

  feed(block: Float32Array): void {
    if (!block.length) return;
    let most = 0;
    for (let t = 0; t < block.length; t++) {
      const sample = block[t];
      const size = Math.abs(sample);
      if (size > most) most = size;
      if (size > this.peakSoFar) [this.peakSoFar, this.loudest] = [size, this.samples + t];
      this.lowest = Math.min(this.lowest, sample);
      this.highest = Math.max(this.highest, sample);
      this.sum += sample;
      this.squares += sample * sample;
    }
    if (most > 1.001 * this.peak) [this.peak, this.clipped] = [most, 0]; // earlier runs were not at the largest of all
    if (most >= 0.999 * this.peak) this.clipped += clipped(block, this.peak);
    this.samples += block.length;
    this.listenToTreble(block);
  }

  /** Half of the distance from the lowest to the highest sample. */
  get swing(): number {
    return (this.highest - this.lowest) / 2;
  }

  /** Warnings, with the level of each frame in dB; whether features are without an offset. */
  warnings(level: ArrayLike<number>, offsetRemoved: boolean): string[] {
    const found: string[] = [];
    const offset = offsetRemoved ? 0 : this.offset();
    if (offset !== 0) found.push(`offset: the mean of the samples is ${(100 * offset).toFixed(2)}% of full scale, which changes answers`);
    const peak = 20 * Math.log10(Math.max(this.peak, 1e-9));
    if (peak < SOFT_DB) found.push(`soft: its largest sample is at ${peak.toFixed(0)} dB full scale`);
    const share = this.clipped / Math.max(1, this.samples);
    if (share > CLIPPED_SHARE) found.push(`clipped: ${(100 * share).toFixed(1)}% of the samples are cut off at the largest value`);
    const band = this.whole > 0 ? 10 * Math.log10(Math.max(this.high / this.whole, 1e-12)) : null;
    if (band !== null && band < NARROW_DB) {
      found.push("narrow: nothing above 6 kHz, as on a telephone or after strong compression");
    }
    if (level.length >= LEAST_FRAMES && offset === 0) {
      const ordered = Float32Array.from(level).sort();
      const apart = quantile(ordered, 0.95) - quantile(ordered, 0.1);
      if (apart < NOISY_DB) found.push(`noisy: ${apart.toFixed(0)} dB between loud and soft moments; noise, or no pause`);
      const near = ordered.filter((value) => value >= ordered[ordered.length - 1] - 40).length / ordered.length;
      if (near < SPARSE_SHARE) found.push(`sparse: ${Math.round(100 * near)}% of it is near its loudest`);
    }
    return found;
  }

  /** Mean of the samples; 0 where it may be chance. */
  private offset(): number {
    const mean = this.sum / this.samples;
    const error = Math.sqrt(Math.max(this.squares / this.samples - mean * mean, 0) / this.samples);
    return Math.abs(mean) > Math.max(OFFSET_SHARE, OFFSET_ERRORS * error) ? mean : 0;
  }

  /** Add the power of the block, and that of its treble. */
  private listenToTreble(block: Float32Array): void {
    if (block.length < SPECTRUM) return;
    const starts = new Set(Array.from({ length: LOOKS }, (_, i) => Math.trunc((i * (block.length - SPECTRUM)) / (LOOKS - 1))));
    const first = Math.round((NARROW_HERTZ / RATE) * SPECTRUM);
    for (const start of starts) {
      powerOf(block.subarray(start, start + SPECTRUM)).forEach((power, bin) => {
        this.whole += power;
        if (bin >= first) this.high += power;
      });
    }
  }
}

/** Samples that stand in runs at the largest value. */
function clipped(samples: Float32Array, most: number): number {
  let [count, run] = [0, 0];
  const close = () => {
    if (run >= CLIPPED_RUN) count += run;
    run = 0;
  };
  for (const sample of samples) {
    if (Math.abs(sample) >= 0.999 * most) run++;
    else close();
  }
  close();
  return count;
}

/** Between values in order, as numpy has it. */
function quantile(ordered: Float32Array, share: number): number {
  const place = share * (ordered.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, ordered.length - 1);
  return ordered[below] + (place - below) * (ordered[above] - ordered[below]);
}

/** Power of the bins 0 … N / 2 under a Hann window: Cooley and Tukey, radix two. */
function powerOf(samples: Float32Array): Float64Array {
  const size = samples.length;
  const [real, imaginary] = [new Float64Array(size), new Float64Array(size)];
  for (let i = 0, j = 0; i < size; i++) {
    real[j] = samples[i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (size - 1)));
    for (let bit = size >> 1; (j ^= bit) < bit; bit >>= 1); // the next number, its bits in reverse
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const [cos, sin] = [Math.cos((Math.PI * k) / half), -Math.sin((Math.PI * k) / half)];
      for (let a = k; a < size; a += 2 * half) {
        const b = a + half;
        const [r, i] = [cos * real[b] - sin * imaginary[b], cos * imaginary[b] + sin * real[b]];
        [real[b], imaginary[b]] = [real[a] - r, imaginary[a] - i];
        [real[a], imaginary[a]] = [real[a] + r, imaginary[a] + i];
      }
    }
  }
  return Float64Array.from({ length: size / 2 + 1 }, (_, bin) => real[bin] ** 2 + imaginary[bin] ** 2);
}

/** Refuse a recording that holds nothing. */
export function checkedQuality(quality: Quality): void {
  if (quality.samples < LEAST_SAMPLES) throw new Trouble("too_short");
  if (quality.swing < LEAST_SWING) throw new Trouble("silent");
}
