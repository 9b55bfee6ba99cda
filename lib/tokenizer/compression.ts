// The compression rate of a vocabulary, by language.
import { invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkNames } from "../core/unknown-options.ts";
import { untilAborted } from "../core/until-aborted.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How short a tokenizer makes a corpus. */
export interface Compression {
  /** The caller's name of the corpus. */
  name: string;
  /** Size in UTF-8 bytes. */
  bytes: number;
  characters: number;
  tokens: number;
  /** Higher is better: fewer tokens for the same text. */
  bytesPerToken: number;
  /** Fairer between scripts, whose characters take one to four bytes. */
  charactersPerToken: number;
  /** Share of the tokens that are the unknown one. */
  unknown: number;
}

const batchLength = 1 << 20;

/**
 * Bytes and characters a token, without the tokens around texts, of corpora by name, such as one a language. Reads texts as they come,
 * off the event loop. Rejects with ABORTED.
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
    const { [Symbol.iterator]: each, [Symbol.asyncIterator]: late } = Object(texts);
    if (typeof texts === "string" || (typeof each !== "function" && typeof late !== "function"))
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
