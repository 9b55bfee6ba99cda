import { invalidArgument } from "../core/errors.ts";

/** How a given answer is compared with the accepted ones. */
export type Match = "exact" | "contains";

/**
 * Matches English articles as whole words. \b would find an article in "ça", because it counts only ASCII letters as
 * letters.
 */
const ARTICLES = /(?<![\p{Script=Latin}\p{M}\p{N}])(?:a|an|the)(?![\p{Script=Latin}\p{M}\p{N}])/gu;

/**
 * Normalizes an answer for comparison: lower case, without punctuation and the articles a, an, the, with single spaces.
 * This is the normalization of SQuAD's evaluation (Rajpurkar et al. 2016), extended to the punctuation of other
 * scripts.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function normalizeAnswer(text: string): string {
  if (typeof text !== "string") throw invalidArgument("text", "a string", text);
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[\p{P}\p{S}]/gu, "")
    .replace(ARTICLES, " ")
    .replace(/\s+/g, " ")
    .trim();
}

/** Whether an answer equals an accepted answer. With `contains`, it may also contain an accepted answer as whole words. */
export function isAccepted(answer: string, accepted: readonly string[], match: Match = "exact"): boolean {
  const given = normalizeAnswer(answer);
  checkAccepted(accepted);
  return accepted.some((text) => {
    const wanted = normalizeAnswer(text);
    if (given === wanted) return true;
    return match === "contains" && wanted !== "" && ` ${given} `.includes(` ${wanted} `);
  });
}

function checkAccepted(accepted: readonly string[]): void {
  if (!Array.isArray(accepted)) throw invalidArgument("accepted", "an array of strings", accepted);
}

/** Returns the F1 score over words, as in SQuAD: the highest of an answer's scores against the accepted answers. */
export function wordF1(answer: string, accepted: readonly string[]): number {
  const words = (text: string) => normalizeAnswer(text).split(" ").filter(Boolean);
  const given = words(answer);
  checkAccepted(accepted);
  return accepted.reduce((best, text) => {
    const wanted = words(text);
    if (given.length === 0 || wanted.length === 0) return Math.max(best, given.length === wanted.length ? 1 : 0);
    const left = new Map<string, number>();
    for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
    let common = 0;
    for (const word of given) {
      const n = left.get(word) ?? 0;
      if (n > 0) common += 1;
      left.set(word, n - 1);
    }
    return Math.max(best, (2 * common) / (given.length + wanted.length));
  }, 0);
}
