/** From segments to a clip: the rules of `emofocus.segments`, in the same order and precision as far as it matters. */

import type { Settings } from "./settings";

export function segmentCount(frames: number, settings: Settings): number {
  return Math.max(1, 1 + Math.floor((frames - settings.segment.frames) / settings.segment.hop));
}

/** Which segments hold speech: at least half of their frames are near the loudest one. */
export function activeSegments(level: ArrayLike<number>, settings: Settings): boolean[] {
  const { frames, hop, top_db } = settings.segment;
  let loudest = -Infinity;
  for (let i = 0; i < level.length; i++) loudest = Math.max(loudest, level[i]);
  const least = loudest - top_db;
  const shares: number[] = [];
  for (let i = 0; i < segmentCount(level.length, settings); i++) {
    const start = i * hop;
    const end = Math.min(start + frames, level.length);
    let loud = 0;
    for (let k = start; k < end; k++) loud += level[k] >= least ? 1 : 0;
    shares.push(loud / (end - start));
  }
  const wanted = Math.min(0.5, shares.reduce((a, b) => Math.max(a, b), 0));
  return shares.map((share) => share >= wanted);
}

export function softmax(logits: ArrayLike<number>, temperature = 1): number[] {
  const top = Math.max(...Array.from(logits));
  const powers = Array.from(logits, (value) => Math.exp((value - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

export function named(scores: ArrayLike<number>, labels: string[]): Record<string, number> {
  return Object.fromEntries(labels.map((label, i) => [label, scores[i]]));
}

export function largest(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
