/** Live speech while it is spoken, in the place of the result. */

import { Envelope } from "../audio/envelope";
import { $, h } from "../dom";
import { fromEvents, type Heard } from "../heard";
import type { LiveEvent } from "../types";
import { scoresTable } from "./scores";
import { Timeline } from "./timeline";
import { percent } from "./words";

/** Seconds of history that are seen while it grows. */
const SEEN_SECONDS = 30;
/** Milliseconds between drawings. */
const DRAWN = 200;

export class LiveView {
  private readonly events: LiveEvent[] = [];
  private readonly heard: Heard;
  private timeline: Timeline | null = null;
  private drawn = 0;

  constructor(
    name: string,
    private readonly model: string,
    private readonly threshold: number,
  ) {
    const { found, speech } = fromEvents([], model, threshold);
    this.heard = { name, kind: "live", file: null, found, envelope: new Envelope(), speech, made: true };
    $("result").replaceChildren(h("h2", { id: "answer" }, "Listening …"), h("p", {}, "The first answer comes after a few seconds of speech."));
    $("result").hidden = false;
  }

  get empty(): boolean {
    return this.events.length === 0;
  }

  feed(samples: Float32Array): void {
    this.heard.envelope.feed(samples);
  }

  hear(event: LiveEvent): void {
    this.events.push(event);
    const { timeline } = this.heard.found;
    const best = event.emotion ?? Object.keys(event.scores).reduce((a, b) => (event.scores[a] >= event.scores[b] ? a : b));
    timeline!.push({ start: event.start, end: event.end, label: best, scores: event.scores });
    this.heard.found.scores = event.scores;
    this.heard.found.duration = event.end;
    this.heard.speech.push(event.emotion !== null);
    const now = performance.now();
    if (now - this.drawn < DRAWN) return;
    this.drawn = now;
    this.draw(event);
  }

  private draw(event: LiveEvent): void {
    if (!this.timeline) {
      this.timeline = new Timeline(this.heard, { seek: () => undefined });
      const top = h("div", { class: "top" }, h("div", { class: "answer", id: "live-answer" }), h("div", { id: "live-scores" }));
      $("result").replaceChildren(top, this.timeline.root, this.timeline.readout);
    }
    const silent = event.emotion === null;
    const share = silent ? "" : percent(event.scores[event.emotion!]);
    $("live-answer").replaceChildren(
      h("p", { class: "what" }, "now"),
      h("h2", { id: "answer" }, h("strong", { id: "live-emotion" }, event.emotion ?? "no speech"), " ", h("span", { class: "share" }, share), " ",
        h("span", { class: "sure" }, silent ? "" : event.confident ? "sure" : "not sure")),
    ); // prettier-ignore
    $("live-scores").replaceChildren(scoresTable(event.scores, event.emotion));
    this.timeline.follow(SEEN_SECONDS);
  }

  /** All of it, when it has ended. */
  finish(file: Blob): Heard {
    this.timeline?.close();
    const { found, speech } = fromEvents(this.events, this.model, this.threshold);
    found.duration = Math.max(found.duration, this.heard.envelope.seconds);
    return { ...this.heard, file, found, speech };
  }
}
