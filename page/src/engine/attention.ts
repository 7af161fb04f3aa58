/** Attention maps → what each position gets, and values by position → their means: the rules of `explainer`. */

/** Attention that each position of each segment gets over an even share: the mean over queries and gated heads. */
export function received(maps: Float32Array, gates: Float32Array | null, heads: number, positions: number): number[][] {
  const size = positions * positions;
  const segments = maps.length / (heads * size);
  return Array.from({ length: segments }, (_, segment) => {
    const weights = Array.from({ length: heads }, (_, head) => (gates ? gates[segment * heads + head] : 1));
    const sum = weights.reduce((a, b) => a + b, 0);
    const found = new Array<number>(positions).fill(0);
    for (let head = 0; head < heads; head++) {
      const base = (segment * heads + head) * size;
      for (let query = 0; query < positions; query++) {
        const row = base + query * positions;
        for (let key = 0; key < positions; key++) found[key] += (maps[row + key] * weights[head]) / sum;
      }
    }
    return found; // a mean over the queries, times their number
  });
}

/** Mean over the positions of values (S, h, m): S rows of h. */
export function overPositions(values: Float32Array, heads: number, positions: number): number[][] {
  return rows(values, positions * heads).map((row) =>
    Array.from({ length: heads }, (_, head) => {
      let sum = 0;
      for (let k = 0; k < positions; k++) sum += row[head * positions + k];
      return sum / positions;
    }),
  );
}

export function rows(values: Float32Array, width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, i) => Array.from(values.subarray(i * width, (i + 1) * width)));
}
