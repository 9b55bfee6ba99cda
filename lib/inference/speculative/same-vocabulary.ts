import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/** What was found of two tokenizers before: looking costs some milliseconds a hundred thousand tokens. */
const found = new WeakMap<Tokenizer, WeakMap<Tokenizer, boolean>>();

/** Whether every id that two tokenizers both have is the same token: one of them may have more, behind. */
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
