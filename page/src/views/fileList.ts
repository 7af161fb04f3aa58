/** Several files, one after the other: each with its state, its answer, or what went wrong. */

import { $, h } from "../dom";
import type { Heard } from "../heard";
import type { Trouble } from "../trouble";
import { percent, sureness } from "./words";

export interface Item {
  name: string;
  file: Blob;
  kind: Heard["kind"];
  /** Whether it was given by itself: then its trouble takes the place of the old answer. */
  alone: boolean;
  state: "waiting" | "running" | "done" | "failed";
  share: number;
  heard: Heard | null;
  trouble: Trouble | null;
}

export class FileList {
  readonly items: Item[] = [];

  /** `open` shows an item's answer, or its trouble. */
  constructor(private readonly open: (item: Item) => void) {}

  add(items: Item[]): void {
    this.items.push(...items);
    this.draw();
  }

  draw(): void {
    $("files").hidden = this.items.length < 2;
    $("list").replaceChildren(...this.items.map((item) => this.row(item)));
  }

  private row(item: Item): HTMLElement {
    const ready = item.state === "done" || item.state === "failed";
    const button = h("button", { type: "button", class: "file", disabled: !ready, click: () => this.open(item) });
    const swatch = h("i", { class: "swatch" });
    if (item.heard) swatch.style.background = `var(--c${Object.keys(item.heard.found.scores).indexOf(item.heard.found.label) % 8})`;
    button.append(swatch, h("span", { class: "name" }, item.name), h("span", { class: "state" }, stateOf(item)));
    return h("li", {}, button);
  }
}

function stateOf({ state, share, heard, trouble }: Item): string {
  if (state === "running") return share > 0 ? `listening, ${Math.round(100 * share)} %` : "listening";
  if (state === "failed") return trouble!.message;
  if (!heard) return "waiting";
  const { scores, label, confident } = heard.found;
  return `${label} ${percent(scores[label])} · ${sureness(scores[label], confident).short}`;
}
