/** What was heard, drawn over time: charts that share one cursor. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Clip, LiveEvent, Recognition } from "./types";
import { RATE } from "./types";

const SYNC = "clip";
const COLUMNS = 1500;
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

interface Line {
  name: string;
  colour: string;
  dash?: number[];
}

/** A title with a sentence for those who never saw such a picture, a legend of words, and room for the chart. */
function place(parent: HTMLElement, title: string, words: string, lines: Line[]): HTMLElement {
  const heading = document.createElement("h3");
  heading.textContent = title;
  const small = heading.appendChild(document.createElement("small"));
  small.textContent = words;
  parent.append(heading);
  if (lines.length) parent.append(legend(lines));
  const room = parent.appendChild(document.createElement("div"));
  room.className = "chart";
  room.setAttribute("role", "img");
  room.setAttribute("aria-label", `${title}. ${words}`);
  return room;
}

function legend(lines: Line[]): HTMLElement {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const line of lines) {
    const item = list.appendChild(document.createElement("li"));
    item.append(sample(line), line.name);
  }
  return list;
}

function sample(line: Line): SVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 28 14");
  svg.setAttribute("aria-hidden", "true");
  const path = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
  path.setAttribute("d", "M0 7h28");
  path.setAttribute("stroke", line.colour);
  path.setAttribute("stroke-width", "3");
  if (line.dash?.length) path.setAttribute("stroke-dasharray", line.dash.join(" "));
  return svg as SVGElement;
}

function options(room: HTMLElement, height: number, duration: number, range: [number, number] | null, series: uPlot.Series[]): uPlot.Options {
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  return {
    width: room.clientWidth || 600,
    height,
    cursor: { y: false, sync: { key: SYNC }, drag: { x: false, y: false }, points: { show: false } },
    legend: { show: false },
    scales: { x: { time: false, range: [0, duration] }, y: range ? { range } : {} },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map((tick) => `${+tick.toFixed(2)} s`) },
      { ...axis, size: 52 },
    ],
    series: [{}, ...series],
  };
}

/** Charts of one clip. */
export class Charts {
  private readonly plots: uPlot[] = [];
  private readonly resize = new ResizeObserver(() => {
    for (const plot of this.plots) {
      const width = plot.root.parentElement!.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
    }
  });

  constructor(
    private readonly parent: HTMLElement,
    private readonly clip: Clip,
    private readonly found: Recognition,
  ) {
    parent.replaceChildren();
    this.wave();
    this.emotions();
    this.focus();
    this.gates();
    this.resize.observe(parent);
  }

  /** Move the cursor of all charts to a second, or away. */
  cursor(second: number | null): void {
    for (const plot of this.plots) {
      const left = second === null ? -10 : plot.valToPos(second, "x");
      plot.setCursor({ left, top: plot.over.clientHeight / 2 }, false);
    }
  }

  close(): void {
    this.resize.disconnect();
    this.plots.forEach((plot) => plot.destroy());
  }

  private add(room: HTMLElement, opts: uPlot.Options, data: uPlot.AlignedData): void {
    const plot = new uPlot(opts, data, room);
    plot.over.addEventListener("click", () => {
      const event = new CustomEvent("seek", { detail: plot.posToVal(plot.cursor.left ?? 0, "x"), bubbles: true });
      this.parent.dispatchEvent(event);
    });
    this.plots.push(plot);
  }

  private wave(): void {
    const { samples } = this.clip;
    const columns = Math.min(COLUMNS, samples.length);
    const times: number[] = [];
    const low: number[] = [];
    const high: number[] = [];
    for (let c = 0; c < columns; c++) {
      const [from, to] = [Math.floor((c * samples.length) / columns), Math.floor(((c + 1) * samples.length) / columns)];
      let [least, most] = [0, 0];
      for (let t = from; t < to; t++) {
        least = Math.min(least, samples[t]);
        most = Math.max(most, samples[t]);
      }
      times.push((from + to) / 2 / RATE);
      low.push(least);
      high.push(most);
    }
    const heard = this.found.listening;
    const words = heard
      ? `The sound. Stronger ground: the model attends more. Dashed: the loudest moment, ${heard.loudest.toFixed(2)} s.`
      : "The sound.";
    const room = place(this.parent, "Sound and attention", words, []);
    const top = Math.max(0.01, ...high, ...low.map(Math.abs));
    const ink = colour("--ink");
    const opts = options(room, 150, this.found.duration, [-top, top], [{ stroke: ink, width: 1 }, { stroke: ink, width: 1 }]);
    opts.bands = [{ series: [2, 1], fill: ink }];
    opts.axes![1].values = (_, ticks) => ticks.map((tick) => (Math.abs(tick) < 1e-9 ? "0" : tick.toFixed(2)));
    if (heard) opts.hooks = { drawClear: [(plot) => this.heat(plot)] };
    this.add(room, opts, [times, low, high]);
  }

  /** Ground behind the waveform: how much attention each frame gets, over an equal share. */
  private heat(plot: uPlot): void {
    const { frames, attention, loudest } = this.found.listening!;
    const { ctx, bbox } = plot;
    const most = Math.max(1, ...attention.map((value) => value ?? 0));
    const heat = colour("--heat");
    const half = frames.length > 1 ? (frames[1] - frames[0]) / 2 : 0;
    frames.forEach((second, i) => {
      const [left, right] = [plot.valToPos(second - half, "x", true), plot.valToPos(second + half, "x", true)];
      ctx.fillStyle = `rgba(${heat}, ${0.85 * ((attention[i] ?? 0) / most)})`;
      ctx.fillRect(Math.max(left, bbox.left), bbox.top, Math.ceil(right - Math.max(left, bbox.left)), bbox.height);
    });
    ctx.strokeStyle = colour("--ink");
    ctx.setLineDash([6, 5]);
    ctx.beginPath();
    ctx.moveTo(plot.valToPos(loudest, "x", true), bbox.top);
    ctx.lineTo(plot.valToPos(loudest, "x", true), bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  private emotions(): void {
    const { timeline, duration } = this.found;
    if (!timeline) return;
    const labels = Object.keys(this.found.scores);
    const lines = labels.map((name, i) => ({ name, colour: colour(`--c${i % 8}`) }));
    const room = place(this.parent, "Emotions over time", "Probability of each, in segments of two seconds, at their middles.", lines);
    const series = lines.map((line) => ({ stroke: line.colour, width: 2, points: { show: timeline.length < 40, size: 5 } }));
    const opts = options(room, 190, duration, [0, 1], series);
    percent(opts);
    const times = timeline.map((segment) => (segment.start + segment.end) / 2);
    this.add(room, opts, [times, ...labels.map((label) => timeline.map((segment) => segment.scores[label]))]);
  }

  private focus(): void {
    const { listening: heard, duration } = this.found;
    if (!heard?.centre || !heard.scope) return;
    const { centre, scope } = heard;
    const heads = headLines(centre[0].length);
    const room = place(this.parent, "Focus of each head", "Lines: where in the clip a head's focus lies, segment by segment. Bands: how wide it is.", heads);
    const series: uPlot.Series[] = [];
    const data: number[][] = [];
    const bands: uPlot.Band[] = [];
    heads.forEach((line, h) => {
      const edge = { stroke: "transparent", width: 0, points: { show: false } };
      series.push(edge, { stroke: line.colour, width: 2, dash: line.dash, points: { show: heard.segments.length < 3 } }, edge);
      for (const side of [0.5, 0, -0.5]) data.push(centre.map((row, i) => row[h] + side * scope[i][h]));
      bands.push({ series: [3 * h + 1, 3 * h + 3], fill: transparent(line.colour) });
    });
    const opts = options(room, 190, duration, [0, duration], series);
    opts.bands = bands;
    opts.axes![1].values = (_, ticks) => ticks.map((tick) => `${+tick.toFixed(2)} s`);
    this.add(room, opts, [heard.segments, ...data] as uPlot.AlignedData);
  }

  private gates(): void {
    const { listening: heard, duration } = this.found;
    if (!heard?.gates) return;
    const { gates } = heard;
    const heads = headLines(gates[0].length);
    const room = place(this.parent, "Weight of each head", "Calibration: how much each head counts, segment by segment.", heads);
    const series = heads.map((line) => ({ stroke: line.colour, width: 2, dash: line.dash, points: { show: heard.segments.length < 3 } }));
    const opts = options(room, 140, duration, [0, 1], series);
    percent(opts);
    this.add(room, opts, [heard.segments, ...heads.map((_, h) => gates.map((row) => row[h]))]);
  }
}

/** Heads differ by dashes as well as by colours. */
function headLines(count: number): Line[] {
  return Array.from({ length: count }, (_, h) => ({
    name: `head ${h + 1}`,
    colour: colour(`--c${[3, 4, 6, 5][h % 4]}`),
    dash: DASHES[h % DASHES.length],
  }));
}

function percent(opts: uPlot.Options): void {
  opts.axes![1].values = (_, ticks) => ticks.map((tick) => `${Math.round(100 * tick)} %`);
}

function transparent(hex: string): string {
  return `${hex}30`;
}

/** The last seconds of live speech. */
export class LiveChart {
  private readonly plot: uPlot;
  private readonly events: LiveEvent[] = [];

  constructor(
    room: HTMLElement,
    private readonly labels: string[],
    private readonly seconds = 20,
  ) {
    room.replaceChildren(legend(labels.map((name, i) => ({ name, colour: colour(`--c${i % 8}`) }))));
    const inner = room.appendChild(document.createElement("div"));
    const series = labels.map((_, i) => ({ stroke: colour(`--c${i % 8}`), width: 2, points: { show: false } }));
    const opts = options(inner, 190, seconds, [0, 1], series);
    opts.cursor = { show: false };
    opts.scales!.x = { time: false };
    percent(opts);
    this.plot = new uPlot(opts, [[], ...labels.map(() => [])] as uPlot.AlignedData, inner);
  }

  add(event: LiveEvent): void {
    this.events.push(event);
    while (this.events[0].end < event.end - this.seconds) this.events.shift();
    const times = this.events.map((item) => item.end);
    this.plot.batch(() => {
      this.plot.setData([times, ...this.labels.map((label) => this.events.map((item) => item.scores[label]))], false);
      this.plot.setScale("x", { min: Math.max(0, event.end - this.seconds), max: Math.max(this.seconds, event.end) });
    });
  }

  close(): void {
    this.plot.destroy();
  }
}
