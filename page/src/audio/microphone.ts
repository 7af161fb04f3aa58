/** A microphone: its samples at 16 kHz, a tenth of a second at a time. */

import { Trouble } from "../trouble";
import { RATE } from "../types";
import worklet from "./recorder.worklet.js?url";

export interface Device {
  id: string;
  name: string;
}

/** Microphones by name; names are known once one of them was used. */
export async function microphones(): Promise<Device[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId && label)
    .map(({ deviceId, label }) => ({ id: deviceId, name: label }));
}

export class Microphone {
  private paused = false;

  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
  ) {}

  /** Ask for it. `take` gets samples, `lost` is called if it is unplugged. */
  static async open(device: string, take: (samples: Float32Array) => void, lost: () => void): Promise<Microphone> {
    if (!navigator.mediaDevices) throw new Trouble("insecure");
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const audio = device ? { ...plain, deviceId: { exact: device } } : plain;
    const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((reason) => {
      throw new Trouble(CODES[reason.name] ?? "microphone_busy", reason.message);
    });
    const context = new AudioContext({ sampleRate: RATE });
    await context.audioWorklet.addModule(worklet);
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    const microphone = new Microphone(context, stream);
    node.port.onmessage = ({ data }) => {
      if (!microphone.paused) take(data);
    };
    stream.getAudioTracks()[0].addEventListener("ended", lost);
    context.createMediaStreamSource(stream).connect(node);
    return microphone;
  }

  /** Whether samples are thrown away. */
  pause(paused: boolean): void {
    this.paused = paused;
  }

  async close(): Promise<void> {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }
}

const CODES: Record<string, "denied" | "no_microphone" | "microphone_busy"> = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "no_microphone",
  OverconstrainedError: "no_microphone",
  NotReadableError: "microphone_busy",
};
