/** A file of any length → sound, packet by packet, with the browser's decoders. */

import {
  ADTS, AudioSampleSink, BlobSource, FLAC, Input, MATROSKA, MP3, MP4, OGG, QTFF, WAVE, WEBM,
  type AudioSample, type InputAudioTrack,
} from "mediabunny"; // prettier-ignore
import { RATE, type Sound } from "../types";
import { joined } from "../engine/blocks";
import { Mixer } from "./mixer";
import { Resampler } from "./resampler";

const FORMATS = [MP3, WAVE, FLAC, OGG, ADTS, MP4, QTFF, WEBM, MATROSKA];
const BLOCK_SAMPLES = 10 * RATE;

/** Null where the browser has no decoder for the file. */
export async function stream(file: Blob): Promise<Sound | null> {
  const input = new Input({ source: new BlobSource(file), formats: FORMATS });
  try {
    const track = (await input.canRead()) ? await input.getPrimaryAudioTrack() : null;
    if (!track || !(await track.canDecode())) return null;
    const seconds = await input.getDurationFromMetadata([track]).catch(() => null);
    const notices: string[] = [];
    return { seconds, notices, blocks: () => blocks(track, notices) };
  } catch {
    return null; // damaged from its beginning
  }
}

async function* blocks(track: InputAudioTrack, notices: string[]): AsyncGenerator<Float32Array> {
  const rate = await track.getSampleRate();
  const mixer = new Mixer(rate, notices);
  const resampler = rate === RATE ? null : new Resampler(rate);
  let [waiting, count]: [Float32Array[], number] = [[], 0];
  const take = (parts: Float32Array[], last = false) => {
    for (const part of parts) {
      const samples = resampler ? resampler.feed(part) : part;
      waiting.push(samples);
      count += samples.length;
    }
    if (last && resampler) {
      waiting.push(resampler.finish());
      count += waiting[waiting.length - 1].length;
    }
  };
  for await (const sample of new AudioSampleSink(track).samples()) {
    take(mixer.feed(channelsOf(sample)));
    sample.close();
    if (count >= BLOCK_SAMPLES) {
      yield joined(waiting, count);
      [waiting, count] = [[], 0];
    }
  }
  take(mixer.finish(), true);
  if (count) yield joined(waiting, count);
}

function channelsOf(sample: AudioSample): Float32Array[] {
  return Array.from({ length: sample.numberOfChannels }, (_, planeIndex) => {
    const channel = new Float32Array(sample.numberOfFrames);
    sample.copyTo(channel, { planeIndex, format: "f32-planar" });
    return channel;
  });
}
