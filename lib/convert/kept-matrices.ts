// Quantized matrices that a conversion copies from the file of a model's base.
import { splitGateUp } from "../formats/gate-up.ts";
import { layoutChange } from "../formats/gguf/gguf-names.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import type { StoredTensor, WeightSource } from "../formats/weights.ts";
import { isQuantized } from "../graph/index.ts";

/** The base of a model with changed weights. */
export interface Base {
  files: ModelFiles;
  /** Names of the weights that differ from the base's. */
  changed: ReadonlySet<string>;
}

/** The unchanged weights of a base, with its configuration. */
interface Kept {
  weights: WeightSource;
  config: ModelFiles["config"];
}

/**
 * Returns the unchanged weights of a base, or undefined if the base is not a GGUF file. In the folder of the changed model, the base's
 * quantized matrices are stored as f32. Quantizing them again would not give the same blocks.
 */
export function keptWeights({ files: { weights, config }, changed }: Base): Kept | undefined {
  if (weights.format !== "gguf") return undefined;
  const names = weights.names().filter((name) => !changed.has(name));
  const kept = new Set(names);
  const unchanged = { ...weights, names: () => names, has: (name: string) => kept.has(name) };
  return { weights: splitGateUp(unchanged, config), config };
}

/**
 * Returns the base's tensor `name` if it is a quantized matrix of this shape, in the layout that the output needs. If this returns undefined,
 * the conversion takes the input's tensor.
 */
export function keptMatrix(
  name: string,
  shape: readonly number[],
  config: ModelFiles["config"],
  kept: Kept,
): StoredTensor | undefined {
  if (!kept.weights.has(name)) return undefined;
  const { dtype, shape: own } = kept.weights.info(name);
  if (dtype === undefined || !isQuantized(dtype) || String(own) !== String(shape)) return undefined;
  const layouts = [kept.config, config].map((of) => JSON.stringify(layoutChange(name, of)));
  return layouts[0] === layouts[1] ? kept.weights.tensor(name) : undefined;
}
