/** Recognition by the service that served the page. */

import { wav } from "../audio/wav";
import { Trouble } from "../trouble";
import { RATE, type Clip, type Engine, type Live, type LiveEvent, type Recognition, type Sound, type Watch } from "../types";
import { answer } from "./answer";
import { Blocks } from "./blocks";
import type { Outputs } from "./outputs";
import { checkedQuality, Quality } from "./quality";
import { settingsOf, type Settings } from "./settings";

/** Longest recording that is sent as it is, seconds; longer ones go in parts, so that their length has no limit. */
const WHOLE_SECONDS = 60;
const WHOLE_BYTES = 20e6;
const PART_SECONDS = 30;
const TRIES = 6;

export class ServerEngine implements Engine {
  token = "";
  private settings: Promise<Settings> | null = null;

  constructor(private readonly base: string) {}

  /** Whether this host runs the service, and whether it needs a token. */
  static async there(): Promise<"no" | "yes" | "token"> {
    try {
      const answer = await fetch("v1/models", { cache: "no-store" });
      if (answer.status === 401) return "token";
      const body = answer.ok && (await answer.json());
      return body && Array.isArray(body.models) ? "yes" : "no";
    } catch {
      return "no"; // plain files, or nobody there
    }
  }

  async recognize(clip: Clip, watch: Watch): Promise<Recognition> {
    const { sound, file } = clip;
    const whole = !sound || (sound.seconds !== null && sound.seconds <= WHOLE_SECONDS && file.size <= WHOLE_BYTES);
    return whole ? this.send(clip, watch) : this.inParts(sound, watch);
  }

  /** The file as it is: the service decodes it. */
  private async send({ sound, file }: Clip, watch: Watch): Promise<Recognition> {
    if (sound) for await (const samples of sound.blocks()) watch.see(samples);
    const headers = { "Content-Type": "application/octet-stream" };
    try {
      return await this.post("v1/recognize?timeline=true&explain=true", file, headers, watch.signal);
    } catch (reason) {
      if (sound || !(reason instanceof Trouble) || reason.code !== "too_long") throw reason;
      return this.post("v1/recognize?timeline=true", file, headers, watch.signal); // too long to be explained
    }
  }

  /** Part by part; the answer is put together here, as the service itself does. */
  private async inParts(sound: Sound, watch: Watch): Promise<Recognition> {
    const settings = await this.known();
    const quality = new Quality();
    const run = (samples: Float32Array) =>
      this.post<Outputs>("v1/segments", wav([samples]), { "Content-Type": "audio/wav" }, watch.signal);
    const blocks = new Blocks(settings, run, PART_SECONDS * RATE);
    for await (const samples of sound.blocks()) {
      watch.signal.throwIfAborted();
      watch.see(samples);
      quality.feed(samples);
      await blocks.feed(samples);
      watch.report(samples.length);
    }
    checkedQuality(quality);
    await blocks.finish();
    return answer(blocks.scored, quality, sound.notices, settings);
  }

  /** The settings of the page's model, which is the service's own. */
  private known(): Promise<Settings> {
    this.settings ??= fetch(`${this.base}config.json`).then(async (found) => settingsOf(await found.json()));
    return this.settings;
  }

  /** An answer; where the service is busy, after a while. */
  private async post<Answer>(path: string, body: Blob, headers: Record<string, string>, signal: AbortSignal): Promise<Answer> {
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    for (let left = TRIES; ; left--) {
      const answer = await fetch(path, { method: "POST", body, headers, signal }).catch((reason) => {
        throw signal.aborted ? reason : new Trouble("unreachable", String(reason));
      });
      if (answer.ok) return answer.json();
      const wait = Number(answer.headers.get("Retry-After"));
      if (!wait || !left) throw await refusal(answer);
      await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
      signal.throwIfAborted();
    }
  }

  listen(hear: (event: LiveEvent) => void, fail: (reason: unknown) => void): Promise<Live> {
    const address = new URL(`v1/stream?rate=${RATE}&format=float32`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const protocols = this.token ? ["emofocus", `bearer.${this.token}`] : ["emofocus"];
    const socket = new WebSocket(address, protocols);
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      let ended: () => void;
      let ready = false;
      let asked = false; // to end
      const end = new Promise<void>((done) => (ended = done));
      const live: Live = {
        feed: (samples) => socket.readyState === WebSocket.OPEN && socket.send(new Float32Array(samples)),
        stop: () => {
          asked = true;
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "end" }));
          return end;
        },
      };
      let told = false;
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "ready") {
          ready = true;
          resolve(live);
        } else if (message.type === "event") hear(message);
        else if (message.type === "error") {
          told = true;
          fail(Trouble.called(message.error.code, message.error.message));
        }
      };
      socket.onclose = () => {
        if (!ready) reject(new Trouble(this.token ? "wrong_token" : "unreachable"));
        else if (!asked && !told) fail(new Trouble("unreachable"));
        ended();
      };
    });
  }
}

async function refusal(answer: Response): Promise<Trouble> {
  try {
    const { error } = await answer.json();
    return Trouble.called(error.code, error.message);
  } catch {
    return new Trouble("unreachable", `${answer.status} ${answer.statusText}`);
  }
}
