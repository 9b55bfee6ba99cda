import { type AnswerFormat, type Automaton, compileFormat } from "../constrain/index.ts";
import { checkSeed, invalidArgument } from "../core/errors.ts";
import { isStrings } from "../core/is-iterable.ts";
import { isWhole, wholeRange } from "../core/is-whole.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import type { GenerationConfig } from "../formats/config/generation-config.ts";
import type { Model } from "../models/model.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type BeamOptions, beamsOf } from "./beam/beam-options.ts";
import { biasOf, isTokenId } from "./logit-bias.ts";
import { sameVocabulary } from "./speculative/same-vocabulary.ts";

/** The argument of a custom logit processor. */
export interface LogitContext {
  /** Ids of the prompt and of the tokens generated so far. A copy, made on first access. */
  readonly ids: readonly number[];
  /** Number of tokens of the prompt. */
  readonly promptLength: number;
  /** Index of the sequence within the call. */
  readonly index: number;
}

/**
 * Changes the logits of the next token in place, before bias, penalties and sampling. Set −Infinity to forbid a token. The function must be
 * synchronous. It may not return a promise or another array, because the changes in these would be lost.
 */
export interface LogitProcessor {
  /** @param logits (vocabulary), the model's logits at this position; with `numBeams`, their log-probabilities */
  (logits: Float32Array, context: LogitContext): void;
  /**
   * Returns the number of steps, from the next one on, in which the processor changes no logits, whichever tokens are
   * drawn. The logits of these steps stay in native code, which is faster. `Infinity`: the processor changes no logits
   * any more. Default: 0 for every context.
   */
  idleSteps?: ((context: LogitContext) => number) | undefined;
}

/** The argument of a stop condition. Its `ids` end with the newest token. */
export interface StopContext extends LogitContext {
  /**
   * The answer's text so far: the joined text of its pieces. It excludes incomplete characters and text that may be
   * the start of a stop text. Empty without a tokenizer.
   */
  readonly text: string;
}

/**
 * Returns whether an answer ends after its newest token, which stays part of the answer. The function must be
 * synchronous. It is called once per token, in order. With `numBeams` it is called for every hypothesis that the search
 * considers, and must depend only on its context.
 */
export type StopCondition = (context: StopContext) => boolean;

/**
 * Options of generation. Their names follow generation_config.json and OpenAI's API. `Format` is the type of `responseFormat`, which
 * determines the type of `parsed`.
 */
export interface GenerateOptions<Format extends AnswerFormat = AnswerFormat> {
  /**
   * Maximum number of new tokens. Default: the model's `max_new_tokens`, else 256, but at most what the context has
   * room for.
   */
  maxTokens?: number | undefined;
  /** Sampling temperature. 0 is greedy. Default: the model's, or 0 if its `do_sample` is false. If the model has no temperature: 0.8. */
  temperature?: number | undefined;
  /** Samples from the k likeliest tokens only. 0 means all. Default: the model's, else 0. */
  topK?: number | undefined;
  /**
   * Samples from the likeliest tokens whose total probability reaches this value (Holtzman et al. 2019). 1 means all.
   * Default: the model's, else 1.
   */
  topP?: number | undefined;
  /**
   * Samples from tokens with at least this fraction of the likeliest token's probability (Nguyen et al. 2024). 0 means
   * all. Default: the model's, else 0.
   */
  minP?: number | undefined;
  /**
   * Divides positive and multiplies negative logits of tokens that occurred before, including the prompt (Keskar et
   * al. 2019). 1 means off. Default: the model's, else 1.
   */
  repetitionPenalty?: number | undefined;
  /** Value to subtract from the logits of tokens that were already generated. */
  presencePenalty?: number | undefined;
  /** Value to subtract from a token's logit for each time that the token was generated before. */
  frequencyPenalty?: number | undefined;
  /** Values to add to the logits, by token id. */
  logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number> | undefined;
  /** Functions that change a step's logits in place, in order, before a token is chosen. */
  logitProcessors?: readonly LogitProcessor[] | undefined;
  /**
   * The same seed gives the same tokens regardless of other calls. Equal prompts of one call then have equal answers. An integer from 0 to
   * 2^53 - 1. Default: a random seed per answer.
   */
  seed?: number | undefined;
  /**
   * Stops the answer. A text is not part of the answer. A token id acts like the model's end tokens. A function returns after each token
   * whether it was the last, such as `({ text }) => text.length > 200`. finishReason is "stop" for all of them.
   */
  stop?: string | StopCondition | readonly (string | number | StopCondition)[] | undefined;
  /**
   * Form of the answer: `{ type: "json_schema", schema }`, `{ type: "json_object" }`, `{ type: "regex", pattern }`, or `{ type: "text" }`,
   * the default. A schema of zod, valibot, arktype or another library of https://standardschema.dev sets `parsed`, and
   * an answer that is cut or rejected is then an error. The answer is always a prefix of a document in this format. It
   * is complete if finishReason is "stop". End tokens are allowed only after a complete document, and the answer ends
   * when nothing can follow. An answer cut by a stop text has finishReason "length".
   */
  responseFormat?: Format | undefined;
  /**
   * Makes results, including log-probabilities, bit-identical regardless of the call's other prompts. Prompts are then
   * processed more slowly. Default: false, which means that results agree within rounding.
   */
  deterministic?: boolean | undefined;
  /**
   * Speculative decoding by prompt lookup: guesses up to this number of tokens (at most 15) from an earlier occurrence of the last
   * tokens, and verifies them in one run. The output does not change. Answers that repeat parts of the prompt become faster.
   */
  promptLookupNumTokens?: number | undefined;
  /**
   * Speculative decoding by a smaller model with the same vocabulary, such as a LanguageModel. Vocabulary sizes may differ by padding rows
   * if both tokenizers have the same ids. The output does not change.
   */
  assistantModel?: AssistantModel | undefined;
  /** Maximum number of tokens that the assistant guesses at once, up to 15. Default: 8. */
  numAssistantTokens?: number | undefined;
  /** Whether to continue after the model's end tokens. */
  ignoreEos?: boolean | undefined;
  /**
   * Special tokens that the text includes, such as `["<|python_tag|>"]`. Default: none. The text never includes end
   * tokens. Chats choose the tokens that they need.
   */
  visibleTokens?: readonly string[] | undefined;
  /** Number of likeliest tokens that each piece reports in `top`. */
  topLogprobs?: number | undefined;
  /**
   * Scores the prompt's tokens while the prompt is processed, without a second pass. The value (0 or more) is the
   * number of likeliest tokens to report per position. Results are `promptLogprobs` and `promptTop` of a completion,
   * and of a sequence's first piece. The whole prompt is then computed, even if a session or another prompt holds a
   * part. Cannot be combined with `numBeams`, nor with contextOverflow `truncateLeft`, which may drop tokens.
   */
  promptLogprobs?: number | undefined;
  /**
   * Number of samples per prompt. With a seed, sample i uses seed + i. With `numBeams`, the results are the n best
   * texts (n ≤ numBeams), best first.
   */
  n?: number | undefined;
  /**
   * Number of beams, up to 128. Beam search continues this many hypotheses and keeps those with the largest sums of
   * log-probabilities. 1 turns beam search off. Default: the model's `num_beams`, unless the model or the call samples
   * or speculates. Follows transformers' beam search without sampling. Penalties, `logitBias` and `logitProcessors`
   * change log-probabilities, and `responseFormat` removes tokens. The log-probabilities are not normalized again. A
   * finished text's score is the sum over all its new tokens, including the end token, divided by their count to the
   * power `lengthPenalty`. `generate` returns the pieces of the best text at the end of the search. Cannot be combined
   * with options that sample (temperature above 0, topK, topP, minP, seed) or speculate, nor used in a session or chat.
   */
  numBeams?: number | undefined;
  /**
   * With `numBeams`: values above 0 favor long texts, values below 0 short ones, and 0 compares sums. Default: the
   * model's, else 1.
   */
  lengthPenalty?: number | undefined;
  /**
   * With `numBeams`, when the search ends. `true`: as soon as `numBeams` texts are finished. `false`: when the best
   * beam, at its present length, scores no better than the worst of `numBeams` finished texts. `"never"`: when it
   * cannot score better at any length. Default: the model's, else `false`.
   */
  earlyStopping?: boolean | "never" | undefined;
  /**
   * Handling of a sequence that exceeds the context. `error` (default) throws CONTEXT_OVERFLOW before it starts. `stop` ends it with
   * finishReason "length". `truncateLeft` drops all tokens but the first and the newest half of the context, as often as needed.
   */
  contextOverflow?: "error" | "stop" | "truncateLeft" | undefined;
  /** Whether to add the tokenizer's BOS to a text prompt. Default: true. */
  addSpecialTokens?: boolean | undefined;
  /** Names of the adapters to use. An empty array means the base model alone. Default: the model's active ones. */
  adapters?: readonly string[] | undefined;
  /** Aborts the call within 50 ms, even while the prompt is processed. The call then rejects with ABORTED. */
  signal?: AbortSignal | undefined;
}

/**
 * Options of a call whose `responseFormat` has the type `F`, which TypeScript infers from the call. The type of the answer depends on it: an
 * answer in the format of a Standard Schema has `parsed`, of the type of the schema's output.
 */
// F includes undefined if the format may be missing. TypeScript drops undefined when it infers from an optional property. So F is inferred
// from the required property of the second branch, which is never taken.
export type OptionsIn<F, Options = GenerateOptions> = Options &
  ([F] extends [unknown] ? unknown : { responseFormat: F });

/** A model that drafts for another model. LanguageModel implements it. */
export interface AssistantModel {
  /** The smaller network, which drafts tokens. */
  readonly model: Model;
  /** Maximum number of tokens of a sequence. */
  readonly contextLength: number;
  /** The tokenizer. It must have the vocabulary of the larger model. */
  readonly tokenizer?: Tokenizer | undefined;
}

/** Settings of speculative decoding. */
export interface Speculation {
  assistant: AssistantModel | undefined;
  draftTokens: number;
}

/** Options with every default filled in. */
export interface ResolvedOptions {
  maxTokens: number | undefined;
  defaultMaxTokens: number;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  biasIds: Int32Array;
  biasValues: Float32Array;
  logitProcessors: readonly LogitProcessor[];
  /** Default: each sequence gets a random seed. */
  seed: number | undefined;
  deterministic: boolean;
  speculation: Speculation | undefined;
  /** Automaton of the response format. */
  automaton: Automaton | undefined;
  vocabSize: number;
  stopTexts: readonly string[];
  stopTokens: ReadonlySet<number>;
  stopConditions: readonly StopCondition[];
  /** Ids of special tokens that are part of the text, with their texts. */
  visibleTokens: ReadonlyMap<number, string>;
  topLogprobs: number;
  promptLogprobs: number | undefined;
  n: number;
  beams: BeamOptions | undefined;
  contextOverflow: "error" | "stop" | "truncateLeft";
  addSpecialTokens: boolean;
  adapters: readonly string[] | undefined;
  signal: AbortSignal | undefined;
}

/** The properties of a model that decide which options are valid, and their defaults. */
export interface OptionContext {
  vocabSize: number;
  tokenizer?: Tokenizer | undefined;
  generation: GenerationConfig;
  /** The model's end tokens. */
  eosTokenIds: readonly number[];
}

const NAMES: Record<keyof GenerateOptions, true> = {
  maxTokens: true,
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
  presencePenalty: true,
  frequencyPenalty: true,
  logitBias: true,
  logitProcessors: true,
  seed: true,
  deterministic: true,
  promptLookupNumTokens: true,
  assistantModel: true,
  numAssistantTokens: true,
  stop: true,
  responseFormat: true,
  ignoreEos: true,
  visibleTokens: true,
  topLogprobs: true,
  promptLogprobs: true,
  n: true,
  numBeams: true,
  lengthPenalty: true,
  earlyStopping: true,
  contextOverflow: true,
  addSpecialTokens: true,
  adapters: true,
  signal: true,
};

/**
 * Maximum number of tokens of a draft. A draft and the token before it fill the rows that the decoding kernels process
 * in one pass.
 */
const MAX_DRAFT_TOKENS = 15;
/** Temperature if neither the caller nor the model sets one. */
export const DEFAULT_TEMPERATURE = 0.8;
/** Replaces a model's `top_p` of 0, which means only the likeliest token in transformers. The sampler needs a value above 0. */
const LEAST_TOP_P = 2 ** -126;
/** Maximum number of new tokens if neither the caller nor the model sets one. */
export const DEFAULT_MAX_TOKENS = 256;
/** Maximum number of samples per prompt. */
const MAX_SAMPLES = 1024;

/** Checks the names of options. @throws HeddleError INVALID_ARGUMENT unless `options` is an object with known names */
export function checkOptionNames(options: GenerateOptions): void {
  rejectUnknownNames(options, Object.keys(NAMES));
}

/** Checks every option and fills in defaults from the model's generation_config.json, and then heddle's. */
export function resolveOptions(options: GenerateOptions, context: OptionContext): ResolvedOptions {
  checkOptionNames(options);
  const { generation, vocabSize } = context;
  const finite = (name: keyof GenerateOptions, fallback: number, test: (v: number) => boolean, expected: string) => {
    const value = options[name] ?? fallback;
    // The sampler uses 32-bit floats, in which a large number may become infinite and a small one 0.
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value)) || !test(value))
      throw invalidArgument(name, expected, value);
    return value;
  };
  const whole = (name: keyof GenerateOptions, fallback: number, least: number, most: number) =>
    finite(name, fallback, (v) => isWhole(v, least, most), wholeRange(least, most));
  const flag = (name: keyof GenerateOptions, fallback: boolean) => {
    const value = options[name] ?? fallback;
    if (typeof value !== "boolean") throw invalidArgument(name, "true or false", value);
    return value;
  };

  // A greedy model's file may contain top_k and similar values, which then have no effect.
  const sampling = generation.doSample !== false;
  const modelTemperature = sampling ? (generation.temperature ?? DEFAULT_TEMPERATURE) : 0;
  const { stopTexts, stopTokens, stopConditions } = stopsOf(options.stop, vocabSize);
  const beams = beamsOf(options, generation);
  if (!flag("ignoreEos", false)) for (const id of context.eosTokenIds) stopTokens.add(id);
  const bias = biasOf(options.logitBias, vocabSize);
  const overflow = options.contextOverflow ?? "error";
  if (overflow !== "error" && overflow !== "stop" && overflow !== "truncateLeft")
    throw invalidArgument("contextOverflow", "error, stop or truncateLeft", overflow);
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal))
    throw invalidArgument("signal", "an AbortSignal", options.signal);
  const { adapters } = options;
  if (adapters !== undefined && !isStrings(adapters))
    throw invalidArgument("adapters", "an array of adapters' names", adapters);
  if (options.promptLogprobs != null && overflow === "truncateLeft")
    throw invalidArgument("contextOverflow", "error or stop together with promptLogprobs", overflow);
  const processors = options.logitProcessors ?? [];
  if (!Array.isArray(processors) || processors.some((p) => typeof p !== "function"))
    throw invalidArgument("logitProcessors", "an array of functions", processors);
  for (const { idleSteps } of processors)
    if (idleSteps !== undefined && typeof idleSteps !== "function")
      throw invalidArgument("logitProcessors.idleSteps", "a function", idleSteps);

  return {
    maxTokens: options.maxTokens == null ? undefined : whole("maxTokens", 0, 0, 2 ** 31 - 1),
    defaultMaxTokens: generation.maxNewTokens ?? DEFAULT_MAX_TOKENS,
    temperature: finite("temperature", modelTemperature, (v) => v >= 0, "a number of at least 0"),
    topK: whole("topK", generation.topK ?? 0, 0, 2 ** 30),
    topP: finite(
      "topP",
      Math.max(generation.topP ?? 1, LEAST_TOP_P),
      (v) => Math.fround(v) > 0 && v <= 1,
      "a number above 0 and at most 1",
    ),
    minP: finite("minP", generation.minP ?? 0, (v) => v >= 0 && v <= 1, "a number from 0 to 1"),
    repetitionPenalty: finite(
      "repetitionPenalty",
      generation.repetitionPenalty ?? 1,
      (v) => Math.fround(v) > 0,
      "a number above 0",
    ),
    presencePenalty: finite("presencePenalty", 0, () => true, "a finite number"),
    frequencyPenalty: finite("frequencyPenalty", 0, () => true, "a finite number"),
    ...bias,
    logitProcessors: processors,
    seed: options.seed === undefined ? undefined : seedOf(options.seed),
    deterministic: flag("deterministic", false),
    speculation: speculationOf(
      options.assistantModel,
      whole("promptLookupNumTokens", 0, 0, MAX_DRAFT_TOKENS),
      whole("numAssistantTokens", 8, 1, MAX_DRAFT_TOKENS),
      context,
    ),
    automaton: options.responseFormat === undefined ? undefined : compileFormat(options.responseFormat),
    vocabSize,
    stopTexts,
    stopTokens,
    stopConditions,
    visibleTokens: visibleTokensOf(options.visibleTokens, context.tokenizer),
    topLogprobs: whole("topLogprobs", 0, 0, vocabSize),
    promptLogprobs: options.promptLogprobs == null ? undefined : whole("promptLogprobs", 0, 0, vocabSize),
    n: whole("n", 1, 1, MAX_SAMPLES),
    beams,
    contextOverflow: overflow,
    addSpecialTokens: flag("addSpecialTokens", true),
    adapters,
    signal: options.signal,
  };
}

function speculationOf(
  assistant: AssistantModel | undefined,
  lookUpTokens: number,
  assistantTokens: number,
  { vocabSize, tokenizer }: OptionContext,
): Speculation | undefined {
  if (assistant === undefined)
    return lookUpTokens > 0 ? { assistant: undefined, draftTokens: lookUpTokens } : undefined;
  if (lookUpTokens > 0) throw invalidArgument("promptLookupNumTokens", "0 together with assistantModel", lookUpTokens);
  const { model, tokenizer: assistantTokenizer } = (assistant ?? {}) as Partial<AssistantModel>;
  const size = model?.config?.vocabSize;
  // If all tokens are the same, padding rows that only one model has do not matter, because the model verifies every draft.
  if (
    size === undefined ||
    (size !== vocabSize && !(tokenizer && assistantTokenizer && sameVocabulary(tokenizer, assistantTokenizer)))
  )
    throw invalidArgument("assistantModel", `a model with the same ${vocabSize} tokens`, size ?? assistant);
  return { assistant, draftTokens: assistantTokens };
}

function seedOf(seed: unknown): number {
  checkSeed(seed);
  return seed;
}

function stopsOf(stop: GenerateOptions["stop"], vocabSize: number) {
  const list = stop === undefined ? [] : typeof stop === "string" || typeof stop === "function" ? [stop] : stop;
  if (!Array.isArray(list))
    throw invalidArgument("stop", "a string, a function, or an array of strings, token ids and functions", stop);
  const stopConditions: StopCondition[] = [];
  const stopTexts: string[] = [];
  const stopTokens = new Set<number>();
  for (const entry of list) {
    if (typeof entry === "string" && entry !== "") stopTexts.push(entry);
    else if (isTokenId(entry, vocabSize)) stopTokens.add(entry);
    else if (typeof entry === "function") stopConditions.push(entry);
    else throw invalidArgument("stop", `non-empty strings, token ids below ${vocabSize} and functions`, entry);
  }
  return { stopTexts, stopTokens, stopConditions };
}

/**
 * Maps the ids of the special tokens among some texts to these texts. Other texts are left out, because they are
 * visible anyway.
 */
function visibleTokensOf(texts: GenerateOptions["visibleTokens"], tokenizer: Tokenizer | undefined) {
  if (texts === undefined) return new Map<number, string>();
  if (!isStrings(texts)) throw invalidArgument("visibleTokens", "an array of tokens' texts", texts);
  const special = tokenizer?.specialTokens;
  return new Map(texts.flatMap((text) => (special?.has(text) ? [[special.get(text)!, text] as const] : [])));
}
