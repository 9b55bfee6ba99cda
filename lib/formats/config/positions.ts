// The first row of a learned position table, and the layers with RoPE.
import type { ModelConfig } from "./config-types.ts";
import { formatOf } from "./families.ts";

/**
 * The row of its table that a text's first token reads: 0, but for MPNet's 2, and for RoBERTa's kin, whose rows up to the padding's id are the padding's
 * (transformers' create_position_ids_from_input_ids). Texts have no padding here, so that all their tokens count.
 */
export function firstPosition({ modelType, padTokenId }: Pick<ModelConfig, "modelType" | "padTokenId">): number {
  const { positions } = formatOf(modelType);
  if (positions === "from 2") return 2;
  return positions === "behind padding" ? (padTokenId ?? 0) + 1 : 0;
}

/** `noRopeLayers` where positions rotate in all layers but every n-th. */
export function unrotatedEvery(n: number, layers: number): number[] {
  return Array.from({ length: layers }, (_, i) => ((i + 1) % n === 0 ? 0 : 1));
}
