/** Runs the model away from the page's thread: nothing leaves this machine. */

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { Trouble } from "../trouble";
import { RATE, type LiveEvent, type Recognition } from "../types";
import { answer } from "./answer";
import { overPositions, received, rows } from "./attention";
import { Blocks } from "./blocks";
import { Downloads } from "./downloads";
import { LiveSpeech } from "./live";
import type { Outputs } from "./outputs";
import { adaptationTo, joined, profileOf, type Profile } from "./profile";
import { checkedQuality, Quality } from "./quality";
import { activeSegments } from "./segments";
import { settingsOf, type Settings } from "./settings";

declare const WASM_BYTES: number;

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

// Arranging the graph takes seconds here, and saves a tenth of each run.
const OPTIONS: ort.InferenceSession.SessionOptions = { graphOptimizationLevel: "disabled", logSeverityLevel: 3 };
const OUTPUTS = ["logits", "level", "attention", "centre", "scope", "gates"];

interface Loaded {
  settings: Settings;
  session: (file: string) => Promise<ort.InferenceSession>;
}

let loading: Promise<Loaded> | null = null;
let live: LiveSpeech | null = null;
/** The voice that the model is adapted to. It is here alone, and gone with the page. */
let profile: Profile | null = null;
let recording: { blocks: Blocks; quality: Quality; settings: Settings } | null = null;

/** Sessions are opened when they are first needed, and kept. */
async function load(base: string): Promise<Loaded> {
  const downloads = new Downloads((share) => self.postMessage({ share }));
  const config = await downloads.json(`${base}config.json`);
  const settings = settingsOf(config);
  // Both at once, and the page is told how far they are.
  const first = downloads.bytes(`${base}model.onnx`, settings.bytes["model.onnx"]);
  ort.env.wasm.wasmBinary = await downloads.bytes(new URL(wasm, self.location.href).href, WASM_BYTES);
  const open = new Map([["model.onnx", first.then((bytes) => ort.InferenceSession.create(bytes, OPTIONS))]]);
  const session = (file: string) => {
    if (!open.has(file)) {
      const bytes = downloads.bytes(base + file, settings.bytes[file]);
      open.set(file, bytes.then((found) => ort.InferenceSession.create(found, OPTIONS)));
    }
    return open.get(file)!;
  };
  await session("model.onnx");
  return { settings, session };
}

/** Inputs by which a model is adapted to the voice, or to nobody's; a model that can be adapted takes them each time. */
function voiceInputs({ voice }: Settings): Record<string, ort.Tensor> {
  if (!voice) return {};
  const { shift, scale } = adaptationTo(profile, voice.size, voice.strength);
  return { shift: new ort.Tensor("float32", shift, [voice.size]), scale: new ort.Tensor("float32", scale, [voice.size]) };
}

/** A frame of silence, for a model that classifies live segments too. */
function noFrames({ frameSize }: Settings): Record<string, ort.Tensor> {
  return frameSize ? { frames: new ort.Tensor("float32", new Float32Array(frameSize), [1, 1, frameSize]) } : {};
}

/** A sample of silence, for a model that recognizes clips too. */
function noClip({ frameSize }: Settings): Record<string, ort.Tensor> {
  if (!frameSize) return {};
  return { waveform: new ort.Tensor("float32", [0], [1, 1]), lengths: new ort.Tensor("int64", BigInt64Array.of(1n), [1]) };
}

async function run(model: ort.InferenceSession, samples: Float32Array, settings: Settings, measured: boolean): Promise<Outputs> {
  const waveform = new ort.Tensor("float32", samples, [1, samples.length]);
  const lengths = new ort.Tensor("int64", BigInt64Array.of(BigInt(samples.length)), [1]);
  const wanted = measured ? ["logits", "level", "voice"] : OUTPUTS.filter((name) => model.outputNames.includes(name));
  const found = await model.run({ waveform, lengths, ...noFrames(settings), ...voiceInputs(settings) }, wanted);
  const values = (name: string) => (found[name]?.data as Float32Array | undefined) ?? null;
  const [, , heads, positions] = found.attention?.dims ?? [1, 0, 0, 0]; // (1, S, h, m, m)
  const [attention, gates, centre, scope] = [values("attention"), values("gates"), values("centre"), values("scope")];
  const voice = values("voice");
  return {
    logits: rows(values("logits")!, settings.labels.length),
    level: values("level")!,
    received: attention && received(attention, gates, heads, positions),
    centre: centre && overPositions(centre, heads, positions),
    scope: scope && overPositions(scope, heads, positions),
    gates: gates && rows(gates, heads),
    voice: voice && rows(voice, 2 * settings.voice!.size),
  };
}

async function begin({ settings, session }: Loaded, measured: boolean): Promise<void> {
  const model = await session("model.onnx");
  const blocks = new Blocks(settings, (samples) => run(model, samples, settings, measured));
  recording = { blocks, quality: new Quality(), settings };
}

/** The profile with the voice of the recording that has ended. */
async function learned(): Promise<Profile> {
  const { blocks, quality, settings } = recording!;
  checkedQuality(quality);
  await blocks.finish();
  recording = null;
  const { voice, level } = blocks.scored;
  return joined(profile, profileOf(voice!, activeSegments(level, settings), level.length, settings.segment, settings.hop / RATE));
}

type Task =
  | { id: number; kind: "prepare" | "begin" | "measure" | "listen"; base: string }
  | { id: number; kind: "block" | "feed"; samples: Float32Array }
  | { id: number; kind: "end"; notices: string[] }
  | { id: number; kind: "finish" | "learn" | "forget" };

async function perform(task: Task): Promise<Recognition | LiveEvent[] | Profile | null> {
  if (task.kind === "prepare" || task.kind === "begin" || task.kind === "measure" || task.kind === "listen") {
    loading ??= load(task.base);
    const loaded = await loading.catch((reason) => {
      loading = null; // another try may find it
      throw reason;
    });
    if (task.kind === "begin" || task.kind === "measure") await begin(loaded, task.kind === "measure");
    if (task.kind === "listen") {
      const { settings, session } = loaded;
      const classifier = settings.frameSize ? "model.onnx" : "live-classify.onnx";
      const [encode, classify] = await Promise.all([session("live-encode.onnx"), session(classifier)]);
      live = new LiveSpeech(settings, encode, classify, { ...noClip(settings), ...voiceInputs(settings) });
    }
    return null;
  }
  if (task.kind === "block") {
    recording!.quality.feed(task.samples);
    await recording!.blocks.feed(task.samples);
    return null;
  }
  if (task.kind === "learn") return (profile = await learned());
  if (task.kind === "forget") return (profile = null);
  if (task.kind === "end") {
    const { blocks, quality, settings } = recording!;
    checkedQuality(quality);
    await blocks.finish();
    recording = null;
    return answer(blocks.scored, quality, task.notices, settings);
  }
  return task.kind === "feed" ? live!.feed(task.samples) : live!.finish();
}

// One after the other: samples must be taken in their order.
let last: Promise<unknown> = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<Task>) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id: data.id, result: await perform(data) });
    } catch (reason) {
      const { code, detail } = Trouble.of(reason);
      self.postMessage({ id: data.id, trouble: { code, detail } });
    }
  });
};
