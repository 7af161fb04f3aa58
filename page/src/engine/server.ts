/** Recognition by the service that served the page. */

import type { Clip, Engine, Live, LiveEvent, Recognition } from "./types";

export class ServerEngine implements Engine {
  readonly where = `on the service at ${location.host}, which neither stores nor logs it`;
  token = "";

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

  async recognize(clip: Clip): Promise<Recognition> {
    const headers: Record<string, string> = { "Content-Type": "application/octet-stream" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const answer = await fetch("v1/recognize?timeline=true&explain=true", { method: "POST", body: clip.file, headers });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error?.message ?? `${answer.status} ${answer.statusText}`);
    return body;
  }

  listen(rate: number, hear: (event: LiveEvent) => void, fail: (reason: Error) => void): Promise<Live> {
    const address = new URL(`v1/stream?rate=${rate}&format=float32`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const protocols = this.token ? ["emofocus", `bearer.${this.token}`] : ["emofocus"];
    const socket = new WebSocket(address, protocols);
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      let ended: () => void;
      const end = new Promise<void>((done) => (ended = done));
      const live: Live = {
        feed: (samples) => socket.readyState === WebSocket.OPEN && socket.send(new Float32Array(samples)),
        stop: () => {
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "end" }));
          return end;
        },
      };
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "ready") resolve(live);
        else if (message.type === "event") hear(message);
        else if (message.type === "error") fail(new Error(message.error.message));
      };
      socket.onclose = () => {
        reject(new Error("the service does not take this stream"));
        ended();
      };
    });
  }
}
