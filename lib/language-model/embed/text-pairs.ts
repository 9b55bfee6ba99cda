// Pairs of texts, which cross-encoders read as one sequence: a premise with a hypothesis, a query with a document.
import { HeddleError, withoutTokenizer } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { checkFlag } from "../../core/option-values.ts";
import { promptName } from "../../inference/sequence.ts";
import type { LanguageModel } from "../language-model.ts";
import { MAX_CHARACTERS_A_TOKEN, type ReadTextOptions, type TextLimit } from "../prompt.ts";

/** Two texts that a model reads together. The names follow transformers' pipelines. */
export interface TextPair {
  /** The first text, such as a query. */
  text: string;
  /** The second text, such as a document. */
  textPair: string;
}

/** Sequences with the token type of each id, which distinguishes the texts of a pair. */
export interface TypedSequences {
  ids: ArrayLike<number>[];
  typeIds: ArrayLike<number>[];
}

/** Whether a value is a pair of texts. */
export function isTextPair(value: unknown): value is TextPair {
  return isObject(value) && typeof value.text === "string" && typeof value.textPair === "string";
}

/**
 * Encodes pairs by the tokenizer's template for two texts. With `truncation`, the tokenizer's strategy chooses the text to cut, by default
 * the longer one. Texts that cannot fit are cut or refused before they are encoded.
 * @throws HeddleError INVALID_ARGUMENT without a tokenizer, CONTEXT_OVERFLOW, ABORTED
 */
export async function pairIds(
  pairs: readonly TextPair[],
  { tokenizer, contextLength, limit = "the context length" }: Pick<LanguageModel, "tokenizer"> & TextLimit,
  { truncation = false, signal }: ReadTextOptions,
): Promise<TypedSequences> {
  checkFlag("truncation", truncation);
  if (!tokenizer) throw withoutTokenizer("text");
  const tooLong = (at: number, got: string) =>
    new HeddleError(
      "CONTEXT_OVERFLOW",
      `${promptName(at, pairs.length, "text")}: expected at most ${contextLength} tokens, ${limit}, got ${got} (truncation: true cuts it)`,
    );
  const most = contextLength * MAX_CHARACTERS_A_TOKEN;
  const large = pairs.findIndex(({ text, textPair }) => text.length > most || textPair.length > most);
  if (large >= 0 && !truncation) throw tooLong(large, `more than ${most} characters`);
  const cut = cutterTo(most, tokenizer.truncation?.side);
  const texts = pairs.map(({ text, textPair }) => [cut(text), cut(textPair)] as const);
  const options = { allowSpecial: true, ...(signal && { signal }) };
  const inputs = await tokenizer.encodeInputs(texts, {
    ...options,
    padding: false,
    // Without truncation, a pair that is too long is rejected below. At most one token above the limit is kept, because
    // all of its tokens may exhaust memory.
    truncation: truncation ? { ...tokenizer.truncation, maxLength: contextLength } : { maxLength: contextLength + 1 },
  });
  const long = inputs.findIndex(({ ids }) => ids.length > contextLength);
  if (long >= 0) {
    const parts = await tokenizer.encodeBatch(texts[long]!, { ...options, addSpecialTokens: false });
    const around = tokenizer.encodePair("", "").ids.length;
    throw tooLong(long, `${parts.reduce((sum, { length }) => sum + length, around)}`);
  }
  return { ids: inputs.map(({ ids }) => ids), typeIds: inputs.map(({ typeIds }) => typeIds) };
}

/**
 * Returns a function that cuts texts to a number of characters. It cuts each text once, because many pairs may share a
 * text.
 */
function cutterTo(most: number, side: "left" | "right" = "right"): (text: string) => string {
  const known = new Map<string, string>();
  return (text) => {
    if (text.length <= most) return text;
    let cut = known.get(text);
    if (cut === undefined) {
      // Half of a surrogate pair at the cut is removed.
      const part = side === "right" ? text.slice(0, most) : text.slice(-most);
      cut = part.replace(side === "right" ? /[\ud800-\udbff]$/ : /^[\udc00-\udfff]/, "");
      known.set(text, cut);
    }
    return cut;
  };
}
