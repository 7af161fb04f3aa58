/** "How it listened": focus and calibration for somebody who never saw an attention map, and what they do not show. */

import { h, variable } from "../dom";
import type { Heard } from "../heard";
import type { View } from "./timeline";

const TALL = 26;

export class Listened {
  readonly root: HTMLDetailsElement;
  private readonly canvas = h("canvas", { role: "img" });
  private readonly resize = new ResizeObserver(() => this.draw());
  private view: View;

  constructor(private readonly heard: Heard) {
    const { listening, timeline, duration } = heard.found;
    this.view = [0, duration];
    const size = timeline?.[0] ? timeline[0].end - timeline[0].start : 0;
    const heads = listening?.gates?.[0]?.length ?? listening?.centre?.[0]?.length ?? 0;
    this.canvas.setAttribute("aria-label", this.words(heads));
    this.root = h("details", { class: "listened" }, h("summary", {}, "How it listened"));
    if (!listening) {
      this.root.append(h("p", {}, "This model, or a recording that is heard live, gives no attention to show."));
      return;
    }
    this.root.append(
      h(
        "p",
        {},
        `The model hears ${size.toFixed(1)} seconds at a time, and decides from a mixture of its moments: `,
        h("b", {}, "attention"),
        " is how much each moment counts in that mixture.",
      ),
    );
    if (heads) this.root.append(this.explained(heads), h("div", { class: "heads" }, this.canvas));
    this.root.append(HONEST());
    this.resize.observe(this.root);
  }

  /** Follow the view of the timeline. */
  show(view: View): void {
    this.view = view;
    this.draw();
  }

  close(): void {
    this.resize.disconnect();
  }

  private explained(heads: number): HTMLElement {
    const { centre, gates } = this.heard.found.listening!;
    const list = h("ul", {});
    if (centre) {
      list.append(h("li", {}, h("b", {}, "Focus: "), `each of its ${heads} listeners (“heads”) looks mostly at one stretch of those seconds; the bars show which stretch.`));
    }
    if (gates) {
      list.append(h("li", {}, h("b", {}, "Calibration: "), "the model then weighs the listeners against each other; the stronger a bar, the more that listener counts."));
    }
    return list;
  }

  private words(heads: number): string {
    const { gates } = this.heard.found.listening ?? {};
    if (!gates?.length) return `${heads} heads over time`;
    const means = Array.from({ length: heads }, (_, head) => gates.reduce((sum, row) => sum + row[head], 0) / gates.length);
    return `${heads} heads over time. On average they count ${means.map((mean, i) => `head ${i + 1} ${Math.round(100 * mean)} %`).join(", ")}.`;
  }

  private draw(): void {
    const { listening, duration } = this.heard.found;
    const width = this.canvas.parentElement?.clientWidth ?? 0;
    if (!this.root.open || !listening || !width) return;
    const heads = listening.gates?.[0]?.length ?? listening.centre?.[0]?.length ?? 0;
    const height = heads * TALL;
    const ratio = devicePixelRatio || 1;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d")!;
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const [start, end] = [this.view[0], Math.min(this.view[1], Math.max(duration, this.view[1]))];
    const x = (second: number) => ((second - start) / (end - start)) * width;
    for (let head = 0; head < heads; head++) this.row(pen, head, width, x);
  }

  private row(pen: CanvasRenderingContext2D, head: number, width: number, x: (second: number) => number): void {
    const { segments, centre, scope, gates, speech } = this.heard.found.listening!;
    const top = head * TALL;
    pen.fillStyle = variable("--none");
    pen.fillRect(0, top + 1, width, TALL - 3);
    segments.forEach((middle, i) => {
      if (!speech[i]) return;
      const place = centre?.[i][head] ?? middle;
      const wide = Math.max(scope?.[i][head] ?? 0.1, 0.03);
      const [left, right] = [x(place - wide / 2), x(place + wide / 2)];
      if (right < 0 || left > width) return;
      const lane = segments.length > 1 ? ((i % 4) * (TALL - 5)) / 4 : 0; // neighbors overlap
      const tall = segments.length > 1 ? (TALL - 5) / 4 : TALL - 5;
      pen.globalAlpha = 0.15 + 0.85 * (gates?.[i][head] ?? 0.6);
      pen.fillStyle = variable("--heat");
      pen.fillRect(left, top + 2 + lane, Math.max(2, right - left), tall);
      pen.globalAlpha = 1;
    });
    pen.fillStyle = variable("--panel");
    pen.fillRect(2, top + 5, 16, TALL - 11);
    pen.fillStyle = variable("--ink");
    pen.fillText(String(head + 1), 6, top + TALL / 2 + 4);
  }
}

const HONEST = () =>
  h(
    "p",
    { class: "honest" },
    h("b", {}, "What this does not show: "),
    "attention says where the numbers came from. It does not say why the answer is what it is, nor where a person would hear the emotion. We " +
      "measured that: attention on the loudest moment does not go with right answers, and other methods find the moments that matter to an " +
      "answer better.",
  );

