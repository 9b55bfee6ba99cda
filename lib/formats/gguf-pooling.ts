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

/** `pooling_type` of a configuration; undefined where it has none. */
export function poolingToGguf({ embedding, classifier }: ModelConfig): GgufValue | undefined {
  const pooling = classifier ? "rank" : embedding?.pooling;
  return pooling && { type: "u32", value: POOLINGS.indexOf(pooling) };
}
