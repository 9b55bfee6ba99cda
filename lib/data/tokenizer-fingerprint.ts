import { createHash } from "node:crypto";
import type { CorpusTokenizer } from "./encode.ts";

/** A probe text. Tokenizers with the same vocabulary but different pre-tokenization encode it differently. */
const PROBE = "The 2nd Über-test:\n\tif (x != 1024) { return “naïve” + 'ca fé'; }  \r\n日本語 🙂 DON'T   stop";
const fingerprints = new WeakMap<CorpusTokenizer, string>();

/**
 * Identifies a tokenizer by 64 hexadecimal digits: SHA-256 over the vocabulary in order, the tokens of a fixed text, and BOS and EOS. It
 * does not depend on the format of the tokenizer's file.
 */
export function tokenizerFingerprint(tokenizer: CorpusTokenizer): string {
  const known = fingerprints.get(tokenizer);
  if (known !== undefined) return known;
  const hash = createHash("sha256");
  const { bosTokenId = null, eosTokenId = tokenizer.eosTokenIds?.[0] ?? null } = tokenizer;
  hash.update(
    JSON.stringify([Array.from(tokenizer.encode(PROBE, { addSpecialTokens: false })), bosTokenId, eosTokenId]),
  );
  for (let id = 0; id < (tokenizer.vocabSize ?? 0); id++)
    hash.update(`\n${JSON.stringify(tokenizer.idToToken?.(id) ?? null)}`);
  const fingerprint = hash.digest("hex");
  fingerprints.set(tokenizer, fingerprint);
  return fingerprint;
}
