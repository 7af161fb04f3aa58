/** Numbers and notices in words. */

import type { Span } from "../heard";
import { clock } from "../dom";

export interface Sureness {
  word: string;
  short: string;
  sentence: string;
}

/** How sure an answer is. */
export function sureness(score: number, confident: boolean): Sureness {
  const tenth = Math.min(10, Math.max(1, Math.round(10 * score)));
  const sentence =
    tenth === 10
      ? "Of ten answers with this number, nearly all are right if the speech is like what the model learnt from."
      : `Of ten answers with this number, about ${NUMBERS[tenth]} ${tenth === 1 ? "is" : "are"} right if the speech is like what the model learnt from.`;
  if (confident) return { word: "sure", short: "sure", sentence };
  if (score >= 0.6) return { word: "likely, but not sure", short: "not sure", sentence };
  if (score >= 0.4) return { word: "unsure: a guess", short: "a guess", sentence };
  return { word: "no clear answer", short: "no clear answer", sentence };
}

const NUMBERS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** When the emotion changed, in a sentence. */
export function changes(found: Span[]): string {
  const spoken = found.filter((span) => span.label !== null);
  const kinds = new Set(spoken.map((span) => span.label));
  if (!spoken.length) return "No speech stood out.";
  if (kinds.size === 1) return `It did not change: ${spoken[0].label} from beginning to end.`;
  const moves = spoken.slice(1).filter((span, i) => span.label !== spoken[i].label);
  if (moves.length === 1) return `It changed once: from ${spoken[0].label} to ${moves[0].label} at ${clock(moves[0].start, 1)}.`;
  return `It changed ${moves.length} times, first at ${clock(moves[0].start, 1)} to ${moves[0].label}.`;
}

const WARNINGS: Record<string, string> = {
  soft: "The recording is very soft. Closer to the microphone it is heard better.",
  clipped: "The recording is too loud: its peaks are cut off, which can sound like anger.",
  narrow: "It sounds like a telephone: high tones are missing, and answers are worse.",
  noisy: "There is noise, or no pause. Answers in noise are worse.",
  sparse: "Most of it is silence; only the loud part counts.",
  offset: "The recording has a constant offset, as cheap sound cards add it, which changes answers.",
  inverted: "Its two channels cancel each other, so one of them alone was used.",
  cut: "The file ends in the middle; what there was of it was heard.",
};

/** A notice "kind: fact" in words of daily life. */
export function warning(notice: string): string {
  const kind = notice.split(":", 1)[0];
  return WARNINGS[kind] ?? notice;
}
