import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { isWhole, wholeRange } from "../../core/is-whole.ts";
import { checkFlag } from "../../core/option-values.ts";
import { raceAbort } from "../../core/race-abort.ts";
import type { EmbeddingConfig, PoolingMode } from "../../formats/config/config.ts";
import type { Optional } from "../../formats/config/config-types.ts";
import {
  areDistinct,
  DEFAULT_EMBEDDING,
  embeddingWidths,
  POOLING_MODES,
  poolingModes,
} from "../../formats/sentence-transformers/embedding-schema.ts";
import { compile, Dimension, input } from "../../graph/index.ts";
import { promptName } from "../../inference/sequence.ts";
import { embeddingLayers } from "../../models/embedding-layers.ts";
import { besideTrunk } from "../../models/forward.ts";
import type { ModelView } from "../../models/model-view.ts";
import type { LanguageModel } from "../language-model.ts";
import { isEmptyList, isPrompt, promptList, type ReadTextOptions, type TextLimit, textIds } from "../prompt.ts";
import { type EmbedPromptOptions, promptCounterAsync, promptOf } from "./embed-prompts.ts";
import { pooledOutputs } from "./text-forward.ts";

/** Options of `model.embed`. */
export interface EmbedOptions
  extends Optional<Pick<EmbeddingConfig, "pooling" | "normalize" | "truncateDim">>,
    EmbedPromptOptions,
    ReadTextOptions {}

/** Names of the options of `model.embed`. */
export const EMBED_NAMES = [
  ...["pooling", "normalize", "truncateDim", "prompt", "promptName", "truncation", "signal"],
] as const;

/** Returns the model's embedding configuration, or the default. */
export function embeddingOf(model: ModelView): EmbeddingConfig {
  return model.config.embedding ?? DEFAULT_EMBEDDING;
}

/** Returns the maximum number of tokens of a text. */
export function embeddingLimit({ model, contextLength }: { model: ModelView; contextLength: number }): number {
  return Math.min(contextLength, embeddingOf(model).maxSeqLength ?? contextLength);
}

/** Returns the maximum number of tokens of a text, with its name for messages if it is not the context length. */
export function namedLimit(model: { model: ModelView; contextLength: number }): TextLimit {
  const contextLength = embeddingLimit(model);
  return { contextLength, ...(contextLength < model.contextLength && { limit: "the model's embedding.maxSeqLength" }) };
}

/**
 * Returns the prompt of a call. `read` prepends it to a text. `promptLength` returns a function that counts the leading
 * tokens to leave out of pooling.
 */
export function textReader(
  { model, tokenizer }: Pick<LanguageModel, "model" | "tokenizer">,
  options: EmbedPromptOptions & { signal?: AbortSignal | undefined } = {},
): { prompt: string; read: (text: string) => string; promptLength: () => Promise<(ids: ArrayLike<number>) => number> } {
  const embedding = embeddingOf(model);
  const prompt = promptOf(options, embedding);
  const read = (text: string) => (embedding.lowercase ? (prompt + text).toLowerCase() : prompt + text);
  return { prompt, read, promptLength: () => promptCounterAsync(prompt, embedding, tokenizer, options.signal) };
}

/**
 * Returns the ids of texts with their prompts, and for each text the number of leading tokens that pooling leaves out.
 */
export async function embeddedIds(
  given: unknown,
  model: LanguageModel,
  options: EmbedPromptOptions & ReadTextOptions,
): Promise<{ ids: number[][]; promptLengths: number[] }> {
  const { prompt, promptName: name, truncation, signal } = options;
  const reader = textReader(model, { prompt, promptName: name, signal });
  const texts = isEmptyList(given) ? [] : promptList(given, "text");
  const named = reader.prompt !== "" && (prompt !== undefined || name !== undefined);
  if (named && texts.some((text) => typeof text !== "string"))
    throw new HeddleError("INVALID_ARGUMENT", "prompt: expected texts, got token ids");
  const whole = texts.map((text) => (typeof text === "string" ? reader.read(text) : text));
  const { tokenizer, config } = model;
  const limits = { tokenizer, config, ...namedLimit(model) };
  const list = isPrompt(given) && !isEmptyList(given) ? whole[0] : whole;
  const ids = await textIds(list, limits, { truncation, signal });
  const lengthOf = await reader.promptLength();
  const promptLengths = texts.map((text, i) => (typeof text === "string" ? lengthOf(ids[i]!) : 0));
  return { ids, promptLengths };
}

/** Returns one vector per sequence. @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, NUMERICAL */
export async function embeddings(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  options: {
    contextLength: number;
    /** Number of leading tokens of each sequence that are not pooled. */
    promptLengths?: readonly number[] | undefined;
    signal?: AbortSignal | undefined;
    embedding?: Pick<EmbedOptions, "pooling" | "normalize" | "truncateDim">;
  },
): Promise<Float32Array[]> {
  const { embedding = {}, promptLengths = [], ...rest } = options;
  const own = embeddingOf(model);
  const { modes, normalize, truncateDim } = checked(embedding, own, model);
  for (const [i, from] of promptLengths.entries())
    if (from > 0 && sequences[i]!.length <= from)
      throw invalidArgument(
        promptName(i, sequences.length, "text"),
        `more tokens than the prompt's ${from}`,
        sequences[i]!.length,
      );
  const pooled = await pooledOutputs(model, sequences, { ...rest, pooling: modes, promptLengths });
  for (const vector of pooled)
    if (!vector.every(Number.isFinite))
      throw new HeddleError(
        "NUMERICAL",
        "embed: expected finite hidden states, got NaN or infinity (the weights may be broken)",
      );
  const vectors = own.layers ? await throughLayers(model, pooled, rest.signal) : pooled;
  return vectors.map((whole) => {
    const vector = truncateDim === undefined ? whole : whole.slice(0, truncateDim);
    const length = Math.sqrt(vector.reduce((sum, v) => sum + v * v, 0));
    if (normalize && length > 0) for (let i = 0; i < vector.length; i++) vector[i]! /= length;
    return vector;
  });
}

/** Checks options that override the model's configuration. */
function checked(
  given: Pick<EmbedOptions, "pooling" | "normalize" | "truncateDim">,
  embedding: EmbeddingConfig,
  { config }: ModelView,
): { modes: readonly PoolingMode[]; normalize: boolean; truncateDim: number | undefined } {
  const { pooling = embedding.pooling, normalize = embedding.normalize, truncateDim = embedding.truncateDim } = given;
  const modes = Array.isArray(pooling) ? pooling : [pooling];
  const wrong = modes.length === 0 ? pooling : modes.find((mode) => !POOLING_MODES.includes(mode));
  if (wrong !== undefined) {
    const known = POOLING_MODES.join(", ");
    const expected =
      (wrong as unknown) === "cls" ? "first, which is the name of cls pooling" : `one of ${known}, or several of them`;
    throw invalidArgument("pooling", expected, wrong);
  }
  if (!areDistinct(modes)) throw invalidArgument("pooling", "distinct modes", modes.join(", "));
  if (embedding.layers && String(modes) !== String(poolingModes(embedding.pooling)))
    throw invalidArgument("pooling", `${String(embedding.pooling)}, which the model's layers read`, String(pooling));
  checkFlag("normalize", normalize);
  const width = embedding.layers ? embeddingWidths(config).at(-1)! : config.hiddenSize * modes.length;
  // Only a given truncateDim is checked. The model's may exceed the width of another pooling, whose vectors are then
  // not truncated.
  const { truncateDim: wanted } = given;
  if (wanted !== undefined && !isWhole(wanted, 1, width))
    throw invalidArgument("truncateDim", `${wholeRange(1, width)}, the width of vectors`, wanted);
  return { modes, normalize, truncateDim };
}

/** Maximum number of vectors of one run of the layers after pooling. */
const MAX_ROWS = 256;

/** Applies the model's layers after pooling, in batches of MAX_ROWS vectors. */
async function throughLayers(
  model: ModelView,
  pooled: readonly Float32Array[],
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const widths = embeddingWidths(model.config);
  const [width, made] = [widths[0]!, widths.at(-1)!];
  const program = model.cached(["embedding layers", ...model.activeAdapters].join("/"), () =>
    compile(() => {
      const x = input("pooled", "f32", [new Dimension("texts", MAX_ROWS), width]);
      return { vectors: embeddingLayers(besideTrunk(model), model.config, x) };
    }),
  );
  const executable = program.bind(model.device, model.tensors);
  try {
    const out: Float32Array[] = [];
    for (let at = 0; at < pooled.length; at += MAX_ROWS) {
      const some = pooled.slice(at, at + MAX_ROWS);
      const rows = new Float32Array(some.length * width);
      for (const [i, vector] of some.entries()) rows.set(vector, i * width);
      const { vectors } = await raceAbort(executable.run({ pooled: rows }, { signal }), signal);
      for (let i = 0; i < some.length; i++) out.push((vectors as Float32Array).slice(i * made, (i + 1) * made));
    }
    return out;
  } finally {
    executable.dispose();
  }
}
