/** The profile of a voice, and what it does to the model: `emofocus.recognition.voice` of the package. It stays in the page. */

/** Statistics of some speech of a voice. */
export interface Profile {
  seconds: number;
  clips: number;
  /** Means of the F features, then their log deviations (2 · F); zeros are those of the training part. */
  statistics: Float32Array;
}

/** The inputs of the graph by which it is adapted to a voice (F,). */
export interface Adaptation {
  shift: Float32Array;
  scale: Float32Array;
}

/** Where segments lie: frames of one, and frames from one to the next. */
interface Layout {
  frames: number;
  hop: number;
}

/**
 * The profile of one recording.
 *
 * @param statistics Those of each segment (S, 2 · F), as the graph's output `voice` has them.
 * @param active Whether each segment holds speech (S,).
 * @param frames Number of frames of the recording.
 * @param frameSeconds Seconds from frame to frame.
 */
export function profileOf(
  statistics: ArrayLike<number>[],
  active: boolean[],
  frames: number,
  segment: Layout,
  frameSeconds: number,
): Profile {
  const size = statistics[0].length;
  const total = new Float64Array(size);
  let [segments, heard, behind] = [0, 0, 0];
  statistics.forEach((row, number) => {
    if (!active[number]) return;
    const start = number * segment.hop;
    const end = Math.min(start + segment.frames, frames);
    for (let i = 0; i < size; i++) total[i] += row[i];
    heard += Math.max(0, end - Math.max(start, behind));
    behind = Math.max(behind, end);
    segments++;
  });
  return { seconds: heard * frameSeconds, clips: 1, statistics: Float32Array.from(total, (sum) => sum / segments) };
}

/** The profile of the speech of both. */
export function joined(one: Profile | null, other: Profile): Profile {
  if (!one) return other;
  const seconds = one.seconds + other.seconds;
  const mean = (value: number, i: number) => (value * one.seconds + other.statistics[i] * other.seconds) / seconds;
  return { seconds, clips: one.clips + other.clips, statistics: one.statistics.map(mean) };
}

/**
 * Inputs of the graph for a voice; those of nobody's change nothing.
 *
 * @param size Number of features F.
 * @param strength Seconds of speech at which the voice's statistics count half.
 */
export function adaptationTo(profile: Profile | null, size: number, strength: number): Adaptation {
  if (!profile) return { shift: new Float32Array(size), scale: new Float32Array(size).fill(1) };
  const weight = profile.seconds / (profile.seconds + strength);
  return {
    shift: profile.statistics.slice(0, size).map((mean) => weight * mean),
    scale: profile.statistics.slice(size).map((deviation) => Math.exp(weight * deviation)),
  };
}
