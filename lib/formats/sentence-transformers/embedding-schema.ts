// The schema of a configuration's embedding settings, and the constraints between its fields.
import { z } from "zod";
import { firstOf } from "../../core/amounts.ts";
import { describe, type HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { flag, whole } from "../../core/schema-parts.ts";
import type { EmbeddingConfig, ModelConfig } from "../config/config-types.ts";

/** Pooling modes, in the order of the flags in sentence-transformers' files. */
export const POOLING_MODES = ["first", "max", "mean", "mean_sqrt_len", "weighted_mean", "last"] as const;
/** The pooling of models that do not name one, as in sentence-transformers: the mean, normalized. */
export const DEFAULT_EMBEDDING = { pooling: "mean", normalize: true } as const satisfies EmbeddingConfig;
/** The similarity functions that a model may name. */
export const SIMILARITIES = ["cosine", "dot", "euclidean", "manhattan"] as const;
const LAYER_ACTIVATIONS = ["identity", "tanh", "relu", "sigmoid", "gelu", "silu"] as const;
/** Maximum number of layers after pooling. The limits keep a hostile file from causing large allocations. */
export const MAX_LAYERS = 16;
const MAX_PROMPTS = 1000;
/**
 * The allowed names of prompts, for messages. An assignment to the key `__proto__` would set the object's prototype, and
 * the prompt would be lost.
 */
export const NOT_A_PROMPT = 'names other than "__proto__"';

const size = whole(1, 2 ** 20);
const mode = z.enum(POOLING_MODES);
const layer = z.discriminatedUnion(
  "type",
  [
    z.strictObject({
      type: z.literal("dense"),
      outFeatures: size,
      bias: flag(),
      activation: z.enum(LAYER_ACTIVATIONS),
    }),
    z.strictObject({ type: z.literal("layer_norm") }),
  ],
  { error: ({ code }) => (code === "invalid_union" ? "dense or layer_norm" : "an object") },
);

/** Whether the pooling modes are distinct. */
export function areDistinct(modes: readonly unknown[]): boolean {
  return new Set(modes).size === modes.length;
}

/** The schema of an `EmbeddingConfig`. */
export const embeddingSchema = z.strictObject({
  pooling: z
    .union([mode, z.array(mode).min(2).refine(areDistinct, "distinct modes")], {
      error: `one of ${POOLING_MODES.join(", ")}, or several of them`,
    })
    .default("mean"),
  normalize: flag().default(true),
  layers: z.array(layer).min(1).max(MAX_LAYERS).optional(),
  includePrompt: flag().optional(),
  prompts: z
    .custom<Record<string, string>>((v) => !isObject(v) || !Object.hasOwn(v, "__proto__"), NOT_A_PROMPT)
    .pipe(
      z
        .record(z.string().max(200), z.string().max(65536))
        .refine((prompts) => Object.keys(prompts).length <= MAX_PROMPTS, `at most ${MAX_PROMPTS} prompts`),
    )
    .optional(),
  defaultPromptName: z.string().max(200).optional(),
  similarity: z.enum(SIMILARITIES).optional(),
  truncateDim: size.optional(),
  maxSeqLength: size.optional(),
  lowercase: flag().optional(),
});

/** Returns the pooling modes as a list. */
export function poolingModes(pooling: EmbeddingConfig["pooling"]): readonly (typeof POOLING_MODES)[number][] {
  return typeof pooling === "string" ? [pooling] : pooling;
}

/** Returns the width of the pooled vector, followed by the width after each layer. */
export function embeddingWidths({ hiddenSize, embedding }: Pick<ModelConfig, "hiddenSize" | "embedding">): number[] {
  const widths = [hiddenSize * poolingModes(embedding?.pooling ?? "mean").length];
  for (const layer of embedding?.layers ?? []) widths.push(layer.type === "dense" ? layer.outFeatures : widths.at(-1)!);
  return widths;
}

/** Returns the number of dimensions of a text's vector. */
export function embeddingWidth(config: Pick<ModelConfig, "hiddenSize" | "embedding">): number {
  return Math.min(config.embedding?.truncateDim ?? Number.POSITIVE_INFINITY, embeddingWidths(config).at(-1)!);
}

/** Checks constraints between fields. @throws the error that `fail` returns */
export function checkEmbedding(config: ModelConfig, fail: (message: string) => HeddleError): void {
  const { embedding } = config;
  if (!embedding) return;
  const { prompts = {}, defaultPromptName: name, truncateDim } = embedding;
  if (name !== undefined && !Object.hasOwn(prompts, name)) {
    const known = firstOf(Object.keys(prompts), 20) || "none";
    throw fail(`embedding.defaultPromptName: expected one of the prompts (${known}), got ${describe(name)}`);
  }
  const width = embeddingWidths(config).at(-1)!;
  if (truncateDim !== undefined && truncateDim > width)
    throw fail(`embedding.truncateDim: expected at most ${width}, the width of vectors, got ${truncateDim}`);
}
