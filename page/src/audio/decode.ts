/** Files and microphones → samples at 16 kHz, one channel. */

import worklet from "./recorder.worklet.js?url";
import { RATE, type Sound } from "./types";

/** Power of the mean over that of independent channels below which channels cancel, and the seconds that are compared. */
const CANCELLED = 0.1;
const WINDOW_SECONDS = 10;

/** Decode a file as the browser does, at 16 kHz. */
export async function decode(file: Blob): Promise<Sound> {
  const bytes = await file.arrayBuffer();
  const context = new OfflineAudioContext(1, 1, RATE);
  let buffer: AudioBuffer;
  try {
    buffer = await context.decodeAudioData(bytes);
  } catch {
    throw new Error("this is no audio that the browser can decode");
  }
  const sound = mixed(Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel)));
  const mono = sound.samples;
  if (mono.length < 400) throw new Error("this is too short: 25 ms at least are needed");
  let [lowest, highest] = [mono[0], mono[0]];
  for (const sample of mono) [lowest, highest] = [Math.min(lowest, sample), Math.max(highest, sample)];
  if ((highest - lowest) / 2 < 1e-4) throw new Error("this is silent: there is nothing to attend to");
  return sound;
}

/** Channels → one, by the rules of `emofocus.audio.channels`: their mean, or one of them where they cancel each other. */
export function mixed(channels: Float32Array[]): Sound {
  if (channels.length === 1) return { samples: channels[0], notices: [] };
  const length = channels[0].length;
  const mono = new Float32Array(length);
  for (const samples of channels) for (let t = 0; t < length; t++) mono[t] += samples[t] / channels.length;
  const size = WINDOW_SECONDS * RATE;
  const notices: string[] = [];
  for (let start = 0; start === 0 || start + size <= length; start += size) {
    const powers = channels.map((samples) => variance(samples.subarray(start, start + size)));
    const independent = powers.reduce((sum, power) => sum + power, 0) / channels.length ** 2;
    if (variance(mono.subarray(start, start + size)) < CANCELLED * independent) {
      const chosen = powers.indexOf(Math.max(...powers));
      mono.set(channels[chosen].subarray(start), start);
      const since = start ? ` from ${start / RATE} s on` : "";
      notices.push(`inverted: the channels cancel each other; channel ${chosen + 1} alone is used${since}`);
      break;
    }
  }
  return { samples: mono, notices };
}

/** Mean square of the samples without their mean. */
function variance(samples: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (const sample of samples) {
    sum += sample;
    squares += sample * sample;
  }
  return squares / samples.length - (sum / samples.length) ** 2;
}

/** Samples as a WAV of 16 bits, to play and to send. */
export function wav(samples: Float32Array): Blob {
  const data = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place: number, word: string) => [...word].forEach((letter, i) => data.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  data.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  data.setUint32(16, 16, true);
  data.setUint16(20, 1, true);
  data.setUint16(22, 1, true);
  data.setUint32(24, RATE, true);
  data.setUint32(28, 2 * RATE, true);
  data.setUint16(32, 2, true);
  data.setUint16(34, 16, true);
  text(36, "data");
  data.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, t) => data.setInt16(44 + 2 * t, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return new Blob([data], { type: "audio/wav" });
}

/** An open microphone. */
export class Microphone {
  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
  ) {}

  /** Ask for it, and give each tenth of a second's samples. */
  static async open(take: (samples: Float32Array) => void): Promise<Microphone> {
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (!navigator.mediaDevices) throw new Error("browsers lend the microphone to safe pages alone: https, or this machine");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: plain }).catch((reason) => {
      throw new Error(`the microphone cannot be had (${reason.message})`);
    });
    const context = new AudioContext({ sampleRate: RATE });
    await context.audioWorklet.addModule(worklet);
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => take(data);
    context.createMediaStreamSource(stream).connect(node);
    return new Microphone(context, stream);
  }

  async close(): Promise<void> {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }
}
