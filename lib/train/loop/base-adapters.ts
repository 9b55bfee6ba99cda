// Handles the adapters that an earlier stage left on the model.
import { HeddleError } from "../../core/errors.ts";
import { isFloat } from "../../graph/index.ts";
import { type Adapter, adapterTensors } from "../../models/adapters/adapters.ts";
import { linearLayers } from "../../models/adapters/linear-layers.ts";
import { type LoraConfig, targetModules } from "../../models/adapters/lora.ts";
import { savedModules } from "../../models/adapters/tied-head.ts";
import { headNames } from "../../models/heads.ts";
import type { Model } from "../../models/model.ts";
import { claimWeights } from "../../models/model-claims.ts";

/**
 * Prepares the adapters of an earlier stage for a training stage. Without `lora`, merges the active adapters into the
 * weights, because the stage then saves only weights, and these must include the adapters' effect. With `lora`,
 * activates the adapter named `adapter` (default: `default`), if the model has it. Everything computed before the first
 * step then uses the model to be trained.
 * @throws HeddleError INVALID_ARGUMENT if an adapter is applied to quantized weights, which cannot absorb it; if
 * another run trains the adapter or a merge uses it; or if `lora` contradicts an existing adapter
 */
export async function settleAdapters(
  model: Model,
  { lora, adapter: given }: { lora?: Partial<LoraConfig> | undefined; adapter?: string | undefined },
): Promise<void> {
  // Only stages that support `lora` pass an adapter name.
  const trainsAdapters = given !== undefined;
  const name = given ?? "default";
  if (lora) {
    adapterThere(model, name, lora);
    return;
  }
  const adapters = model.adaptersOf();
  for (const { name, layers } of adapters) {
    const quantized = [...layers.keys()].find((layer) => {
      const { dtype, scale } = model.asStored(`${layer}.weight`);
      return !isFloat(dtype) || scale !== undefined;
    });
    if (quantized === undefined) continue;
    const merging = `base.model.mergeAdapter(${JSON.stringify(name)}) first, which makes these weights f32`;
    const over = `${quantized}.weight in ${model.asStored(`${quantized}.weight`).dtype}`;
    throw new HeddleError(
      "INVALID_ARGUMENT",
      trainsAdapters
        ? `lora: adapter ${name} cannot be merged into quantized weights (${over}): pass \`lora: {}\` to train it further, or call ${merging}`
        : `model: adapter ${name} cannot be merged into quantized weights (${over}): call ${merging}`,
    );
  }
  const release = claimWeights(model, adapters.flatMap(adapterTensors), "merge");
  try {
    await model.absorbAdapters();
  } finally {
    release();
  }
}

/**
 * Activates and returns the adapter of this name, if the model has it.
 * @throws HeddleError INVALID_ARGUMENT if options contradict it
 */
export function adapterThere(model: Model, name: string, lora: Partial<LoraConfig>): Adapter | undefined {
  const known = model.adapters.get(name);
  if (!known) return undefined;
  needSameAdapter(model, known, lora);
  if (!model.activeAdapters.includes(name)) model.setActiveAdapters([...model.activeAdapters, name]);
  return known;
}

/**
 * Throws if options contradict an existing adapter, which is trained further with its configuration. Options that are
 * not given are not checked.
 * @throws HeddleError INVALID_ARGUMENT
 */
function needSameAdapter(model: Model, { name, config, layers, saved }: Adapter, lora: Partial<LoraConfig>): void {
  const refuse = (option: string, expected: unknown, got: unknown) => {
    const text = (value: unknown) => (Array.isArray(value) ? value.join(", ") || "none" : String(value));
    const fresh = `(of adapter ${JSON.stringify(name)}, which is trained further; to train a new one, give \`adapter\` another name)`;
    return new HeddleError("INVALID_ARGUMENT", `lora.${option}: expected ${text(expected)} ${fresh}, got ${text(got)}`);
  };
  for (const option of ["r", "alpha", "dropout", "useRslora"] as const)
    if (lora[option] !== undefined && lora[option] !== config[option])
      throw refuse(option, config[option], lora[option]);
  // The same layers can be named by suffix, or all at once. So compare the layers, not their names.
  const needSame = (option: "targetModules" | "modulesToSave", wanted: readonly string[], own: readonly string[]) => {
    const differs = wanted.length !== own.length || wanted.some((module) => !own.includes(module));
    if (differs) throw refuse(option, config[option], lora[option]);
  };
  if (lora.targetModules !== undefined) {
    const all = [...linearLayers(model).keys()];
    const wanted =
      lora.targetModules === "all-linear" ? all : targetModules(all, lora.targetModules, "lora.targetModules");
    needSame("targetModules", wanted, [...layers.keys()]);
  }
  if (lora.modulesToSave === undefined) return;
  const heads = new Set(headNames(model.config)); // heads trained with an adapter are saved with it, without being listed
  const kept = [...saved.keys()]
    .filter((weight) => !heads.has(weight))
    .map((weight) => weight.replace(/\.weight$/, ""));
  needSame("modulesToSave", savedModules(model, lora.modulesToSave), kept);
}
