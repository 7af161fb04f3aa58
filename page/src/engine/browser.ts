/** The engine in the browser: a worker that holds the model. */

import type { Clip, Engine, Live, LiveEvent, Recognition } from "./types";

type Waiting = { resolve: (result: any) => void; reject: (reason: Error) => void };

export class BrowserEngine implements Engine {
  readonly where = "in this browser: your voice never leaves this machine";
  private readonly worker = new Worker(new URL("./engine.worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;

  constructor(private readonly base: string) {
    this.worker.onmessage = ({ data }) => {
      const waiting = this.waiting.get(data.id)!;
      this.waiting.delete(data.id);
      if (data.reason === undefined) waiting.resolve(data.result);
      else waiting.reject(new Error(data.reason));
    };
    this.worker.onerror = (event) => {
      for (const waiting of this.waiting.values()) waiting.reject(new Error(event.message || "the model cannot be loaded"));
      this.waiting.clear();
    };
  }

  /** Load the model before it is needed; whoever needs it is told if that fails. */
  prepare(): void {
    this.ask({ kind: "prepare", base: this.base }).catch(() => undefined);
  }

  recognize(clip: Clip): Promise<Recognition> {
    const { samples, notices } = clip;
    return this.ask({ kind: "recognize", base: this.base, sound: { samples, notices } });
  }

  async listen(_rate: number, hear: (event: LiveEvent) => void, fail: (reason: Error) => void): Promise<Live> {
    await this.ask({ kind: "listen", base: this.base });
    const take = (events: LiveEvent[]) => events.forEach(hear);
    return {
      feed: (samples) => void this.ask({ kind: "feed", samples }).then(take, fail),
      stop: () => this.ask({ kind: "finish" }).then(take, fail),
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
