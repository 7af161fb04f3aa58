/** The page: a voice in; what was heard, how sure, and when it changed, out. */

import "./style.css";
import { open } from "./audio/decode";
import { Envelope } from "./audio/envelope";
import { $, clock, h } from "./dom";
import { BrowserEngine } from "./engine/browser";
import { ServerEngine } from "./engine/server";
import type { Heard } from "./heard";
import { Trouble } from "./trouble";
import { RATE, type Clip, type Engine, type Live } from "./types";
import { Capture, showMicrophones } from "./views/capture";
import { FileList, type Item } from "./views/fileList";
import { LiveView } from "./views/liveView";
import { ResultView } from "./views/result";

const base = new URL("model/", location.href).href;
const browser = new BrowserEngine(base);
const server = new ServerEngine(base);
const served = document.documentElement.dataset.served === "yes";
const config = fetch("model/config.json").then((answer) => answer.json());
const result = new ResultView(
  () => (served ? new URL(".", location.href).href : null),
  (heard) => enqueue([{ name: heard.name, file: heard.file! }], "recording"),
);
const files = new FileList((item) => (item.heard ? show(item.heard) : complain(item.trouble!, item)));
let engine: Engine = browser;
let working: AbortController | null = null;

// What is said.

function say(words: string): void {
  $("status").textContent = words;
}

/** An error takes the place of the old answer, and says what to do. */
function complain(reason: unknown, item?: Item): void {
  const trouble = Trouble.of(reason);
  say("");
  result.hide();
  const parts: (Node | string)[] = [h("b", {}, item ? `${item.name}: ${trouble.message}` : trouble.message), ` ${trouble.advice}`];
  if (trouble.code === "unreadable" && item && engine === browser && served) {
    const elsewhere = h("button", { type: "button", class: "quiet", click: () => void sendElsewhere(item) }, "Send it to the service, which reads more formats");
    parts.push(h("div", { class: "row" }, elsewhere));
  }
  if (trouble.detail && trouble.code === "unknown") parts.push(h("small", {}, ` (${trouble.detail})`));
  $("error").replaceChildren(...parts);
}

function show(heard: Heard): void {
  $("error").replaceChildren();
  result.show(heard);
}

// Files, one after the other.

function enqueue(given: { name: string; file: Blob }[], kind: Heard["kind"]): void {
  if (!given.length) return;
  const items = given.map(({ name, file }): Item => ({ name, file, kind, alone: given.length === 1, state: "waiting", share: 0, heard: null, trouble: null }));
  $("error").replaceChildren();
  files.add(items);
  void run();
}

async function run(): Promise<void> {
  if (working) return;
  for (let item = next(); item; item = next()) {
    working = new AbortController();
    await recognize(item, working.signal);
    working = null;
  }
}

function next(): Item | undefined {
  return files.items.find((item) => item.state === "waiting");
}

async function recognize(item: Item, signal: AbortSignal): Promise<void> {
  item.state = "running";
  files.draw();
  say(`Listening to ${item.name} …`);
  const began = performance.now();
  const slow = setTimeout(() => ($("work").hidden = false), 300); // quick ones need no bar
  try {
    item.heard = await hear(item, engine, signal);
    item.state = "done";
    show(item.heard);
    say(`Recognized ${item.name} in ${((performance.now() - began) / 1000).toFixed(2)} s.`);
  } catch (reason) {
    item.state = "failed";
    item.trouble = Trouble.of(reason);
    if (item.trouble.code === "canceled") for (const each of files.items) if (each.state === "waiting") [each.state, each.trouble] = ["failed", item.trouble];
    const others = files.items.some((each) => each.state === "done");
    if (item.alone || !others || item.trouble.code === "canceled") complain(item.trouble, item);
    else say(`${item.name}: ${item.trouble.message}`);
  } finally {
    clearTimeout(slow);
    $("work").hidden = true;
    progress(null);
    files.draw();
  }
}

async function hear(item: Item, with_: Engine, signal: AbortSignal): Promise<Heard> {
  const envelope = new Envelope();
  const sound = await open(item.file).catch((reason) => {
    if (with_ === server && Trouble.of(reason).code === "unreadable") return null; // the service may read it
    throw reason;
  });
  const clip: Clip = { name: item.name, file: item.file, sound };
  let heard = 0;
  const report = (samples: number) => {
    heard += samples / RATE;
    item.share = sound?.seconds ? Math.min(1, heard / sound.seconds) : 0;
    progress(item.share, heard, sound?.seconds ?? null);
    files.draw();
  };
  const found = await with_.recognize(clip, { signal, report, see: (samples) => envelope.feed(samples) });
  signal.throwIfAborted();
  const speech = found.listening?.speech ?? (found.timeline ?? []).map(() => true);
  const shape = sound || !found.listening?.amplitude ? envelope : Envelope.of(found.listening.amplitude, found.duration);
  return { name: item.name, kind: item.kind, file: item.file, found, envelope: shape, speech, made: item.kind !== "file" };
}

/** The person says so: the file leaves this machine. */
async function sendElsewhere(item: Item): Promise<void> {
  $<HTMLInputElement>("server").checked = true;
  choose();
  [item.state, item.trouble] = ["waiting", null];
  await run();
}

function progress(share: number | null, heard = 0, whole: number | null = null): void {
  const bar = $<HTMLProgressElement>("progress");
  if (share) bar.value = share;
  else bar.removeAttribute("value");
  $("progress-label").textContent = whole ? `Listening: ${clock(heard)} of ${clock(whole)}` : "Listening";
}

$("cancel").addEventListener("click", () => working?.abort(new Trouble("canceled")));

function chosen(list: FileListLike | null | undefined): void {
  enqueue(Array.from(list ?? [], (file) => ({ name: file.name, file })), "file");
}
type FileListLike = ArrayLike<File>;

$<HTMLInputElement>("file").addEventListener("change", (event) => {
  const input = event.target as HTMLInputElement;
  chosen(input.files);
  input.value = ""; // so that the same file can be chosen again
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") chosen((event as DragEvent).dataTransfer?.files);
  });
}

// Recording and live speech.

function capturing(on: boolean): void {
  for (const id of ["record", "live"]) $<HTMLButtonElement>(id).disabled = on;
}

const ENDS = { full: "The longest time is reached: it stopped, and kept what was said.", lost: "The microphone was unplugged: what was said until then is kept." };

$("record").addEventListener("click", async () => {
  capturing(true);
  $("error").replaceChildren();
  try {
    await Capture.start({
      title: "Recording",
      hint: "Speak a sentence or two. Nothing is sent anywhere while you record.",
      done: (sound, why) => {
        capturing(false);
        enqueue([{ name: `recording ${stamp()}`, file: sound }], "recording");
        if (why !== "stopped") say(ENDS[why]);
      },
      discarded: () => {
        capturing(false);
        say("The recording was discarded.");
      },
    });
  } catch (reason) {
    capturing(false);
    complain(reason);
  }
});

$("live").addEventListener("click", async () => {
  capturing(true);
  $("error").replaceChildren();
  result.hide();
  say("Getting ready …");
  let live: Live | null = null;
  let capture: Capture | null = null;
  let failed: unknown = null;
  try {
    const { model, threshold } = await config;
    const view = new LiveView(`live ${stamp()}`, model, threshold);
    live = await engine.listen((event) => view.hear(event), (reason) => {
      failed ??= reason;
      capture?.end("stopped");
    }); // prettier-ignore
    capture = await Capture.start({
      title: "Listening live",
      hint: "Speak. What is heard appears below while you do, and stays when you stop.",
      feed: (samples) => {
        view.feed(samples);
        live!.feed(samples);
      },
      done: (sound, why) => void ended(view, live!, sound, why === "stopped" ? failed : new Trouble("lost"), why),
      discarded: () => {
        capturing(false);
        void live!.stop();
        result.hide();
        say("What was heard was discarded.");
      },
    });
    say(engine === browser ? "Listening in this browser." : `Listening on the service at ${location.host}.`);
  } catch (reason) {
    void live?.stop();
    capturing(false);
    complain(reason);
  }
});

async function ended(view: LiveView, live: Live, sound: Blob, trouble: unknown, why: "stopped" | "full" | "lost"): Promise<void> {
  say("Finishing …");
  await live.stop();
  capturing(false);
  if (view.empty) return complain(trouble ?? new Trouble("too_short"));
  const heard = view.finish(sound);
  files.add([{ name: heard.name, file: sound, kind: "live", alone: true, state: "done", share: 1, heard, trouble: null }]);
  show(heard);
  if (why !== "stopped") say(ENDS[why]);
  else if (trouble) say(`${Trouble.of(trouble).message} What was heard until then is kept.`);
  else say("Stopped. What was heard is kept below.");
}

function stamp(): string {
  return new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }).replaceAll(":", ".");
}

navigator.mediaDevices?.addEventListener("devicechange", () => void showMicrophones());
void showMicrophones();

// Examples, each with what a person expects.

async function examples(): Promise<void> {
  const answer = await fetch("examples/examples.json");
  if (!answer.ok) return;
  for (const { file, title, expected } of await answer.json()) {
    const button = h("button", { type: "button", class: "example" }, h("b", {}, title), h("span", {}, expected));
    button.addEventListener("click", async () => {
      try {
        const clip = await fetch(`examples/${file}`);
        if (!clip.ok) throw new Trouble("no_model");
        enqueue([{ name: title, file: await clip.blob() }], "file");
      } catch (reason) {
        complain(reason);
      }
    });
    $("examples").append(h("li", {}, button));
  }
  $("examples-box").hidden = false;
}
void examples().catch(() => undefined);

// Which engine, and what it does with a voice.

function choose(): void {
  engine = $<HTMLInputElement>("server").checked ? server : browser;
  $("where").textContent =
    engine === browser
      ? "Your voice never leaves this machine: the model runs in this browser."
      : `Your voice is sent to ${location.host}, which recognizes it and neither stores nor logs it.`;
  $("token-label").hidden = engine !== server || $("token-label").dataset.needed !== "yes";
  void config.then((found) => ($("voice").hidden = engine !== browser || !found.page.voice_size)).catch(() => undefined);
}

document.querySelectorAll("input[name=engine]").forEach((input) => input.addEventListener("change", choose));
$<HTMLInputElement>("token").addEventListener("input", (event) => {
  server.token = (event.target as HTMLInputElement).value.trim();
});
choose();

// A voice that the model gets used to, in this browser alone.

async function adapt(given: File[]): Promise<void> {
  const watch = { signal: new AbortController().signal, report: () => undefined, see: () => undefined };
  for (const file of given) {
    say(`Getting used to the voice in ${file.name} …`);
    try {
      const { seconds } = await browser.adapt({ name: file.name, file, sound: await open(file) }, watch);
      $("voice-note").textContent = `Adapted to ${Math.round(seconds)} s of speech. That is known in this page alone, and gone when you leave it.`;
      $("voice-forget").hidden = false;
      say(`Got used to the voice in ${file.name}.`);
    } catch (reason) {
      say(`${file.name}: ${Trouble.of(reason).message}`);
    }
  }
}

$<HTMLInputElement>("voice-files").addEventListener("change", (event) => {
  const input = event.target as HTMLInputElement;
  void adapt([...(input.files ?? [])]);
  input.value = "";
});
$("voice-forget").addEventListener("click", async () => {
  await browser.forget();
  $("voice-forget").hidden = true;
  $("voice-note").textContent = "The voice is forgotten.";
});

// Loading, and keeping a copy for when there is no network.

browser.loaded = (share) => ($<HTMLProgressElement>("loaded").value = share);
void browser.prepare().then(
  () => {
    $("loading").hidden = true;
    if ("serviceWorker" in navigator && import.meta.env.PROD) void navigator.serviceWorker.register("sw.js").catch(() => undefined);
  },
  (reason) => {
    $("loading").hidden = true;
    if (engine === browser) complain(reason);
  },
);

/** Where the model of this page comes from, and how often it is right. */
function about({ model, license, training }: any): string {
  if (!training.corpus) return `The model of this page is ${model} (${license}).`;
  const right = `right in ${Math.round(100 * training.wa)} % of its ${training.test} test recordings, of speakers it never heard`;
  return `The model of this page, ${model} (${license}), learnt from ${training.corpus} and is ${right}; of people who do not act it is right less often.`;
}
void config.then((found) => ($("about").textContent = about(found))).catch(() => undefined);

// For scripts and for tests: the engines, without the page.
Object.assign(window, { emofocus: { browser, server, open } });
if (served) {
  $("calls").hidden = false;
  if (navigator.onLine) {
    void ServerEngine.there().then((there) => {
      $("engines").hidden = there === "no";
      $("token-label").dataset.needed = there === "token" ? "yes" : "no";
    });
  }
}
