/** A recording with what was heard in it: what the views show and what is exported. */

import type { Envelope } from "./audio/envelope";
import type { LiveEvent, Recognition, Segment } from "./types";

export interface Heard {
  name: string;
  kind: "file" | "recording" | "live";
  /** What is played; null where there is nothing, or nothing that this browser can play. */
  file: Blob | null;
  found: Recognition;
  envelope: Envelope;
  /** Whether each segment of the timeline is speech. */
  speech: boolean[];
  /** Whether the file was made here, and can be kept. */
  made: boolean;
}

/** A time with one emotion; null where there is no speech. */
export interface Span {
  start: number;
  end: number;
  label: string | null;
  /** Mean probability of the label. */
  score: number;
}

/** Borders between segments, which overlap: each stands for the time that is nearer to its middle than to another's. */
export function edges(timeline: Segment[], duration: number): number[] {
  const middles = timeline.map(({ start, end }) => (start + end) / 2);
  return [0, ...middles.slice(1).map((middle, i) => (middle + middles[i]) / 2), duration];
}

export function spans(heard: Heard): Span[] {
  const timeline = heard.found.timeline ?? [];
  const borders = edges(timeline, heard.found.duration);
  const found: (Span & { count: number })[] = [];
  timeline.forEach((segment, i) => {
    const label = heard.speech[i] ? segment.label : null;
    const score = label === null ? 0 : segment.scores[label];
    const last = found[found.length - 1];
    if (last && last.label === label) {
      last.end = borders[i + 1];
      last.score = (last.score * last.count + score) / ++last.count;
    } else found.push({ start: borders[i], end: borders[i + 1], label, score, count: 1 });
  });
  return found.map(({ start, end, label, score }) => ({ start, end, label, score }));
}

/** Number of the segment that stands for a second. */
export function segmentAt(borders: number[], second: number): number {
  let [low, high] = [0, borders.length - 2];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (borders[middle] <= second) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Emotions and their probabilities, the likeliest first. */
export function sorted(scores: Record<string, number>): [string, number][] {
  return Object.entries(scores).sort((a, b) => b[1] - a[1]);
}

/** What was heard live, as of a recording: the answer of all speech is the mean of its segments' logarithms. */
export function fromEvents(events: LiveEvent[], model: string, threshold: number): { found: Recognition; speech: boolean[] } {
  const speech = events.map((event) => event.emotion !== null);
  const spoken = events.filter((event) => event.emotion !== null);
  const labels = Object.keys(events[0]?.scores ?? {});
  const used = spoken.length ? spoken : events;
  const logs = labels.map((label) => used.reduce((sum, { scores }) => sum + Math.log(Math.max(scores[label], 1e-6)), 0) / used.length);
  const powers = logs.map(Math.exp);
  const sum = powers.reduce((a, b) => a + b, 0);
  const scores = Object.fromEntries(labels.map((label, i) => [label, powers[i] / sum]));
  const [label, score] = sorted(scores)[0] ?? ["", 0];
  const timeline = events.map(({ start, end, emotion, scores: own }) => ({ start, end, label: emotion ?? sorted(own)[0][0], scores: own }));
  const duration = events[events.length - 1]?.end ?? 0;
  const found = { model, label, confident: score >= threshold, scores, duration, warnings: [], timeline, listening: null };
  return { found, speech };
}
