/** Runs the model away from the page's thread: nothing leaves this machine. */

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { listening } from "./explain";
import { LiveSpeech } from "./live";
import type { Outputs } from "./outputs";
import { qualityOf } from "./quality";
import { activeSegments, largest, named, segmentCount, softmax } from "./segments";
import { settingsOf, type Settings } from "./settings";
import { RATE, type LiveEvent, type Recognition, type Sound } from "./types";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL(wasm, self.location.href).href };
ort.env.logLevel = "error";

// Arranging the graph takes seconds here, and saves a tenth of each run.
const OPTIONS: ort.InferenceSession.SessionOptions = { graphOptimizationLevel: "disabled", logSeverityLevel: 3 };

interface Loaded {
  settings: Settings;
  session: (file: string) => Promise<ort.InferenceSession>;
}

let loading: Promise<Loaded> | null = null;
let live: LiveSpeech | null = null;

/** Sessions are opened when they are first needed, and kept. */
async function load(base: string): Promise<Loaded> {
  const config = await (await fetched(`${base}config.json`)).json();
  const open = new Map<string, Promise<ort.InferenceSession>>();
  const session = (file: string) => {
    if (!open.has(file)) {
      const opened = fetched(base + file)
        .then((answer) => answer.arrayBuffer())
        .then((bytes) => ort.InferenceSession.create(new Uint8Array(bytes), OPTIONS));
      open.set(file, opened);
    }
    return open.get(file)!;
  };
  return { settings: settingsOf(config), session };
}

async function fetched(address: string): Promise<Response> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  return answer;
}

async function recognize({ settings, session }: Loaded, { samples, notices }: Sound): Promise<Recognition> {
  const model = await session("model.onnx");
  const waveform = new ort.Tensor("float32", samples, [1, samples.length]);
  const lengths = new ort.Tensor("int64", BigInt64Array.of(BigInt(samples.length)), [1]);
  const wanted = ["logits", "level", "attention", "centre", "scope", "gates"].filter((name) => model.outputNames.includes(name));
  const found = await model.run({ waveform, lengths }, wanted);
  const values = (name: string) => (found[name]?.data as Float32Array | undefined) ?? null;
  const shape = found.attention?.dims ?? [1, 0, 0, 0, 0];
  const out: Outputs = {
    logits: values("logits")!,
    level: values("level")!,
    attention: values("attention"),
    centre: values("centre"),
    scope: values("scope"),
    gates: values("gates"),
    heads: shape[2],
    positions: shape[3],
  };
  return answer(out, { samples, notices }, settings);
}

function answer(out: Outputs, { samples, notices }: Sound, settings: Settings): Recognition {
  const { labels, temperature, hop, segment } = settings;
  const classes = labels.length;
  const count = segmentCount(out.level.length, settings);
  const active = activeSegments(out.level, settings);
  const rows = Array.from({ length: count }, (_, i) => out.logits.subarray(i * classes, (i + 1) * classes));
  const speaking = rows.filter((_, i) => active[i]);
  const mean = labels.map((_, c) => speaking.reduce((sum, row) => sum + row[c], 0) / speaking.length);
  const scores = softmax(mean, temperature);
  const best = largest(scores);
  const duration = samples.length / RATE;
  const timeline = rows.map((row, i) => {
    const own = softmax(row, temperature);
    const start = (i * segment.hop * hop) / RATE;
    const end = Math.min(start + (segment.frames * hop) / RATE, duration);
    return { start, end, label: labels[largest(own)], scores: named(own, labels) };
  });
  return {
    model: settings.model,
    label: labels[best],
    confident: scores[best] >= settings.threshold,
    scores: named(scores, labels),
    duration,
    warnings: [...notices, ...qualityOf(samples, out.level, settings.offsetRemoved)],
    timeline,
    listening: listening(out, samples, active, settings),
  };
}

type Task =
  | { id: number; kind: "prepare"; base: string }
  | { id: number; kind: "recognize"; base: string; sound: Sound }
  | { id: number; kind: "listen"; base: string }
  | { id: number; kind: "feed"; samples: Float32Array }
  | { id: number; kind: "finish" };

async function perform(task: Task): Promise<Recognition | LiveEvent[] | Settings | null> {
  if (task.kind === "prepare" || task.kind === "recognize" || task.kind === "listen") {
    loading ??= load(task.base);
    const loaded = await loading.catch((reason) => {
      loading = null; // another try may find it
      throw reason;
    });
    if (task.kind === "prepare") return loaded.session("model.onnx").then(() => null);
    if (task.kind === "recognize") return recognize(loaded, task.sound);
    const [encode, classify] = await Promise.all([loaded.session("live-encode.onnx"), loaded.session("live-classify.onnx")]);
    live = new LiveSpeech(loaded.settings, encode, classify);
    return loaded.settings;
  }
  if (!live) throw new Error("nobody listens");
  return task.kind === "feed" ? live.feed(task.samples) : live.finish();
}

// One after the other: samples must be taken in their order.
let last: Promise<unknown> = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<Task>) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id: data.id, result: await perform(data) });
    } catch (reason) {
      self.postMessage({ id: data.id, reason: reason instanceof Error ? reason.message : String(reason) });
    }
  });
};
