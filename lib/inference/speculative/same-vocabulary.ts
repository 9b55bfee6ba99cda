import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/** Earlier results for pairs of tokenizers. A comparison takes milliseconds for large vocabularies. */
const found = new WeakMap<Tokenizer, WeakMap<Tokenizer, boolean>>();

/** Whether all ids that both tokenizers have mean the same tokens. One vocabulary may have more ids at the end. */
export function sameVocabulary(a: Tokenizer, b: Tokenizer): boolean {
  if (a === b) return true;
  const known = found.get(a) ?? new WeakMap<Tokenizer, boolean>();
  found.set(a, known);
  let same = known.get(b);
  if (same === undefined) {
    const both = Math.min(a.vocabSize, b.vocabSize);
    same = true;
    for (let id = 0; same && id < both; id++) same = a.idToToken(id) === b.idToToken(id);
    known.set(b, same);
  }
  return same;
}
