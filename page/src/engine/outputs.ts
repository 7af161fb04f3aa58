/** What the model says of a stretch of samples: S segments of m positions, n frames, h heads, C labels. */
export interface Outputs {
  logits: number[][]; // S rows of C
  level: ArrayLike<number>; // n
  received: number[][] | null; // S rows of m
  centre: number[][] | null; // S rows of h
  scope: number[][] | null; // S rows of h
  gates: number[][] | null; // S rows of h
  voice: number[][] | null; // S rows of 2 · F, where a voice is measured
}
