/** Files → sound: small ones as the browser decodes them whole, others block by block in bounded memory. */

import { RATE, type Sound } from "../types";
import { Trouble } from "../trouble";
import { Mixer } from "./mixer";

/** Largest file that is decoded whole: at most a few minutes. */
const WHOLE_BYTES = 2e6;
/** Largest file that is decoded whole where nothing else can read it. */
const LAST_RESORT_BYTES = 100e6;
const BLOCK_SAMPLES = 10 * RATE;

export async function open(file: Blob): Promise<Sound> {
  if (!file.size) throw new Trouble("empty");
  if (file.size <= WHOLE_BYTES) {
    const whole = await decoded(file);
    if (whole) return whole;
  }
  const { stream } = await import("./stream"); // only long recordings need it
  const streamed = await stream(file);
  if (streamed) return streamed;
  const whole = file.size > WHOLE_BYTES && file.size <= LAST_RESORT_BYTES ? await decoded(file) : null;
  if (!whole) throw new Trouble("unreadable");
  return whole;
}

async function decoded(file: Blob): Promise<Sound | null> {
  const context = new OfflineAudioContext(1, 1, RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer()).catch(() => null);
  if (!buffer) return null;
  const notices: string[] = [];
  const mixer = new Mixer(RATE, notices);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
  const parts = [...mixer.feed(channels), ...mixer.finish()];
  return { seconds: buffer.length / RATE, notices, blocks: () => inBlocks(parts) };
}

async function* inBlocks(parts: Float32Array[]): AsyncGenerator<Float32Array> {
  for (const part of parts) {
    for (let start = 0; start < part.length; start += BLOCK_SAMPLES) yield part.subarray(start, start + BLOCK_SAMPLES);
  }
}
