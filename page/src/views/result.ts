/** The one view of a result: file, recording or live speech. */

import { $, clock, h } from "../dom";
import { sorted, spans, type Heard, type Span } from "../heard";
import { csv, download, fileName, json, srt } from "./exports";
import { Listened } from "./listened";
import { scoresTable } from "./scores";
import { Timeline } from "./timeline";
import { changes, percent, sureness, warning } from "./words";

/** Changes that are listed; all are in the picture. */
const LISTED = 12;

const KINDS = { file: "file", recording: "your recording", live: "heard live" };

export class ResultView {
  private timeline: Timeline | null = null;
  private listened: Listened | null = null;
  private audio: HTMLAudioElement | null = null;
  shown: Heard | null = null;

  /** `address` is where the service is asked; null without one. `again` recognizes a live recording as a whole. */
  constructor(
    private readonly address: () => string | null,
    private readonly again: (heard: Heard) => void,
  ) {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    addEventListener("beforeprint", () => document.querySelectorAll("#result details").forEach((each) => each.setAttribute("open", "")));
  }

  hide(): void {
    this.clear();
    $("result").hidden = true;
  }

  show(heard: Heard): void {
    this.clear();
    this.shown = heard;
    const list = spans(heard);
    this.timeline = new Timeline(heard, { seek: (second) => this.play(second), place: (second) => this.audio && (this.audio.currentTime = second), moved: (view) => this.listened?.show(view), toggle: () => this.toggle() });
    this.listened = new Listened(heard);
    this.listened.root.addEventListener("toggle", () => this.listened?.show(this.timeline!.view));
    $("result").replaceChildren(
      h("div", { class: "top" }, this.answer(heard, list), h("div", {}, scoresTable(heard.found.scores, heard.found.label))),
      ...this.warnings(heard),
      this.controls(heard),
      this.timeline.root,
      this.timeline.readout,
      this.listening(list),
      this.listened.root,
      this.keep(heard),
    );
    $("result").hidden = false;
    const { top } = $("result").getBoundingClientRect();
    if (top > innerHeight * 0.5 || top < 0) $("result").scrollIntoView({ block: "start" });
  }

  /** In the colors of the present scheme. */
  private redraw(): void {
    this.timeline?.update();
    if (this.timeline) this.listened?.show(this.timeline.view);
  }

  private clear(): void {
    this.timeline?.close();
    this.listened?.close();
    if (this.audio) {
      this.audio.pause();
      URL.revokeObjectURL(this.audio.src);
    }
    [this.timeline, this.listened, this.audio, this.shown] = [null, null, null, null];
  }

  private answer({ name, kind, found }: Heard, list: Span[]): HTMLElement {
    const score = found.scores[found.label];
    const sure = sureness(score, found.confident);
    const [, second] = sorted(found.scores);
    return h(
      "div",
      { class: "answer" },
      h("p", { class: "what" }, `${name} · ${KINDS[kind]} · ${clock(found.duration, found.duration < 60 ? 1 : 0)}`),
      h("h2", { id: "answer" }, h("strong", {}, found.label), " ", h("span", { class: "share" }, percent(score)), " ", h("span", { class: "sure" }, sure.word)),
      h("p", {}, sure.sentence, second ? ` Next: ${second[0]}, ${percent(second[1])}.` : ""),
      h("p", { class: "change" }, changes(list)),
    );
  }

  private warnings({ found }: Heard): HTMLElement[] {
    if (!found.warnings.length) return [];
    return [h("ul", { id: "notes", class: "notes" }, ...found.warnings.map((notice) => h("li", { title: notice }, warning(notice))))];
  }

  // Playing.

  private controls(heard: Heard): HTMLElement {
    const row = h("div", { class: "row controls" });
    if (heard.file) {
      this.audio = h("audio", { id: "player", preload: "metadata" });
      this.audio.src = URL.createObjectURL(heard.file);
      const time = h("span", { class: "time" }, `0:00 / ${clock(heard.found.duration)}`);
      const button = h("button", { type: "button", id: "play", click: () => this.toggle() }, "Play");
      const say = () => {
        button.textContent = this.audio?.paused === false ? "Pause" : "Play";
        time.textContent = `${clock(this.audio?.currentTime ?? 0)} / ${clock(heard.found.duration)}`;
      };
      this.audio.addEventListener("play", () => (say(), this.followPlay(say)));
      this.audio.addEventListener("pause", say);
      this.audio.addEventListener("error", () => {
        button.disabled = true;
        time.textContent = "This browser cannot play the file.";
      });
      row.append(button, time, this.audio);
    }
    row.append(
      h("span", { class: "zoom" }, h("button", { type: "button", class: "quiet", "aria-label": "Zoom in", click: () => this.timeline?.zoom(0.5) }, "+"),
        h("button", { type: "button", class: "quiet", "aria-label": "Zoom out", click: () => this.timeline?.zoom(2) }, "−"),
        h("button", { type: "button", class: "quiet", click: () => this.timeline?.whole() }, "Show all")),
    ); // prettier-ignore
    return row;
  }

  private play(second: number): void {
    if (!this.audio) return;
    this.audio.currentTime = second;
    void this.audio.play().catch(() => undefined);
  }

  private toggle(): void {
    if (!this.audio) return;
    if (this.audio.paused) void this.audio.play().catch(() => undefined);
    else this.audio.pause();
  }

  private followPlay(say: () => void): void {
    if (!this.audio) return;
    this.timeline?.cursor(this.audio.currentTime);
    say();
    if (!this.audio.paused && !this.audio.ended) requestAnimationFrame(() => this.followPlay(say));
  }

  /** When it changed, as buttons that play from there. */
  private listening(list: Span[]): HTMLElement {
    const spoken = list.filter((span) => span.label !== null);
    if (spoken.length < 2) return h("div");
    const shown = spoken.slice(0, LISTED);
    const items = shown.map((span) =>
      h("li", {}, h("button", { type: "button", class: "quiet", click: () => (this.timeline?.cursor(span.start), this.play(span.start)) }, `${clock(span.start, 1)} ${span.label} ${percent(span.score)}`)),
    );
    const more = spoken.length > LISTED ? [h("li", { class: "soft" }, `and ${spoken.length - LISTED} more in the picture and the exports`)] : [];
    return h("ul", { class: "spans", "aria-label": "When it changed" }, ...items, ...more);
  }

  // Keeping.

  private keep(heard: Heard): HTMLElement {
    const save = (words: string, suffix: string, make: () => string | Promise<Blob> | Blob, kind?: string) =>
      h("button", { type: "button", class: "quiet", click: async () => download(fileName(heard, suffix), await make(), kind) }, words);
    const title = `${heard.name}: ${heard.found.label}, ${percent(heard.found.scores[heard.found.label])}`;
    const row = h(
      "div",
      { class: "row" },
      save("Picture (PNG)", "png", () => this.timeline!.picture(title)),
      save("Table (CSV)", "csv", () => csv(heard), "text/csv"),
      save("Subtitles (SRT)", "srt", () => srt(heard), "application/x-subrip"),
      save("Everything (JSON)", "json", () => json(heard), "application/json"),
    );
    if (heard.made && heard.file) row.append(save("Sound (WAV)", "wav", () => heard.file!));
    if (heard.kind === "live" && heard.file) {
      row.append(h("button", { type: "button", class: "quiet", click: () => this.again(heard) }, "Recognize it as a whole, with attention"));
    }
    return h("details", { class: "keep" }, h("summary", {}, "Keep it, or do the same by program"), row, ...this.calls(heard));
  }

  private calls({ name, found }: Heard): HTMLElement[] {
    const file = `'${name.replaceAll("'", "'\\''")}'`;
    const lines = [`emofocus predict ${file}`];
    const address = this.address();
    if (address) {
      const explain = found.duration <= 60 ? "&explain=true" : "";
      lines.unshift(`curl --data-binary @${file} '${address}v1/recognize?timeline=true${explain}'`);
    }
    const words = h("p", {}, address ? "The same answer from the service, and from the command line. " : "The same answer from the command line.");
    if (address) words.append(h("a", { href: "docs" }, "All calls of the service"));
    return [words, h("pre", { tabindex: "0" }, h("code", {}, lines.join("\n")))];
  }
}
