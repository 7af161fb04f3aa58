/** The engine in the browser: a worker that holds the model. */

import { Trouble, type Code } from "../trouble";
import { joined } from "./blocks";
import type { Profile } from "./profile";
import type { Clip, Engine, Live, LiveEvent, Recognition, Watch } from "../types";

type Waiting = { resolve: (result: any) => void; reject: (reason: Error) => void };

export class BrowserEngine implements Engine {
  private readonly worker = new Worker(new URL("./engine.worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;
  private before: Promise<unknown> = Promise.resolve();

  /** Takes the share of the model that is loaded. */
  loaded: (share: number) => void = () => undefined;

  constructor(private readonly base: string) {
    this.worker.onmessage = ({ data }) => {
      if (data.share !== undefined) return this.loaded(data.share);
      const waiting = this.waiting.get(data.id)!;
      this.waiting.delete(data.id);
      if (data.trouble === undefined) waiting.resolve(data.result);
      else waiting.reject(new Trouble(data.trouble.code as Code, data.trouble.detail));
    };
    this.worker.onerror = (event) => {
      for (const waiting of this.waiting.values()) waiting.reject(new Trouble("no_model", event.message));
      this.waiting.clear();
    };
  }

  /** Load the model before it is needed. */
  async prepare(): Promise<void> {
    await this.ask({ kind: "prepare", base: this.base });
  }

  /** One recording at a time: the worker holds one. */
  recognize(clip: Clip, watch: Watch): Promise<Recognition> {
    const mine = this.before.then(() => this.hear(clip, watch));
    this.before = mine.catch(() => undefined);
    return mine;
  }

  /** Get used to the voice in a recording, besides those before; its profile stays in the worker. */
  adapt(clip: Clip, watch: Watch): Promise<Profile> {
    const mine = this.before.then(async () => {
      await this.feed(clip, watch, "measure");
      return this.ask({ kind: "learn" });
    });
    this.before = mine.catch(() => undefined);
    return mine;
  }

  /** Forget the voice. */
  forget(): Promise<void> {
    return this.ask({ kind: "forget" });
  }

  private async hear(clip: Clip, watch: Watch): Promise<Recognition> {
    await this.feed(clip, watch, "begin");
    return this.ask({ kind: "end", notices: clip.sound!.notices });
  }

  private async feed({ sound }: Clip, watch: Watch, kind: "begin" | "measure"): Promise<void> {
    if (!sound) throw new Trouble("unreadable");
    watch.signal.throwIfAborted();
    await this.ask({ kind, base: this.base });
    for await (const samples of sound.blocks()) {
      watch.signal.throwIfAborted();
      watch.see(samples);
      const count = samples.length;
      await this.ask({ kind: "block", samples });
      watch.report(count);
    }
  }

  async listen(hear: (event: LiveEvent) => void, fail: (reason: unknown) => void): Promise<Live> {
    await this.ask({ kind: "listen", base: this.base });
    const take = (events: LiveEvent[]) => events.forEach(hear);
    let [waiting, sending]: [Float32Array[], Promise<void> | null] = [[], null];
    // While the model is at work, samples wait and then go together: a slow machine falls behind less.
    const send = async () => {
      while (waiting.length) {
        const samples = joined(waiting, waiting.reduce((sum, part) => sum + part.length, 0)); // prettier-ignore
        waiting = [];
        await this.ask({ kind: "feed", samples }).then(take, fail);
      }
      sending = null;
    };
    return {
      feed: (samples) => {
        waiting.push(samples);
        sending ??= send();
      },
      stop: async () => {
        await sending;
        await this.ask({ kind: "finish" }).then(take, fail);
      },
    };
  }

  private ask(task: object): Promise<any> {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...task });
    });
  }
}
