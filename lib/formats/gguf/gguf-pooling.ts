// Pooling in GGUF: `<arch>.pooling_type` with llama.cpp's numbers, and EmbeddingGemma's two layers after it.
import { HeddleError } from "../../core/errors.ts";
import type { EmbeddingConfig, ModelConfig } from "../config/config.ts";
import { formatOf } from "../config/families.ts";
import { DEFAULT_EMBEDDING, embeddingWidths } from "../sentence-transformers/embedding-schema.ts";
import type { WeightSource } from "../weights.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import { ggufArchitecture } from "./gguf-names.ts";
import type { GgufValue } from "./gguf-types.ts";

/**
 * Pooling types by llama.cpp's number. "rank" is a classifier on the first token or on the mean. "none" means one vector
 * per token.
 */
const POOLINGS = ["none", "mean", "first", "last", "rank"] as const;
type Pooling = (typeof POOLINGS)[number];

/** The key that marks a `pooling_type` from addDefaultPooling. Such a model does not name its pooling. */
const BY_DEFAULT = "heddle.pooling_by_default";

/** Returns the pooling of the file, or undefined. @throws HeddleError INVALID_FILE, UNSUPPORTED */
export function poolingFromGguf(meta: GgufMetadata, arch: string): Pooling | undefined {
  const key = `${arch}.pooling_type`;
  const number = meta.number(key);
  if (number === undefined || number === -1 || meta.boolean(BY_DEFAULT)) return undefined;
  const pooling = POOLINGS[number];
  if (pooling !== undefined) return pooling;
  const known = POOLINGS.map((name, i) => `${i} (${name})`).join(", ");
  throw new HeddleError("UNSUPPORTED", `${meta.path}: ${key}: expected one of ${known}, got ${number}`);
}

/**
 * Returns the embedding configuration of a pooling. `normalize` is true, because GGUF has no key for it, and programs
 * that use llama.cpp normalize vectors.
 */
export function embeddingOf(pooling: Pooling | undefined): { embedding?: EmbeddingConfig } {
  if (pooling === undefined || pooling === "none" || pooling === "rank") return {};
  return { embedding: { pooling, normalize: true } };
}

/**
 * The architecture that has dense layers after pooling: two matrices, modules 2 and 3 in sentence-transformers'
 * folders.
 */
const LAYERED = "gemma-embedding";
const DENSE = ["dense_2", "dense_3"] as const;

/**
 * Adds the dense layers of an EmbeddingGemma file, if it has them, to the embedding configuration. With layers, the default pooling is
 * the mean.
 * @throws HeddleError INVALID_FILE
 */
export function layeredEmbedding(
  source: WeightSource,
  arch: string,
  embedding: EmbeddingConfig | undefined,
): { embedding?: EmbeddingConfig } {
  const found = arch === LAYERED ? DENSE.filter((name) => source.has(`${name}.weight`)) : [];
  if (found.length === 0) return embedding ? { embedding } : {};
  const missing = DENSE.find((name) => !found.includes(name));
  if (missing !== undefined)
    throw new HeddleError(
      "INVALID_FILE",
      `${source.path}: expected ${missing}.weight as well as ${found[0]}.weight, got none`,
    );
  const layers = DENSE.map((name) => {
    const [outFeatures = 0] = source.info(`${name}.weight`).shape;
    return { type: "dense", outFeatures, bias: false, activation: "identity" } as const;
  });
  return { embedding: { pooling: "mean", normalize: true, ...embedding, layers } };
}

/**
 * Returns llama.cpp's keys for dense layers after pooling.
 * @throws HeddleError UNSUPPORTED for layers that GGUF cannot hold
 */
export function layersToGguf(config: ModelConfig): [key: string, value: GgufValue][] {
  const { layers } = config.embedding ?? {};
  if (!layers) return [];
  const widths = embeddingWidths(config);
  const plain = layers.every((layer) => layer.type === "dense" && !layer.bias && layer.activation === "identity");
  const fits = layers.length === DENSE.length && widths[0] === config.hiddenSize && widths[2] === config.hiddenSize;
  const arch = ggufArchitecture(config);
  if (arch !== LAYERED || !plain || !fits)
    throw refused(
      `a layer after pooling (${layers.map(({ type }) => type).join(", ")})`,
      `no layers, or for ${LAYERED} two dense layers of hidden_size without bias and activation`,
    );
  return DENSE.flatMap((name, i) => [
    [`${arch}.${name}_feat_in`, { type: "u32", value: widths[i]! }],
    [`${arch}.${name}_feat_out`, { type: "u32", value: widths[i + 1]! }],
  ]);
}

const refused = (what: string, expected: string) =>
  new HeddleError("UNSUPPORTED", `embedding: ${what} cannot be stored in GGUF, expected ${expected}`);

/**
 * Returns `pooling_type` of a configuration, or undefined if it has none.
 * @throws HeddleError UNSUPPORTED for a pooling without a number
 */
export function poolingToGguf({ embedding, classifier }: ModelConfig): GgufValue | undefined {
  const pooling = classifier ? "rank" : embedding?.pooling;
  if (pooling === undefined) return undefined;
  const value = (POOLINGS as readonly unknown[]).indexOf(pooling);
  if (value < 0) throw refused(`pooling ${String(pooling)}`, "mean, first or last");
  return { type: "u32", value };
}

/**
 * Adds heddle's default `pooling_type` for an encoder that does not name its pooling. Without the key llama.cpp would
 * not pool.
 * @returns whether the key was added
 */
export function addDefaultPooling(metadata: Map<string, GgufValue>, config: ModelConfig): boolean {
  const { modelType, embedding, classifier, useBidirectionalAttention } = config;
  const isBidirectional = formatOf(modelType).encoder !== undefined || useBidirectionalAttention === true;
  if (!isBidirectional || embedding || classifier) return false;
  const key = `${metadata.get("general.architecture")?.value}.pooling_type`;
  const declared = metadata.get(key)?.value;
  if (declared !== undefined && declared !== -1) return false;
  metadata.set(key, { type: "u32", value: POOLINGS.indexOf(DEFAULT_EMBEDDING.pooling) });
  metadata.set(BY_DEFAULT, { type: "bool", value: true });
  return true;
}

/**
 * Whether a configuration has embedding settings that `pooling_type` cannot express. heddle stores such settings in
 * `heddle.config`.
 */
export function embedsOtherwise({ embedding, classifier }: ModelConfig): boolean {
  if (!embedding) return false;
  // A classifier's pooling_type is "rank", so it cannot hold the embedding's pooling.
  if (classifier) return true;
  const { pooling: _, normalize, ...more } = embedding;
  return !normalize || Object.values(more).some((value) => value !== undefined);
}
