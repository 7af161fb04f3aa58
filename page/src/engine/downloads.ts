/** Files on their way, and the share of all their bytes that is here. */

import { Trouble } from "../trouble";

export class Downloads {
  private readonly files = new Map<string, { here: number; size: number }>();

  constructor(private readonly report: (share: number) => void) {}

  async json(address: string): Promise<any> {
    return (await this.answer(address)).json();
  }

  /** A file's bytes. Its size is given, because a compressed answer does not say it. */
  async bytes(address: string, size = 0): Promise<Uint8Array> {
    const file = { here: 0, size };
    this.files.set(address, file);
    const answer = await this.answer(address);
    if (!answer.body || !size) return new Uint8Array(await answer.arrayBuffer());
    let whole = new Uint8Array(size);
    const reader = answer.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (file.here + part.value.length > whole.length) whole = grown(whole, file.here + part.value.length);
      whole.set(part.value, file.here);
      file.here += part.value.length;
      this.tell();
    }
    return whole.subarray(0, file.here);
  }

  private tell(): void {
    let [here, size] = [0, 0];
    for (const file of this.files.values()) [here, size] = [here + file.here, size + file.size];
    this.report(Math.min(1, here / size));
  }

  private async answer(address: string): Promise<Response> {
    const answer = await fetch(address).catch((reason) => {
      throw new Trouble("no_model", `${address}: ${reason}`);
    });
    if (!answer.ok) throw new Trouble("no_model", `${address}: ${answer.status}`);
    return answer;
  }
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(2 * size);
  larger.set(bytes);
  return larger;
}
