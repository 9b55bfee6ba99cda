// Simple, slow reference versions of native code.

/** BPE by definition: repeatedly merges the pair of lowest rank, leftmost first. */
export function naiveMerge(symbols: string[], ranks: ReadonlyMap<string, number>): string[] {
  const now = [...symbols];
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < now.length; i++) {
      const rank = ranks.get(`${now[i]} ${now[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank < bestRank) {
        best = i;
        bestRank = rank;
      }
    }
    if (best < 0) return now;
    now.splice(best, 2, now[best]! + now[best + 1]!);
  }
}

/** BPE training by its definition, on words of one-character symbols; ties go to the greater pair. */
export function naiveTrain(words: readonly string[], merges: number): [string, string][] {
  const split = words.map((word) => [...word]);
  const out: [string, string][] = [];
  while (out.length < merges) {
    const counts = new Map<string, number>();
    for (const word of split) {
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const best = [...counts].sort(([a, x], [b, y]) => y - x || comparePairs(b, a))[0];
    if (!best) break;
    const [left, right] = best[0].split(" ") as [string, string];
    out.push([left, right]);
    for (const word of split) {
      for (let i = 0; i + 1 < word.length; i++) {
        if (word[i] === left && word[i + 1] === right) word.splice(i, 2, left + right);
      }
    }
  }
  return out;
}

function comparePairs(a: string, b: string): number {
  const [left, right] = [a.split(" "), b.split(" ")];
  for (const part of [0, 1]) {
    if (left[part]! < right[part]!) return -1;
    if (left[part]! > right[part]!) return 1;
  }
  return 0;
}
