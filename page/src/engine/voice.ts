/** Which frames are speech, and one emotion at a time: `EnergyVoice` and `Smoother` of the package. */

const FALL_DB = 0.5;
const FLOOR_DB = -65;

export class EnergyVoice {
  private loudest = -Infinity;

  constructor(
    private readonly topDb: number,
    private readonly frameSeconds: number,
  ) {}

  /** Level of the next frame in dB → whether it is speech. */
  hears(level: number): boolean {
    this.loudest = Math.max(level, this.loudest - FALL_DB * this.frameSeconds);
    return level >= Math.max(this.loudest - this.topDb, FLOOR_DB);
  }
}

export class Smoother {
  mean: number[] | null = null;
  label: number | null = null;
  private quiet = 0;
  private readonly kept: number;

  constructor(
    private readonly hop: number,
    seconds = 1.0,
    private readonly margin = 0.1,
    private readonly release = 0.5,
  ) {
    this.kept = Math.exp(-hop / seconds);
  }

  update(scores: number[], speech: boolean): void {
    if (!speech) {
      this.quiet += this.hop;
      if (this.quiet > this.release) this.mean = this.label = null;
      return;
    }
    this.quiet = 0;
    const before = this.mean;
    this.mean = before ? scores.map((value, i) => this.kept * before[i] + (1 - this.kept) * value) : scores;
    const best = this.mean.indexOf(Math.max(...this.mean));
    if (this.label === null || this.mean[best] >= this.mean[this.label] + this.margin) this.label = best;
  }
}
