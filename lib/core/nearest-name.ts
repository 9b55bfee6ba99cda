import { HeddleError } from "./errors.ts";

/**
 * Returns the error for an unknown name: `temprature: expected a known option (nearest: temperature), got an unknown one`.
 * @param where the name as the message shows it, such as `lora.rank`
 * @param name the name to compare with the known ones
 * @param what the word for a name
 * @param prefix shown before each known name, such as `--`
 */
export function unknownName(where: string, name: string, known: readonly string[], what?: string, prefix?: string) {
  const expected = expectedName(nearest(name, known), known, what, prefix);
  return new HeddleError("INVALID_ARGUMENT", `${where}: expected ${expected}, got an unknown one`);
}

/** Returns what a message expects instead of an unknown name: the nearest known name `near`, or all known names. */
export function expectedName(near: string | undefined, known: readonly string[], what = "name", prefix = ""): string {
  if (near !== undefined) return `a known ${what} (nearest: ${prefix}${near})`;
  return known.length === 0 ? `no ${what}` : `one of ${known.map((one) => prefix + one).join(", ")}`;
}

/**
 * Returns the candidate with the smallest edit distance to `name`, if it is a likely misspelling. Short names allow only one change: `lr` is
 * not a misspelling of `lora`.
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  // One more than the number of changes that a misspelling may have. A short name may have 1, and any other a third of its length, but at
  // least 2.
  let bestDistance = (name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3))) + 1;
  let budget = 10_000; // the candidates may come from a hostile file with very many or very long names
  for (const candidate of candidates) {
    if (budget-- === 0) break;
    if (candidate.length > 256 || name.length > 256) continue;
    const distance = editDistance(name, candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Returns the Levenshtein distance (Wagner and Fischer 1974, row by row), or `limit` if the distance is at least `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const cost = Math.min(substitution, row[j]! + 1, next[j - 1]! + 1);
      next.push(cost);
      least = Math.min(least, cost);
    }
    if (least >= limit) return limit;
    row = next;
  }
  return Math.min(row[b.length]!, limit);
}
