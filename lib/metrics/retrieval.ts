import { invalidArgument } from "../core/errors.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import { checkIndices, checkList, checkNumbers } from "./arguments.ts";
import { mean } from "./mean.ts";

/** How well queries find their relevant documents. */
export interface RetrievalReport {
  /** Recall@k by k: the share of queries whose relevant document ranks among the first k. */
  recall: Record<number, number>;
  /** Mean reciprocal rank of the relevant document. */
  mrr: number;
  /** Number of queries. */
  queries: number;
}

/**
 * Ranks documents by the dot product with each query (the cosine similarity if vectors have length 1). Documents with the same score as
 * the relevant one count as ranked before it. The metrics are NaN if a score is NaN.
 * @param relevant the index of each query's relevant document
 * @param options.ks the values of k for Recall@k. Default: 1, 5 and 10
 * @param options.others per query, the indices of other relevant documents, which are left out of the ranking (the filtered ranks of
 * Bordes et al. 2013). Default: none
 * @throws HeddleError INVALID_ARGUMENT
 */
export function retrieval(
  queries: readonly ArrayLike<number>[],
  documents: readonly ArrayLike<number>[],
  relevant: readonly number[],
  options: { ks?: readonly number[] | undefined; others?: readonly ReadonlySet<number>[] | undefined } = {},
): RetrievalReport {
  rejectUnknownNames(options, ["ks", "others"]);
  const { ks = [1, 5, 10], others = [] } = options;
  checkVectors("documents", documents);
  checkVectors("queries", queries, documents[0]?.length);
  checkIndices("relevant", relevant, documents.length, queries.length);
  checkNumbers("ks", ks);
  checkList("others", others);
  for (const [q, one] of others.entries())
    if (one !== undefined && typeof one?.has !== "function") throw invalidArgument(`others[${q}]`, "a Set", one);
  const ranks = queries.map((query, q) => {
    const own = dotProduct(query, documents[relevant[q]!]!);
    let rank = Number.isNaN(own) ? Number.NaN : 1;
    for (const [d, document] of documents.entries()) {
      if (d === relevant[q] || others[q]?.has(d)) continue;
      const score = dotProduct(query, document);
      if (Number.isNaN(score)) rank = Number.NaN;
      else if (score >= own) rank += 1;
    }
    return rank;
  });
  // A comparison with NaN is false, so a rank of NaN would count as a miss.
  const isRanked = !ranks.some(Number.isNaN);
  const share = (k: number) => (isRanked ? ranks.filter((r) => r <= k).length / ranks.length : Number.NaN);
  return {
    recall: Object.fromEntries(Array.from(ks, (k) => [k, share(k)])),
    mrr: mean(ranks.map((r) => 1 / r)),
    queries: ranks.length,
  };
}

/** Requires vectors of equal length. */
function checkVectors(name: string, vectors: unknown, length?: number): void {
  checkList(name, vectors);
  for (let i = 0; i < vectors.length; i++) {
    checkNumbers(`${name}[${i}]`, vectors[i], length);
    length ??= (vectors[i] as ArrayLike<number>).length;
  }
}

/** Returns the dot product of two vectors of the same length. */
export function dotProduct(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/**
 * Returns Spearman's rank correlation (1904). Equal values share their mean rank. The result is NaN if all values of `a` or of `b` are
 * equal, or if a value is NaN.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function spearman(a: readonly number[], b: readonly number[]): number {
  checkNumbers("a", a);
  checkNumbers("b", b, a.length);
  // NaN has no rank: its place would depend on the order of the comparisons.
  if ([a, b].some((values) => Array.prototype.some.call(values, Number.isNaN))) return Number.NaN;
  const [x, y] = [ranksOf(a), ranksOf(b)];
  const [mx, my] = [mean(x), mean(y)];
  let [both, ofX, ofY] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [dx, dy] = [x[i]! - mx, y[i]! - my];
    both += dx * dy;
    ofX += dx * dx;
    ofY += dy * dy;
  }
  return both / Math.sqrt(ofX * ofY);
}

/** Returns ranks that begin at 1. Equal values get the mean of their ranks. */
function ranksOf(values: readonly number[]): number[] {
  const order = Array.from(values, (_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const ranks = new Array<number>(order.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to + 1 < order.length && values[order[to + 1]!] === values[order[from]!]) to += 1;
    for (let i = from; i <= to; i++) ranks[order[i]!] = (from + to) / 2 + 1;
    from = to + 1;
  }
  return ranks;
}
