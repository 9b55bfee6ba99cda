import { describe, HeddleError, invalidArgument } from "../core/errors.ts";
import { isIterable } from "../core/is-iterable.ts";
import { checkFunction, checkWhole } from "../core/option-values.ts";
import { untilAborted } from "../core/until-aborted.ts";
import { exists } from "../io/atomic-files.ts";
import { type LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import { checkTextModel } from "./arguments.ts";

/** Maximum length of a path in characters, on any system. */
const MAX_PATH = 4096;

/** Options of `perplexity`. */
export interface PerplexityOptions {
  /** Number of tokens that a window advances. Default: half the context length. */
  stride?: number | undefined;
  /** Called with the number of tokens scored so far. */
  onProgress?: ((state: { tokens: number }) => void) | undefined;
  /** Aborts the call, which then rejects with ABORTED. */
  signal?: AbortSignal | undefined;
}

/** The results of `perplexity`. */
export interface PerplexityResult {
  /** Mean negative log-likelihood of a scored token, in nats. */
  nll: number;
  /** exp(nll) */
  perplexity: number;
  /** Number of scored tokens. */
  tokens: number;
  /** Negative log-likelihood in bits per UTF-8 byte of the scored text. */
  bitsPerByte: number;
}

/**
 * Returns one text or several as documents. A text that is the path of an existing file is refused as a likely mistake,
 * because elsewhere in evaluation a string is a path.
 */
async function documentsOf(given: string | Iterable<string> | AsyncIterable<string>) {
  if (typeof given === "string") {
    if (given.length <= MAX_PATH && (await exists(given).catch(() => false)))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `documents: expected a text, or an iterable of texts, got the path of a file, ${describe(given)}: read the file first, or pass [text] to score the path itself`,
      );
    return [given];
  }
  if (isIterable(given)) return given;
  throw invalidArgument("documents", "a text, or an iterable of texts", given);
}

/**
 * Computes the perplexity of documents. Each document is encoded with the tokenizer's special tokens (BOS, if it adds
 * one). All tokens after the first are scored, each once. Documents longer than the context are read in overlapping windows.
 * After the first window, every token sees at least `contextLength − stride` tokens before it.
 *
 * A single text that is the path of an existing file is refused. Pass `[text]` to score such a text.
 *
 * The first token of a document without BOS has no context, so this token and its bytes are not counted.
 * @throws HeddleError INVALID_ARGUMENT, NUMERICAL for a model that returns NaN, ABORTED
 */
export async function perplexity(
  model: LanguageModel,
  documents: string | Iterable<string> | AsyncIterable<string>,
  options: PerplexityOptions = {},
): Promise<PerplexityResult> {
  rejectUnknownNames(options, ["stride", "onProgress", "signal"]);
  checkTextModel(model, "score");
  const tokenizer = model.tokenizer!;
  const { contextLength } = model;
  const { stride = Math.max(1, Math.floor(contextLength / 2)), onProgress, signal } = options;
  checkWhole("stride", stride, 1, Math.max(1, contextLength - 1));
  checkFunction("onProgress", onProgress);
  let sum = 0;
  let tokens = 0;
  let bytes = 0;
  const special = new Set(tokenizer.specialTokens.values());
  for await (const text of untilAborted(await documentsOf(documents), signal, "perplexity")) {
    if (typeof text !== "string") throw invalidArgument("documents", "texts", text);
    const ids = await tokenizer.encodeAsync(text, signal ? { signal } : {});
    if (ids.length < 2) continue;
    bytes += Buffer.byteLength(text) - (special.has(ids[0]!) ? 0 : tokenizer.tokenBytes(ids[0]!).length);
    let scored = 1;
    for (let start = 0; scored < ids.length; start += stride) {
      const end = Math.min(ids.length, start + contextLength);
      const scores = await model.score(ids.subarray(start, end), { from: scored - start, signal });
      for (let i = scored; i < end; i++) sum -= scores[i - start]!;
      tokens += end - scored;
      scored = end;
      onProgress?.({ tokens });
    }
  }
  if (tokens === 0)
    throw new HeddleError("INVALID_ARGUMENT", "documents: expected at least two tokens of text, got fewer");
  const nll = sum / tokens;
  if (!Number.isFinite(nll))
    throw new HeddleError("NUMERICAL", `perplexity: expected finite log-probabilities, got a sum of ${sum}`);
  return { nll, perplexity: Math.exp(nll), tokens, bitsPerByte: bytes > 0 ? sum / Math.LN2 / bytes : Number.NaN };
}
