/** The page: a voice in, what was heard out. */

import "./style.css";
import { decode, Microphone, wav } from "./audio";
import { BrowserEngine } from "./browser";
import { Charts, colour, LiveChart } from "./charts";
import { ServerEngine } from "./server";
import { RATE, type Clip, type Engine, type Live, type LiveEvent, type Recognition } from "./types";

const EXAMPLES = ["plain", "slow-and-low", "fast-and-high"];
const LONGEST_SECONDS = 120;

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

const browser = new BrowserEngine(new URL("model/", location.href).href);
const server = new ServerEngine();
let engine: Engine = browser;
let charts: Charts | null = null;
let shown: { clip: Clip; found: Recognition } | null = null;
let task = 0;

function say(words: string): void {
  $("status").textContent = words;
}

function complain(reason: unknown): void {
  say("");
  $("error").textContent = reason instanceof Error ? reason.message : String(reason);
}

async function recognize(name: string, file: Blob): Promise<void> {
  const mine = ++task;
  $("error").textContent = "";
  say(`Listening to ${name} …`);
  try {
    const sound = await decode(file);
    const { samples } = sound;
    if (engine === browser && samples.length > LONGEST_SECONDS * RATE) {
      throw new Error(`this lasts ${Math.round(samples.length / RATE)} s; the page takes ${LONGEST_SECONDS} s`);
    }
    const clip = { name, file, ...sound };
    const began = performance.now();
    const found = await engine.recognize(clip);
    if (mine !== task) return; // another clip was chosen meanwhile
    show(clip, found);
    say(`Recognized ${name} in ${((performance.now() - began) / 1000).toFixed(2)} s ${engine.where}.`);
  } catch (reason) {
    if (mine === task) complain(reason);
  }
}

function show(clip: Clip, found: Recognition): void {
  shown = { clip, found };
  $("result").hidden = false;
  const share = Math.round(100 * found.scores[found.label]);
  const answer = document.createElement("strong");
  answer.textContent = found.label;
  $("answer").replaceChildren(`${clip.name}: `, answer, ` ${share} %${found.confident ? "" : ", but unsure"}`);
  $("notes").textContent = found.warnings.length ? `Mind: ${found.warnings.join("; ")}.` : "";
  table($("scores"), found.scores, found.label);
  const player = $<HTMLAudioElement>("player");
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(clip.file);
  charts?.close();
  charts = new Charts($("charts"), clip, found);
}

/** Scores as a table of words, bars and numbers. */
function table(place: HTMLElement, scores: Record<string, number>, best: string | null): void {
  const rows = Object.entries(scores).map(([label, score], i) => {
    const row = document.createElement("tr");
    row.className = label === best ? "best" : "";
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = label;
    const bar = document.createElement("td");
    bar.append(barOf(score, colour(`--c${i % 8}`)));
    const number = document.createElement("td");
    number.className = "number";
    number.textContent = `${(100 * score).toFixed(score < 0.1 ? 1 : 0)} %`;
    row.append(head, bar, number);
    return row;
  });
  const whole = document.createElement("table");
  whole.className = "scores";
  const caption = whole.createCaption();
  caption.textContent = "Probability of each emotion";
  whole.append(...rows);
  place.replaceChildren(whole);
}

function barOf(share: number, fill: string): HTMLElement {
  const bar = document.createElement("div");
  bar.className = "bar";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const rect = svg.appendChild(document.createElementNS(svg.namespaceURI, "rect"));
  rect.setAttribute("width", String(100 * share));
  rect.setAttribute("height", "10");
  rect.setAttribute("fill", fill);
  bar.append(svg);
  return bar;
}

// Files, by choice, by drop, and shipped ones.

$<HTMLInputElement>("file").addEventListener("change", (event) => {
  const input = event.target as HTMLInputElement;
  if (input.files?.[0]) void recognize(input.files[0].name, input.files[0]);
  input.value = ""; // so that the same file can be chosen again
});

const drop = $("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    const file = kind === "drop" ? (event as DragEvent).dataTransfer?.files[0] : undefined;
    if (file) void recognize(file.name, file);
  });
}

for (const name of EXAMPLES) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = name.replaceAll("-", " ");
  button.addEventListener("click", async () => {
    try {
      const answer = await fetch(`examples/${name}.wav`);
      if (!answer.ok) throw new Error(`the example cannot be had (${answer.status})`);
      await recognize(button.textContent!, await answer.blob());
    } catch (reason) {
      complain(reason);
    }
  });
  $("examples").append(button);
}

// Recording.

let recording: { microphone: Microphone; parts: Float32Array[] } | null = null;

function press(button: HTMLElement, pressed: boolean, words: string): void {
  button.setAttribute("aria-pressed", String(pressed));
  button.textContent = words;
}

$("record").addEventListener("click", async () => {
  const button = $<HTMLButtonElement>("record");
  button.disabled = true;
  try {
    if (recording) {
      const { microphone, parts } = recording;
      recording = null;
      await microphone.close();
      press(button, false, "Record");
      $<HTMLButtonElement>("live").disabled = false;
      const samples = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
      parts.reduce((place, part) => (samples.set(part, place), place + part.length), 0);
      await recognize("your recording", wav(samples));
    } else {
      const parts: Float32Array[] = [];
      $("error").textContent = "";
      recording = { microphone: await Microphone.open((samples) => parts.push(samples)), parts };
      press(button, true, "Stop recording");
      $<HTMLButtonElement>("live").disabled = true;
      say("Recording: speak, then stop.");
    }
  } catch (reason) {
    complain(reason);
  } finally {
    button.disabled = false;
  }
});

// Live.

let listening: { microphone: Microphone; live: Live; chart: LiveChart | null } | null = null;

function hear(event: LiveEvent): void {
  if (!listening) return;
  listening.chart ??= new LiveChart($("live-chart"), Object.keys(event.scores));
  listening.chart.add(event);
  $("live-emotion").textContent = event.emotion === null ? "no speech" : event.emotion + (event.confident ? "" : "?");
  table($("live-scores"), event.scores, event.emotion);
}

async function stopListening(): Promise<void> {
  if (!listening) return;
  const { microphone, live } = listening;
  const ending = listening;
  await microphone.close();
  if (listening !== ending) return;
  await live.stop();
  ending.chart?.close();
  listening = null;
  press($("live"), false, "Listen live");
  $<HTMLButtonElement>("record").disabled = false;
}

$("live").addEventListener("click", async () => {
  const button = $<HTMLButtonElement>("live");
  button.disabled = true;
  $("error").textContent = "";
  try {
    if (listening) {
      await stopListening();
      say("");
    } else {
      say("Getting ready …");
      let failed = false;
      const live = await engine.listen(RATE, hear, (reason) => {
        if (failed) return;
        failed = true;
        complain(reason);
        void stopListening();
      });
      const microphone = await Microphone.open((samples) => live.feed(samples));
      listening = { microphone, live, chart: null };
      $("live-panel").hidden = false;
      $("live-emotion").textContent = "nothing yet";
      press(button, true, "Stop listening");
      $<HTMLButtonElement>("record").disabled = true;
      say(`Listening ${engine.where}.`);
    }
  } catch (reason) {
    complain(reason);
  } finally {
    button.disabled = false;
  }
});

// Playback moves the cursor, and a click in a chart moves playback.

const player = $<HTMLAudioElement>("player");
function follow(): void {
  charts?.cursor(player.currentTime);
  if (!player.paused && !player.ended) requestAnimationFrame(follow);
}
player.addEventListener("play", follow);
player.addEventListener("seeked", follow);
$("charts").addEventListener("seek", (event) => {
  player.currentTime = (event as CustomEvent<number>).detail;
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (shown) show(shown.clip, shown.found);
});

/** Where the model of this page comes from, and how often it is right. */
function about({ model, license, training }: any): string {
  if (!training.corpus) return `The model of this page is ${model} (${license}).`;
  const right = `right in ${Math.round(100 * training.wa)} % of its ${training.test} test utterances`;
  return `The model of this page, ${model} (${license}), was trained on ${training.corpus} and is ${right}: ${training.note}.`;
}

// Which engine.

function choose(): void {
  engine = $<HTMLInputElement>("server").checked ? server : browser;
  $("where").textContent = engine.where;
  $("token-label").hidden = engine !== server || $("token-label").dataset.needed !== "yes";
}

document.querySelectorAll("input[name=engine]").forEach((input) => input.addEventListener("change", choose));
$<HTMLInputElement>("token").addEventListener("input", (event) => {
  server.token = (event.target as HTMLInputElement).value.trim();
});
choose();
browser.prepare();
void fetch("model/config.json")
  .then((answer) => answer.json())
  .then((config) => ($("about").textContent = about(config)));
// For scripts and for tests: the engines, without the page.
Object.assign(window, { emofocus: { browser, server, decode } });
if (document.documentElement.dataset.served === "yes") {
  void ServerEngine.there().then((there) => {
    $("engines").hidden = there === "no";
    $("token-label").dataset.needed = there === "token" ? "yes" : "no";
  });
}
