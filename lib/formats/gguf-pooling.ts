// How texts become vectors, in GGUF metadata: `<arch>.pooling_type`, numbered as in llama.cpp.
import { HeddleError } from "../errors.ts";
import type { EmbeddingConfig, ModelConfig } from "./config.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import type { GgufValue } from "./gguf-types.ts";

/** By number. "rank" is a classifier over the first token or the mean; "none" leaves every token its own vector. */
const POOLINGS = ["none", "mean", "first", "last", "rank"] as const;
type Pooling = (typeof POOLINGS)[number];

/** What the file says; undefined where it says nothing. @throws HeddleError INVALID_FILE, UNSUPPORTED */
export function poolingFromGguf(meta: GgufMetadata, arch: string): Pooling | undefined {
  const key = `${arch}.pooling_type`;
  const number = meta.number(key);
  if (number === undefined || number === -1) return undefined;
  const pooling = POOLINGS[number];
  if (pooling !== undefined) return pooling;
  const known = POOLINGS.map((name, i) => `${i} (${name})`).join(", ");
  throw new HeddleError("UNSUPPORTED", `${meta.path}: ${key}: expected one of ${known}, got ${number}`);
}

/** A pooling as a part of a configuration. No key says whether vectors are of length 1; programs over llama.cpp make them so. */
export function embeddingOf(pooling: Pooling | undefined): { embedding?: EmbeddingConfig } {
  if (pooling === undefined || pooling === "none" || pooling === "rank") return {};
  return { embedding: { pooling, normalize: true } };
}

/** `pooling_type` of a configuration; undefined where it has none. @throws HeddleError UNSUPPORTED for what it has no number for */
export function poolingToGguf({ embedding, classifier }: ModelConfig): GgufValue | undefined {
  const refused = (what: string) =>
    new HeddleError("UNSUPPORTED", `embedding: ${what} has no place in GGUF, expected mean, first or last alone`);
  if (embedding?.layers)
    throw refused(`a layer behind pooling (${embedding.layers.map(({ type }) => type).join(", ")})`);
  const pooling = classifier ? "rank" : embedding?.pooling;
  if (pooling === undefined) return undefined;
  const value = (POOLINGS as readonly unknown[]).indexOf(pooling);
  if (value < 0) throw refused(`pooling ${String(pooling)}`);
  return { type: "u32", value };
}

/** Whether a configuration says more of embeddings than `pooling_type`: what travels under heddle's own key. */
export function embedsOtherwise({ embedding, classifier }: ModelConfig): boolean {
  if (!embedding) return false;
  // Whose pooling type is its own.
  if (classifier) return true;
  const { pooling: _, normalize, ...more } = embedding;
  return !normalize || Object.values(more).some((value) => value !== undefined);
}
