/** Where the model listened: the numbers of `emofocus.recognition.explanation.explainer`. */

import { RATE, type Listening } from "./types";
import type { Settings } from "./settings";
import type { Outputs } from "./outputs";

/** Attention that each position of a segment gets, over an equal share of it: the mean over queries and gated heads. */
function received(out: Outputs, segment: number): Float64Array {
  const { heads, positions } = out;
  const gates = Array.from({ length: heads }, (_, h) => (out.gates ? out.gates[segment * heads + h] : 1));
  const sum = gates.reduce((a, b) => a + b, 0);
  const found = new Float64Array(positions);
  for (let h = 0; h < heads; h++) {
    const base = (segment * heads + h) * positions * positions;
    for (let q = 0; q < positions; q++) {
      for (let k = 0; k < positions; k++) found[k] += (out.attention![base + q * positions + k] * gates[h]) / sum;
    }
  }
  return found; // a mean over all queries, times their number
}

export function listening(out: Outputs, samples: Float32Array, active: boolean[], settings: Settings): Listening | null {
  if (!out.attention) return null;
  const { frames: size, hop } = settings.segment;
  const count = out.level.length;
  const frames = Math.min(size, count);
  const second = settings.hop / RATE;
  const total = new Float64Array(count);
  const times = new Float64Array(count);
  active.forEach((speech, i) => {
    if (!speech) return;
    const row = received(out, i);
    for (let k = 0; k < frames; k++) {
      total[i * hop + k] += row[Math.floor(k / settings.step)];
      times[i * hop + k] += 1;
    }
  });
  const segments = active.map((_, i) => {
    const start = i * hop * second;
    return (start + Math.min(start + size * second, samples.length / RATE)) / 2;
  });
  let loudest = 0;
  for (let t = 1; t < samples.length; t++) if (Math.abs(samples[t]) > Math.abs(samples[loudest])) loudest = t;
  const byHead = (read: (i: number, h: number) => number) =>
    active.map((_, i) => Array.from({ length: out.heads }, (_, h) => read(i, h)));
  const mean = (values: Float32Array, i: number, h: number) => {
    const base = (i * out.heads + h) * out.positions;
    let sum = 0;
    for (let k = 0; k < out.positions; k++) sum += values[base + k];
    return sum / out.positions;
  };
  const { centre, scope, gates } = out;
  return {
    frames: Array.from({ length: count }, (_, i) => i * second + settings.centre / RATE),
    attention: Array.from(total, (value, i) => (times[i] ? value / times[i] : null)),
    loudest: loudest / RATE,
    segments,
    // Positions count from 1, and the first one's middle is half a position behind the segment's start.
    centre: centre && byHead((i, h) => (i * hop + (mean(centre, i, h) - 0.5) * settings.step) * second),
    scope: scope && byHead((i, h) => mean(scope, i, h) * settings.step * second),
    gates: gates && byHead((i, h) => gates[i * out.heads + h]),
  };
}
