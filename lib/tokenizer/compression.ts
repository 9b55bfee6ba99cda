// The compression rate of a vocabulary, by language.
import { invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkNames } from "../core/unknown-options.ts";
import { untilAborted } from "../core/until-aborted.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How well a tokenizer compresses a corpus. */
export interface Compression {
  /** Name of the corpus, as the caller chose it. */
  name: string;
  /** Size in bytes of UTF-8. */
  bytes: number;
  /** Number of characters. */
  characters: number;
  /** Number of tokens. */
  tokens: number;
  /** Average number of bytes per token. Higher is better: fewer tokens for the same text. */
  bytesPerToken: number;
  /** Average number of characters per token. It is fairer for comparing scripts, whose characters take one to four bytes. */
  charactersPerToken: number;
  /** Share of unknown tokens. */
  unknown: number;
}

/** Minimum length in UTF-16 units of the texts that are encoded together. */
const batchLength = 1 << 20;

/**
 * Measures bytes and characters per token for several corpora, such as one per language. Special tokens around texts do not count. Texts
 * are read one after another and encoded off the event loop. Rejects with ABORTED if the signal fires.
 *
 * @example
 * await compressionReport(tokenizer, { english: ["The cat"], 日本語: ["猫が"] });
 */
export async function compressionReport(
  tokenizer: Tokenizer,
  corpora: Readonly<Record<string, Iterable<string> | AsyncIterable<string>>>,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Compression[]> {
  if (typeof tokenizer?.encodeBatch !== "function") throw invalidArgument("tokenizer", "a Tokenizer", tokenizer);
  if (typeof corpora !== "object" || corpora === null) throw invalidArgument("corpora", "texts by name", corpora);
  checkNames(options, { signal: true });
  const rows: Compression[] = [];
  for (const [name, texts] of Object.entries(corpora)) {
    const { [Symbol.iterator]: syncIterator, [Symbol.asyncIterator]: asyncIterator } = Object(texts);
    if (typeof texts === "string" || (typeof syncIterator !== "function" && typeof asyncIterator !== "function"))
      throw invalidArgument(`corpora.${name}`, "an iterable of strings", texts);
    const row = { name, bytes: 0, characters: 0, tokens: 0, unknown: 0 };
    let batch: string[] = [];
    let length = 0;
    const count = async () => {
      throwIfAborted(options.signal, "compressionReport");
      for (const ids of await tokenizer.encodeBatch(batch, { ...options, addSpecialTokens: false })) {
        row.tokens += ids.length;
        for (const id of ids) if (id === tokenizer.unkTokenId) row.unknown++;
      }
      batch = [];
      length = 0;
    };
    for await (const text of untilAborted(texts, options.signal, "compressionReport")) {
      if (typeof text !== "string") throw invalidArgument(`corpora.${name}`, "strings", text);
      row.bytes += Buffer.byteLength(text);
      // Surrogate pairs are one character.
      row.characters += text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
      batch.push(text);
      length += text.length;
      if (length >= batchLength) await count();
    }
    await count();
    const share = (value: number) => (row.tokens === 0 ? 0 : value / row.tokens);
    rows.push({
      ...row,
      bytesPerToken: share(row.bytes),
      charactersPerToken: share(row.characters),
      unknown: share(row.unknown),
    });
  }
  return rows;
}
