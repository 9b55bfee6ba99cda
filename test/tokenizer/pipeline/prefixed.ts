// Small tokenizers that prepend a space to every text, in each way that tokenizer.json supports.
import { Tokenizer } from "../../../lib/tokenizer/index.ts";

export const sample = [
  "The sky is blue. A: Paris\nThe unbelievable cat is red, the dog is not.",
  "able table cable; one two three\n\nThe end is near and the sky is near.",
];

const space = "▁";
const replace = { type: "Replace", pattern: { String: " " }, content: space };
const metaspace = (scheme: string, split = true) => ({
  type: "Metaspace",
  replacement: space,
  prepend_scheme: scheme,
  split,
});

/** Changes to a trained tokenizer.json. NFKC makes native code run the normalizer's steps one by one. */
const forms: Readonly<Record<string, object>> = {
  "Prepend, as Llama 2": {
    normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: space }, replace] },
    pre_tokenizer: null,
  },
  "NFKC, Prepend": {
    normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Prepend", prepend: space }, replace] },
    pre_tokenizer: null,
  },
  "Metaspace always": { normalizer: null, pre_tokenizer: metaspace("always") },
  "Metaspace first, unsplit": { normalizer: null, pre_tokenizer: metaspace("first", false) },
  "NFKC, Metaspace always": { normalizer: { type: "NFKC" }, pre_tokenizer: metaspace("always") },
  "NFKC, Metaspace first": { normalizer: { type: "NFKC" }, pre_tokenizer: metaspace("first") },
};

/** SentencePiece-style tokenizers by name. BOS `<s>` precedes their texts. */
export async function prefixedTokenizers(): Promise<{ name: string; tokenizer: Tokenizer }[]> {
  const options = { vocabSize: 330, bosToken: "<s>", eosToken: "</s>" } as const;
  const bpe = await Tokenizer.train(sample, { ...options, algorithm: "sentencePieceBpe" });
  const unigram = await Tokenizer.train(sample, { ...options, algorithm: "unigram" });
  const changed = Object.entries(forms).map(([name, change]) => {
    const files = bpe.files();
    const json = { ...JSON.parse(files["tokenizer.json"]!), ...change };
    const tokenizer = Tokenizer.fromFiles({
      tokenizer: JSON.stringify(json),
      tokenizerConfig: files["tokenizer_config.json"]!,
    });
    return { name, tokenizer };
  });
  return [{ name: "trained pieces", tokenizer: bpe }, { name: "trained Unigram", tokenizer: unigram }, ...changed];
}

/** Returns the text of `ids` after `before`. A decoder strips only the first space of a text, so both are decoded together. */
export function textAfter(tokenizer: Tokenizer, before: ArrayLike<number>, ids: ArrayLike<number>): string {
  const decode = (of: ArrayLike<number>) => tokenizer.decode(Array.from(of), { skipSpecialTokens: true });
  const all = decode([...Array.from(before), ...Array.from(ids)]);
  return all.slice(decode(before).length);
}
