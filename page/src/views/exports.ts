/** What was heard, as files. */

import { spans, type Heard } from "../heard";

export function json(heard: Heard): string {
  return JSON.stringify({ file: heard.name, ...heard.found }, null, 1) + "\n";
}

/** A line for each span, silence included, as `emofocus predict --timeline csv` writes it. */
export function csv(heard: Heard): string {
  const labels = Object.keys(heard.found.scores);
  const timeline = heard.found.timeline ?? [];
  const lines = timeline.map((segment, i) => {
    const emotion = heard.speech[i] ? segment.label : "";
    return [heard.name, segment.start.toFixed(3), segment.end.toFixed(3), emotion, ...labels.map((label) => segment.scores[label].toFixed(4))];
  });
  return [["file", "start", "end", "emotion", ...labels.map((label) => `p_${label}`)], ...lines].map((row) => row.map(field).join(",")).join("\n") + "\n";
}

function field(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Subtitles of the emotions. */
export function srt(heard: Heard): string {
  return spans(heard)
    .filter((span) => span.label !== null)
    .map((span, i) => `${i + 1}\n${stamp(span.start)} --> ${stamp(span.end)}\n${span.label} (${Math.round(100 * span.score)} %)\n`)
    .join("\n");
}

function stamp(seconds: number): string {
  const whole = Math.round(1000 * seconds);
  const pad = (value: number, size = 2) => String(Math.floor(value)).padStart(size, "0");
  return `${pad(whole / 3_600_000)}:${pad((whole / 60_000) % 60)}:${pad((whole / 1000) % 60)},${pad(whole % 1000, 3)}`;
}

/** Name of an export: the recording's, with another suffix. */
export function fileName(heard: Heard, suffix: string): string {
  const stem = heard.name.replace(/\.[a-z0-9]{1,5}$/i, "").replace(/[^\p{L}\p{N} ._-]+/gu, "-") || "recording";
  return `${stem}.${suffix}`;
}

export function download(name: string, content: Blob | string, kind = "text/plain"): void {
  const blob = typeof content === "string" ? new Blob([content], { type: `${kind};charset=utf-8` }) : content;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
