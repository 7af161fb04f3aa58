/** Channels → one, by the rules of `emofocus.audio.channels`: their mean, or one of them where they cancel each other. */

/** Power of the mean over that of independent channels below which channels cancel, and the seconds that are compared. */
const CANCELLED = 0.1;
const WINDOW_SECONDS = 10;

export class Mixer {
  private held: Float32Array[][] = []; // parts of the present window, by channel
  private count = 0;
  private windows = 0;
  private chosen: number | null = null;
  private readonly size: number;

  constructor(
    rate: number,
    private readonly notices: string[],
  ) {
    this.size = WINDOW_SECONDS * rate;
  }

  /** Channels of one length → what is ready of their mixture. */
  feed(channels: Float32Array[]): Float32Array[] {
    if (channels.length === 1) return channels[0].length ? [channels[0]] : [];
    const ready: Float32Array[] = [];
    for (let start = 0; start < channels[0].length; ) {
      const end = Math.min(channels[0].length, start + this.size - this.count);
      this.held.push(channels.map((samples) => samples.slice(start, end)));
      this.count += end - start;
      start = end;
      if (this.count === this.size) ready.push(...this.decide());
    }
    return ready;
  }

  /** The rest; a rest behind a full window is mixed as that window was. */
  finish(): Float32Array[] {
    return this.windows ? this.give() : this.decide();
  }

  private decide(): Float32Array[] {
    if (this.chosen === null && this.count) {
      this.chosen = this.loudestOfCancelling();
      const since = this.windows ? ` from ${this.windows * WINDOW_SECONDS} s on` : "";
      if (this.chosen !== null) {
        this.notices.push(`inverted: the channels cancel each other; channel ${this.chosen + 1} alone is used${since}`);
      }
    }
    this.windows++;
    return this.give();
  }

  private give(): Float32Array[] {
    const given = this.held.map((part) => (this.chosen === null ? mean(part) : part[this.chosen]));
    this.held = [];
    this.count = 0;
    return given;
  }

  private loudestOfCancelling(): number | null {
    const count = this.held[0].length;
    const powers = Array.from({ length: count }, (_, channel) => variance(this.held.map((part) => part[channel])));
    const independent = powers.reduce((a, b) => a + b, 0) / count ** 2;
    return variance(this.held.map(mean)) < CANCELLED * independent ? powers.indexOf(Math.max(...powers)) : null;
  }
}

function mean(channels: Float32Array[]): Float32Array {
  const mono = new Float32Array(channels[0].length);
  for (const samples of channels) for (let t = 0; t < mono.length; t++) mono[t] += samples[t] / channels.length;
  return mono;
}

/** Mean square of the samples without their mean. */
function variance(parts: Float32Array[]): number {
  let [count, sum, squares] = [0, 0, 0];
  for (const samples of parts) {
    count += samples.length;
    for (const sample of samples) {
      sum += sample;
      squares += sample * sample;
    }
  }
  return squares / count - (sum / count) ** 2;
}
