// The table of families: built-in ones, and those that programs register.
import type { ModelConfig } from "../formats/config/config.ts";
import { formatOf, setFormat } from "../formats/config/families.ts";
import { decoderHead } from "./decoder-weights.ts";
import { BUILT_IN } from "./families/index.ts";
import type { CustomConfig, Family, FamilyDefinition } from "./family.ts";
import { ropeConstants } from "./rope-frequencies.ts";

/** Model types of the built-in families. @useDeclaredType */
export type BuiltInModelType = keyof typeof BUILT_IN;
/** A model's family, as in `model_type` of config.json: a built-in one, or one added by `registerFamily`. */
export type ModelType = BuiltInModelType | (string & {});

const families = new Map<string, Family>();

/** Adds a family. `registerFamily` has checked that the name is free. */
export function addFamily(definition: FamilyDefinition, builtIn = false): void {
  const {
    modelType,
    architecture,
    weights,
    forward,
    head = decoderHead,
    constants = ropeConstants,
    encoder,
    calls = [],
  } = definition;
  setFormat(modelType, definition, builtIn);
  // In configurations that a family receives, `custom` always has all values.
  const complete = <R>(of: (config: CustomConfig) => R) => of as (config: ModelConfig) => R;
  families.set(modelType, {
    architecture,
    weights: complete(weights),
    forward: forward as Family["forward"],
    head: complete((config) => head(config)),
    constants: complete(constants),
    encoder,
    calls,
  });
}

/** Returns the family of a `model_type`. @throws HeddleError UNSUPPORTED with the nearest known name */
export function familyOf(modelType: string): Family {
  formatOf(modelType);
  return families.get(modelType)!;
}

for (const family of Object.values(BUILT_IN) as unknown as FamilyDefinition[]) addFamily(family, true);
