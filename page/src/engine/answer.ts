/** The outputs of a whole recording → what was heard in it, by the rules of `Scorer` and `Explainer`. */

import { RATE, type Listening, type Recognition } from "../types";
import type { Scored } from "./blocks";
import type { Quality } from "./quality";
import { activeSegments, largest, named, softmax } from "./segments";
import type { Settings } from "./settings";

export function answer(scored: Scored, quality: Quality, notices: string[], settings: Settings): Recognition {
  const { labels, temperature, hop, segment } = settings;
  const speech = activeSegments(scored.level, settings);
  const speaking = scored.logits.filter((_, i) => speech[i]);
  const mean = labels.map((_, c) => speaking.reduce((sum, row) => sum + row[c], 0) / speaking.length);
  const scores = softmax(mean, temperature);
  const best = largest(scores);
  const duration = quality.samples / RATE;
  const timeline = scored.logits.map((row, i) => {
    const own = softmax(row, temperature);
    const start = (i * segment.hop * hop) / RATE;
    const end = Math.min(start + (segment.frames * hop) / RATE, duration);
    return { start, end, label: labels[largest(own)], scores: named(own, labels) };
  });
  return {
    model: settings.model,
    label: labels[best],
    confident: scores[best] >= settings.threshold,
    scores: named(scores, labels),
    duration,
    warnings: [...notices, ...quality.warnings(scored.level, settings.offsetRemoved)],
    timeline,
    listening: listening(scored, quality, speech, settings),
  };
}

function listening(scored: Scored, quality: Quality, speech: boolean[], settings: Settings): Listening | null {
  if (!scored.received) return null;
  const { frames: size, hop } = settings.segment;
  const second = settings.hop / RATE;
  const duration = quality.samples / RATE;
  const begins = (i: number) => i * hop * second;
  const { centre, scope } = scored;
  return {
    frames: Array.from(scored.level, (_, i) => i * second + settings.centre / RATE),
    attention: overTime(scored.received, speech, scored.level.length, settings),
    loudest: quality.loudest / RATE,
    segments: speech.map((_, i) => (begins(i) + Math.min(begins(i) + size * second, duration)) / 2),
    speech,
    // Positions count from 1, and the first one's middle is half a position behind the segment's start.
    centre: centre && centre.map((row, i) => row.map((value) => begins(i) + (value - 0.5) * settings.step * second)),
    scope: scope && scope.map((row) => row.map((value) => value * settings.step * second)),
    gates: scored.gates,
  };
}

/** Attention to each frame: the mean over the segments of speech that hold it; null where there is none. */
function overTime(received: number[][], speech: boolean[], count: number, settings: Settings): (number | null)[] {
  const { frames, hop } = settings.segment;
  const size = Math.min(frames, count);
  const total = new Float64Array(count);
  const times = new Uint16Array(count);
  speech.forEach((heard, i) => {
    if (!heard) return;
    for (let k = 0; k < size; k++) {
      total[i * hop + k] += received[i][Math.floor(k / settings.step)];
      times[i * hop + k] += 1;
    }
  });
  return Array.from(total, (value, i) => (times[i] ? value / times[i] : null));
}
