/** Samples at 16 kHz as a WAV of 16 bits, to play, to send and to keep. */

import { RATE } from "../types";

const HEAD = 44;

export function wav(parts: (Float32Array | Int16Array<ArrayBuffer>)[]): Blob {
  const whole = parts.map((part) => (part instanceof Int16Array ? part : whole16(part)));
  const bytes = whole.reduce((sum, part) => sum + part.byteLength, 0);
  return new Blob([head(bytes), ...whole], { type: "audio/wav" });
}

/** Samples from -1 to 1 in 16 bits. */
export function whole16(samples: Float32Array): Int16Array<ArrayBuffer> {
  const found = new Int16Array(samples.length);
  for (let t = 0; t < samples.length; t++) found[t] = Math.round(Math.max(-1, Math.min(1, samples[t])) * 32767);
  return found;
}

function head(bytes: number): ArrayBuffer {
  const data = new DataView(new ArrayBuffer(HEAD));
  const text = (place: number, word: string) => [...word].forEach((letter, i) => data.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  data.setUint32(4, HEAD - 8 + bytes, true);
  text(8, "WAVEfmt ");
  data.setUint32(16, 16, true);
  data.setUint16(20, 1, true);
  data.setUint16(22, 1, true);
  data.setUint32(24, RATE, true);
  data.setUint32(28, 2 * RATE, true);
  data.setUint16(32, 2, true);
  data.setUint16(34, 16, true);
  text(36, "data");
  data.setUint32(40, bytes, true);
  return data.buffer;
}
