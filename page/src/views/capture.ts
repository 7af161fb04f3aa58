/** The panel of a microphone that is on: clock, loudness, pause, stop; nothing that was said is lost. */

import { Microphone, microphones } from "../audio/microphone";
import { wav, whole16 } from "../audio/wav";
import { $, clock, h } from "../dom";
import { RATE } from "../types";

/** Longest recording, seconds: two minutes more than an hour are 120 MB of memory. */
const LONGEST_SECONDS = 3600;

export interface CaptureOptions {
  title: string;
  hint: string;
  /** Takes samples while they come. */
  feed?: (samples: Float32Array) => void;
  /** Takes the sound when it ends, and why, if nobody pressed Stop. */
  done: (sound: Blob, why: "stopped" | "full" | "lost") => void;
  discarded: () => void;
}

export class Capture {
  private parts: Int16Array<ArrayBuffer>[] = [];
  private samples = 0;
  private microphone: Microphone | null = null;
  private ended = false;
  private readonly leaving = (event: BeforeUnloadEvent) => event.preventDefault();

  private constructor(private readonly options: CaptureOptions) {}

  static async start(options: CaptureOptions): Promise<Capture> {
    const capture = new Capture(options);
    const device = $<HTMLSelectElement>("microphone").value;
    capture.microphone = await Microphone.open(device, (samples) => capture.take(samples), () => capture.end("lost"));
    await showMicrophones();
    capture.open();
    return capture;
  }

  private open(): void {
    $("capture").hidden = false;
    $("capture-title").textContent = this.options.title;
    $("hint").textContent = this.options.hint;
    $("limit").textContent = `of ${clock(limit())} at most; then it stops and keeps what it has`;
    press(false);
    $("stop").onclick = () => this.end("stopped");
    $("discard").onclick = () => this.end("discarded");
    $("pause").onclick = () => {
      const paused = $("pause").getAttribute("aria-pressed") !== "true";
      this.microphone?.pause(paused);
      press(paused);
    };
    $("stop").focus();
    addEventListener("beforeunload", this.leaving);
  }

  private take(samples: Float32Array): void {
    if (this.ended) return;
    this.parts.push(whole16(samples));
    this.samples += samples.length;
    this.options.feed?.(samples);
    let peak = 0;
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    const meter = $<HTMLMeterElement>("meter");
    meter.value = Math.max(-60, 20 * Math.log10(peak + 1e-6));
    $("clock").textContent = clock(this.samples / RATE);
    if (this.samples >= limit() * RATE) this.end("full");
  }

  end(why: "stopped" | "full" | "lost" | "discarded"): void {
    if (this.ended) return;
    this.ended = true;
    removeEventListener("beforeunload", this.leaving);
    $("capture").hidden = true;
    $("clock").textContent = "0:00";
    void this.microphone?.close();
    if (why === "discarded") this.options.discarded();
    else this.options.done(wav(this.parts), why);
  }
}

/** For tests: `?longest=SECONDS`. */
function limit(): number {
  return Number(new URLSearchParams(location.search).get("longest")) || LONGEST_SECONDS;
}

function press(paused: boolean): void {
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
}

/** The choice of microphones, once their names are known. */
export async function showMicrophones(): Promise<void> {
  const found = await microphones();
  const select = $<HTMLSelectElement>("microphone");
  const chosen = select.value;
  select.replaceChildren(h("option", { value: "" }, "the usual one"), ...found.map(({ id, name }) => h("option", { value: id }, name)));
  if (found.some(({ id }) => id === chosen)) select.value = chosen;
  $("microphone-label").hidden = found.length === 0;
}
