// The table of families: built-in ones, and those that programs register.
import { formatOf, setFormat } from "../formats/config/families.ts";
import type { CustomValue, CustomValues } from "../formats/config/family-format.ts";
import { decoderHead } from "./decoder-weights.ts";
import { BUILT_IN } from "./families/index.ts";
import type { CustomConfig, Family, FamilyDefinition } from "./family.ts";
import { checkDefinition, checkedHead, checkedWeights } from "./family-checks.ts";
import { ropeConstants } from "./rope-frequencies.ts";

/** Model types of the built-in families. @useDeclaredType */
export type BuiltInModelType = keyof typeof BUILT_IN;
/** A model's family, as in `model_type` of config.json: a built-in one, or one added by `registerFamily`. */
export type ModelType = BuiltInModelType | (string & {});

const families = new Map<string, Family>();

/**
 * Adds a model family to this process: `createModel`, `LanguageModel.load`, training, saving and `convertModel` then
 * support it like the built-in ones. Call it once, before the first model of the family.
 *
 * @throws HeddleError INVALID_ARGUMENT for an incomplete definition, and for a name that is taken
 * @example
 * registerFamily({ modelType: "mine", architecture: "MineForCausalLM", custom: { useParallelResidual: false }, weights, forward });
 * const base = createModel({ modelType: "mine", hiddenSize: 64, numHiddenLayers: 2, custom: { useParallelResidual: true } });
 * @experimental
 */
export function registerFamily<Values extends CustomValues = Record<never, CustomValue>>(
  definition: FamilyDefinition<Values>,
): void {
  addFamily(definition, false);
}

/** Returns the family of a `model_type`. @throws HeddleError UNSUPPORTED with the nearest known name */
export function familyOf(modelType: string): Family {
  formatOf(modelType);
  return families.get(modelType)!;
}

// In configurations that a family's functions receive, `custom` always has all values. So they are CustomConfig.
function addFamily(definition: FamilyDefinition, builtIn: boolean): void {
  checkDefinition(definition);
  const { modelType, architecture, weights, forward, head = decoderHead, constants = ropeConstants } = definition;
  const { encoder, calls = [] } = definition;
  setFormat(modelType, definition, builtIn);
  families.set(modelType, {
    architecture,
    weights: (config: CustomConfig) => checkedWeights(modelType, weights(config)),
    forward,
    head: (config: CustomConfig) => checkedHead(modelType, head(config)),
    constants,
    encoder,
    calls,
  });
}

for (const family of Object.values(BUILT_IN)) addFamily(family, true);
