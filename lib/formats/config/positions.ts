// The first row of a learned position table, and the layers with RoPE.
import type { ModelConfig } from "./config-types.ts";
import { formatOf } from "./families.ts";

/**
 * Returns the row of the position table that a text's first token reads. It is 0 except for MPNet (2) and RoBERTa's
 * families, where rows up to the padding id are for padding (transformers' create_position_ids_from_input_ids). Texts
 * have no padding here, so every token takes a row.
 */
export function firstPosition({ modelType, padTokenId }: Pick<ModelConfig, "modelType" | "padTokenId">): number {
  const { positions } = formatOf(modelType);
  if (positions === "from 2") return 2;
  return positions === "behind padding" ? (padTokenId ?? 0) + 1 : 0;
}

/** Returns `noRopeLayers` for a model with RoPE in all layers except every n-th. */
export function unrotatedEvery(n: number, layers: number): number[] {
  return Array.from({ length: layers }, (_, i) => ((i + 1) % n === 0 ? 0 : 1));
}
