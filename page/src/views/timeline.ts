/** What was heard over time: emotions, sound and attention on one axis, with a cursor; zoomed and moved. */

import { clock, colour, h, variable } from "../dom";
import { edges, segmentAt, sorted, spans, type Heard, type Span } from "../heard";
import { percent } from "./words";

const TOP = 16; // the caption of a row
const ROWS = { band: 30, wave: 96, attention: 24 };
const AXIS = 22;
const OVERVIEW = 10;
const LEAST_SECONDS = 0.5; // of a view

/** The captions of the picture, for those who hear the page. */
const LABEL =
  "Moment of the recording. The picture shows the emotion over time, paler where it is less sure; the sound; and attention, stronger where " +
  "the model took more from a moment.";

export type View = [number, number];

export interface TimelineOptions {
  /** A second was chosen, to be played from there. */
  seek: (second: number) => void;
  /** The cursor was moved by keys: what plays, or will, is there. */
  place?: (second: number) => void;
  /** The view has moved. */
  moved?: (view: View) => void;
  /** Space was pressed. */
  toggle?: () => void;
}

export class Timeline {
  readonly root: HTMLElement;
  readonly readout = h("p", { class: "readout" });
  view: View;
  private readonly canvas = h("canvas", { "aria-hidden": "true" });
  private now: number | null = null;
  private readonly resize = new ResizeObserver(() => this.draw());
  private borders: number[] = [];
  private spans: Span[] = [];

  constructor(
    private readonly heard: Heard,
    private readonly options: TimelineOptions,
  ) {
    this.root = h("div", { class: "timeline", tabindex: "0", role: "slider", "aria-label": LABEL }, this.canvas);
    this.view = [0, Math.max(heard.found.duration, LEAST_SECONDS)];
    this.root.addEventListener("pointermove", (event) => this.move(this.second(event), true));
    this.root.addEventListener("pointerleave", () => this.describe(this.now));
    this.root.addEventListener("click", (event) => this.click(event));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.resize.observe(this.root);
    this.update();
    this.describe(null);
  }

  /** Height of the picture. */
  get height(): number {
    const rows = this.heard.found.listening ? ROWS : { band: ROWS.band, wave: ROWS.wave };
    return Object.values(rows).reduce((sum, row) => sum + row + TOP, 0) + AXIS + (this.zoomed ? OVERVIEW : 0);
  }

  get zoomed(): boolean {
    return this.view[1] - this.view[0] < this.heard.found.duration - 1e-6;
  }

  /** Draw anew, after more was heard. */
  update(): void {
    this.borders = edges(this.heard.found.timeline ?? [], this.heard.found.duration);
    this.spans = spans(this.heard);
    this.draw();
  }

  close(): void {
    this.resize.disconnect();
  }

  /** Show the last seconds of something that grows. */
  follow(seconds: number): void {
    const end = Math.max(seconds, this.heard.found.duration);
    this.view = [end - seconds, end];
    this.update();
  }

  /** Put the cursor somewhere; the view follows it. */
  cursor(second: number): void {
    const [start, end] = this.view;
    if (this.zoomed && (second < start || second > end)) this.show(second - (end - start) * 0.1, end - start);
    this.move(second, false);
  }

  zoom(factor: number): void {
    const [start, end] = this.view;
    const wide = Math.max(Math.min(LEAST_SECONDS, this.heard.found.duration), Math.min((end - start) * factor, this.heard.found.duration));
    const middle = this.now !== null && this.now >= start && this.now <= end ? this.now : (start + end) / 2;
    this.show(middle - ((middle - start) / (end - start)) * wide, wide);
  }

  whole(): void {
    this.show(0, this.heard.found.duration);
  }

  private show(start: number, wide: number): void {
    const first = Math.max(0, Math.min(start, this.heard.found.duration - wide));
    this.view = [first, first + wide];
    this.draw();
    this.options.moved?.(this.view);
  }

  private move(second: number, hovered: boolean): void {
    const at = Math.max(0, Math.min(second, this.heard.found.duration));
    if (!hovered) this.now = at;
    this.draw(hovered ? at : null);
    this.describe(at);
  }

  /** What was heard at a second, in words. */
  private describe(second: number | null): void {
    const { found, speech } = this.heard;
    if (second === null || !found.timeline?.length) {
      this.readout.textContent = "Point at the picture to read a moment; click to play from there.";
      this.root.setAttribute("aria-valuetext", "beginning");
      return;
    }
    const number = segmentAt(this.borders, second);
    const segment = found.timeline[number];
    const heard = speech[number]
      ? sorted(segment.scores).slice(0, 3).map(([label, score]) => `${label} ${percent(score)}`).join(", ") // prettier-ignore
      : "silence, which does not count";
    const words = `${clock(second, 1)}: ${heard}${this.attentionWords(second)}`;
    this.readout.textContent = words;
    this.root.setAttribute("aria-valuemin", "0");
    this.root.setAttribute("aria-valuemax", found.duration.toFixed(1));
    this.root.setAttribute("aria-valuenow", second.toFixed(1));
    this.root.setAttribute("aria-valuetext", words);
  }

  private attentionWords(second: number): string {
    const heard = this.heard.found.listening;
    if (!heard || heard.frames.length < 2) return "";
    const frame = Math.round((second - heard.frames[0]) / (heard.frames[1] - heard.frames[0]));
    const share = heard.attention[Math.max(0, Math.min(frame, heard.attention.length - 1))];
    return share === null ? "" : `. Attention: ${share.toFixed(1)} times an even share`;
  }

  private second(event: MouseEvent): number {
    const cell = this.canvas.getBoundingClientRect();
    return this.view[0] + ((event.clientX - cell.left) / cell.width) * (this.view[1] - this.view[0]);
  }

  private click(event: MouseEvent): void {
    const cell = this.canvas.getBoundingClientRect();
    if (this.zoomed && event.clientY > cell.bottom - OVERVIEW - 4) {
      const middle = ((event.clientX - cell.left) / cell.width) * this.heard.found.duration;
      const wide = this.view[1] - this.view[0];
      return this.show(middle - wide / 2, wide);
    }
    this.go(this.second(event));
  }

  private go(second: number): void {
    const at = Math.max(0, Math.min(second, this.heard.found.duration));
    this.cursor(at);
    this.options.seek(at);
  }

  private step(second: number): void {
    const at = Math.max(0, Math.min(second, this.heard.found.duration));
    this.cursor(at);
    this.options.place?.(at);
  }

  private key(event: KeyboardEvent): void {
    const step = Math.max(0.1, (this.view[1] - this.view[0]) / 50);
    const now = this.now ?? 0;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => this.step(now - step),
      ArrowRight: () => this.step(now + step),
      Home: () => this.step(0),
      End: () => this.step(this.heard.found.duration),
      Enter: () => this.go(now),
      " ": () => this.options.toggle?.(),
      "+": () => this.zoom(0.5),
      "-": () => this.zoom(2),
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  private wheel(event: WheelEvent): void {
    if (event.ctrlKey) this.zoom(event.deltaY < 0 ? 0.7 : 1 / 0.7);
    else if (this.zoomed && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const [start, end] = this.view;
      this.show(start + (event.deltaX / this.canvas.clientWidth) * (end - start), end - start);
    } else return;
    event.preventDefault();
  }

  // Drawing.

  private draw(hovered: number | null = null): void {
    const width = this.root.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.canvas.style.height = `${this.height}px`;
    const pen = this.canvas.getContext("2d")!;
    pen.scale(ratio, ratio);
    this.paint(pen, width);
    for (const [second, alpha] of [[this.now, 1], [hovered, 0.5]] as const) { // prettier-ignore
      if (second === null) continue;
      pen.globalAlpha = alpha;
      pen.fillStyle = variable("--accent");
      pen.fillRect(this.x(second, width) - 1, 0, 2, this.height - AXIS);
      pen.globalAlpha = 1;
    }
  }

  /** Everything but the cursor, also for a picture that is kept. */
  paint(pen: CanvasRenderingContext2D, width: number): void {
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "alphabetic";
    let top = 0;
    const row = (caption: string, height: number, fill: (top: number, height: number) => void) => {
      pen.fillStyle = variable("--soft");
      pen.textAlign = "left";
      pen.fillText(caption, 0, top + 12);
      fill(top + TOP, height);
      top += TOP + height;
    };
    const narrow = width < 520;
    row(narrow ? "Emotion (paler: less sure)" : "What was heard (paler: less sure)", ROWS.band, (y, tall) => this.bands(pen, width, y, tall));
    row("Sound", ROWS.wave, (y, tall) => this.wave(pen, width, y, tall));
    if (this.heard.found.listening) {
      row(narrow ? "Attention (stronger: more)" : "Attention (stronger: the model took more from this moment)", ROWS.attention, (y, tall) => this.attention(pen, width, y, tall));
    }
    this.axis(pen, width, top);
    if (this.zoomed) this.overview(pen, width, top + AXIS);
  }

  private x(second: number, width: number): number {
    return ((second - this.view[0]) / (this.view[1] - this.view[0])) * width;
  }

  private bands(pen: CanvasRenderingContext2D, width: number, top: number, tall: number): void {
    const labels = Object.keys(this.heard.found.scores);
    pen.fillStyle = variable("--none");
    pen.fillRect(0, top, width, tall);
    for (const span of this.spans) {
      const [left, right] = [Math.max(0, this.x(span.start, width)), Math.min(width, this.x(span.end, width))];
      if (right <= 0 || left >= width || span.label === null) continue;
      pen.fillStyle = variable("--panel");
      pen.fillRect(left, top, right - left, tall);
      pen.globalAlpha = 0.2 + 0.8 * span.score;
      pen.fillStyle = colour(labels.indexOf(span.label));
      pen.fillRect(left, top, Math.max(1, right - left - 1), tall);
      pen.globalAlpha = 1;
      const size = pen.measureText(span.label).width;
      if (size + 18 > right - left) continue;
      // A plate under the name keeps it legible on every color.
      pen.fillStyle = variable("--panel");
      pen.fillRect(left + 5, top + tall / 2 - 9, size + 8, 18);
      pen.fillStyle = variable("--ink");
      pen.fillText(span.label, left + 9, top + tall / 2 + 4);
    }
  }

  private wave(pen: CanvasRenderingContext2D, width: number, top: number, tall: number): void {
    const { envelope } = this.heard;
    const scale = tall / 2 / Math.max(envelope.peak, 0.01);
    const second = (this.view[1] - this.view[0]) / width;
    pen.fillStyle = variable("--wave");
    for (let column = 0; column < width; column++) {
      const start = this.view[0] + column * second;
      const [low, high] = envelope.between(start, start + second);
      pen.fillRect(column, top + tall / 2 - high * scale, 1, Math.max(1, (high - low) * scale));
    }
    const loudest = this.heard.found.listening?.loudest;
    if (loudest === undefined) return;
    const x = this.x(loudest, width);
    if (x < 0 || x > width) return;
    pen.fillStyle = variable("--loud");
    pen.fillRect(x - 0.5, top, 1, tall);
    pen.textAlign = "center"; // in the line of the caption, where no wave is
    pen.fillText("loudest moment", Math.max(100, Math.min(width - 50, x)), top - 4);
    pen.textAlign = "left";
  }

  private attention(pen: CanvasRenderingContext2D, width: number, top: number, tall: number): void {
    const { frames, attention } = this.heard.found.listening!;
    pen.fillStyle = variable("--none");
    pen.fillRect(0, top, width, tall);
    if (frames.length < 2) return;
    const [step, ink] = [frames[1] - frames[0], variable("--heat")];
    let most = 2;
    for (const value of attention) most = Math.max(most, value ?? 0);
    const second = (this.view[1] - this.view[0]) / width;
    const frame = (at: number) => Math.max(0, Math.min(attention.length - 1, Math.round((at - frames[0]) / step)));
    for (let column = 0; column < width; column++) {
      const start = this.view[0] + column * second;
      let value: number | null = null;
      for (let i = frame(start); i <= frame(start + second); i++) {
        const own = attention[i];
        if (own !== null) value = Math.max(value ?? 0, own);
      }
      if (value === null) continue;
      pen.fillStyle = variable("--heat-none");
      pen.fillRect(column, top, 1, tall);
      pen.globalAlpha = Math.sqrt(value / most);
      pen.fillStyle = ink;
      pen.fillRect(column, top, 1, tall);
      pen.globalAlpha = 1;
    }
  }

  private axis(pen: CanvasRenderingContext2D, width: number, top: number): void {
    const wide = this.view[1] - this.view[0];
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900].find((size) => (size * width) / wide > 64) ?? 1800;
    pen.fillStyle = variable("--soft");
    pen.textAlign = "center";
    for (let i = Math.ceil(this.view[0] / step - 1e-9); i * step <= this.view[1] + 1e-9; i++) {
      const x = this.x(i * step, width);
      pen.fillRect(x, top + 2, 1, 4);
      const words = clock(i * step, step < 1 ? 1 : 0);
      const half = pen.measureText(words).width / 2;
      pen.fillText(words, Math.max(half, Math.min(width - half, x)), top + 18);
    }
    pen.textAlign = "left";
  }

  /** The whole recording, and which part of it is seen. */
  private overview(pen: CanvasRenderingContext2D, width: number, top: number): void {
    const { duration } = this.heard.found;
    pen.fillStyle = variable("--none");
    pen.fillRect(0, top, width, OVERVIEW - 2);
    pen.fillStyle = variable("--accent");
    const left = (this.view[0] / duration) * width;
    pen.fillRect(left, top, Math.max(4, ((this.view[1] - this.view[0]) / duration) * width), OVERVIEW - 2);
  }

  /** A picture with the answer above it. */
  picture(title: string): Promise<Blob> {
    const [width, scale, head] = [1200, 2, 46];
    const canvas = h("canvas", { width: width * scale, height: (this.height + head + 16) * scale });
    const pen = canvas.getContext("2d")!;
    pen.scale(scale, scale);
    pen.fillStyle = variable("--panel");
    pen.fillRect(0, 0, width, this.height + head + 16);
    pen.fillStyle = variable("--ink");
    pen.font = "600 20px system-ui, sans-serif";
    pen.fillText(title, 16, 30);
    pen.translate(16, head);
    this.paint(pen, width - 32);
    return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob!), "image/png"));
  }
}
