// What a stage of the weights themselves does with the adapters that an earlier stage left on the model.
import { HeddleError } from "../errors.ts";
import { isFloat } from "../graph/index.ts";
import { adapterTensors } from "../models/adapters.ts";
import type { Model } from "../models/model.ts";
import { claimWeights } from "./exclusive.ts";

/**
 * Without `lora`, merges the active adapters into the weights: what such a stage saves are the weights alone, and they must compute
 * what was trained. With `lora` nothing changes.
 * @throws HeddleError INVALID_ARGUMENT where an adapter lies over quantised weights, which blocks cannot take in, or another run trains it
 */
export async function absorbAdapters(model: Model, { lora }: { lora?: unknown }): Promise<void> {
  if (lora) return;
  const adapters = model.adaptersOf();
  for (const { name, layers } of adapters) {
    const quantised = [...layers.keys()].find((layer) => {
      const { dtype, scale } = model.weight(`${layer}.weight`);
      return !isFloat(dtype) || scale !== undefined;
    });
    if (quantised === undefined) continue;
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `lora: expected options (\`lora: {}\` trains adapter ${name} further), or model.mergeAdapter(${JSON.stringify(name)}) before, which makes the weights under it f32, got none over ${quantised}.weight in ${model.weight(`${quantised}.weight`).dtype}`,
    );
  }
  const release = claimWeights(model, adapters.flatMap(adapterTensors));
  try {
    await model.absorbAdapters();
  } finally {
    release();
  }
}
