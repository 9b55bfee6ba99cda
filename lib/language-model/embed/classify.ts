import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { atOnce, inSlices, type Slices } from "../../core/slices.ts";
import type { ClassifierConfig } from "../../formats/config/config.ts";
import { argmax } from "../../metrics/classification.ts";
import { sigmoid, softmax } from "../../metrics/temperature.ts";
import { classifierOf } from "../../models/heads.ts";
import type { ModelView } from "../../models/model-view.ts";
import type { EncodingWithOffsets, Tokenizer } from "../../tokenizer/index.ts";
import { checkLengths, type PooledOptions, pooledOutputs } from "./text-forward.ts";

/** A classifier's result for a text. */
export interface Classification {
  /** The likeliest label. For a regression, its only label. */
  label: string;
  /**
   * Probability of each label, calibrated if a temperature was fitted. They add up to 1 unless several labels may apply
   * at once.
   */
  probabilities: Record<string, number>;
  /** If several labels may apply at once: those with a probability of at least 0.5. */
  labels?: string[];
  /** The predicted number of a regression. */
  value?: number;
}

/** A word with its label. */
export interface TokenClassification {
  /** The word. */
  text: string;
  /** The most probable label. */
  label: string;
  /** Probability of each label, by name. */
  probabilities: Record<string, number>;
  /** Offset of the word in the text, in UTF-16 units. */
  start: number;
  /** Offset of the end of the word. */
  end: number;
}

interface Options {
  contextLength: number;
  signal?: AbortSignal | undefined;
}

/**
 * Returns the logits of sequences before the temperature, one array (labels) per sequence.
 * @throws HeddleError UNSUPPORTED, CONTEXT_OVERFLOW
 */
export async function classifierOutputs(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  options: Options & Pick<PooledOptions, "typeIds">,
): Promise<Float32Array[]> {
  const { pooling } = classifierOf(model.config, "sequence");
  return pooledOutputs(model, sequences, { ...options, pooling, head: true });
}

/** Converts logits to probabilities, in the labels' order. */
export function probabilitiesOf(
  { problemType, temperature = 1 }: ClassifierConfig,
  logits: ArrayLike<number>,
): number[] {
  return problemType === "multi_label_classification"
    ? Array.from(logits, (z) => sigmoid(z / temperature))
    : softmax(logits, temperature);
}

/** Converts logits to a result. @throws HeddleError NUMERICAL if they are not finite */
export function classificationOf(classifier: ClassifierConfig, logits: ArrayLike<number>): Classification {
  const { labels, problemType } = classifier;
  const wrong = Array.from(logits).find((v) => !Number.isFinite(v));
  if (wrong !== undefined)
    throw new HeddleError("NUMERICAL", `classify: expected finite logits, got ${wrong} (the weights may be broken)`);
  if (problemType === "regression") return { label: labels[0]!, probabilities: {}, value: logits[0]! };
  const p = probabilitiesOf(classifier, logits);
  const probabilities = Object.fromEntries(labels.map((label, i) => [label, p[i]!]));
  const label = labels[argmax(logits)]!;
  if (problemType !== "multi_label_classification") return { label, probabilities };
  return { label, probabilities, labels: labels.filter((_, i) => p[i]! >= 0.5) };
}

/** Number of words to process before yielding to the event loop. */
const SLICE_WORDS = 2048;

/**
 * Returns the ids of words joined by spaces, and for each word the index of the token that gets its label. This is the
 * token with the word's last character, or −1 for a word without tokens. In a causal model, it is the first token that
 * sees the whole word.
 */
export function wordTokens(tokenizer: Pick<Tokenizer, "encodeWithOffsets">, words: readonly string[]) {
  const text = words.join(" ");
  const encoding = tokenizer.encodeWithOffsets(text);
  return { text, ids: encoding.ids, ...atOnce(placed(words, encoding)) };
}

/** Returns each word's offset in the text, and the index of its token. */
function* placed(
  words: readonly string[],
  { ids, offsets }: EncodingWithOffsets,
): Slices<{ tokens: Int32Array; starts: number[] }> {
  const starts: number[] = [];
  let at = 0;
  for (const word of words) {
    if (starts.length % SLICE_WORDS === SLICE_WORDS - 1) yield;
    starts.push(at);
    at += word.length + 1;
  }
  const tokens = new Int32Array(words.length).fill(-1);
  let t = 0;
  for (const [w, start] of starts.entries()) {
    if (w % SLICE_WORDS === SLICE_WORDS - 1) yield;
    if (words[w] === "") continue; // as in transformers, an empty word has no token
    const last = start + words[w]!.length - 1;
    while (t < ids.length && offsets[2 * t + 1]! <= last) t++;
    // If several tokens are parts of one character, use the last.
    while (t + 1 < ids.length && offsets[2 * t + 2]! <= last && offsets[2 * t + 3]! > last) t++;
    if (t < ids.length && offsets[2 * t]! <= last) tokens[w] = t;
  }
  return { tokens, starts };
}

/** Splits a text at white space. */
function* wordsOf(text: string): Slices<string[]> {
  const words: string[] = [];
  for (const [word] of text.matchAll(/\S+/g)) {
    words.push(word);
    if (words.length % SLICE_WORDS === 0) yield;
  }
  return words;
}

/** Joins words with spaces. */
function* joined(words: readonly string[]): Slices<string> {
  let text = "";
  for (let w = 0; w < words.length; w += SLICE_WORDS) {
    text += (w === 0 ? "" : " ") + words.slice(w, w + SLICE_WORDS).join(" ");
    yield;
  }
  return text;
}

/**
 * Labels each word of a text (separated by white space), or of given words. A word without a token, such as an empty one, has no label: it is
 * left out of a text's words.
 * @throws HeddleError INVALID_ARGUMENT for a given word without a token
 */
export async function classifyWords(
  model: ModelView,
  tokenizer: Pick<Tokenizer, "encodeWithOffsetsAsync">,
  given: string | readonly string[],
  options: Options,
): Promise<TokenClassification[]> {
  const classifier = classifierOf(model.config, "token");
  const { signal } = options;
  const words = typeof given === "string" ? await inSlices(wordsOf(given), "classify", signal) : [...given];
  if (words.length === 0) return [];
  const text = await inSlices(joined(words), "classify", signal);
  const encoding = await tokenizer.encodeWithOffsetsAsync(text, { ...(signal && { signal }) });
  const { ids } = encoding;
  checkLengths([ids], options.contextLength); // checked before searching for the words' tokens
  const { tokens, starts } = await inSlices(placed(words, encoding), "classify", signal);
  const missing = typeof given === "string" ? -1 : tokens.indexOf(-1);
  if (missing >= 0) throw invalidArgument(`words[${missing}]`, "a word with a token", words[missing]);
  if (ids.length === 0) return [];
  const [logits] = await pooledOutputs(model, [ids], { ...options, pooling: "all", head: true });
  const count = classifier.labels.length;
  let from = 0;
  return words.flatMap((word, w) => {
    const start = typeof given === "string" ? given.indexOf(word, from) : starts[w]!;
    from = start + word.length;
    const token = tokens[w]!;
    if (token < 0) return [];
    const { label, probabilities } = classificationOf(classifier, logits!.subarray(token * count, (token + 1) * count));
    return [{ text: word, label, probabilities, start, end: start + word.length }];
  });
}
