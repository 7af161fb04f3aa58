/** What the graph gives of one clip: S segments, n frames, h heads, m positions. */
export interface Outputs {
  logits: Float32Array; // (S, C)
  level: Float32Array; // (n,)
  attention: Float32Array | null; // (S, h, m, m)
  centre: Float32Array | null; // (S, h, m)
  scope: Float32Array | null; // (S, h, m)
  gates: Float32Array | null; // (S, h)
  heads: number;
  positions: number;
}
