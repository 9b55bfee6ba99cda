// The families that there are: those of the package, and those that programs add.
import type { ModelConfig } from "../formats/config/config.ts";
import { formatOf, setFormat } from "../formats/config/families.ts";
import { decoderHead } from "./decoder-weights.ts";
import { BUILT_IN } from "./families/index.ts";
import type { Family, FamilyDefinition, OwnConfig } from "./family.ts";
import { ropeConstants } from "./rope-frequencies.ts";

/** The families that come with the package. @useDeclaredType */
export type BuiltInModelType = keyof typeof BUILT_IN;
/** Which family a model is of, as `model_type` says it in config.json: one of these, or one that `registerFamily` has added. */
export type ModelType = BuiltInModelType | (string & {});

const families = new Map<string, Family>();

/** Adds a family. Its name is free: `registerFamily` looks. */
export function addFamily(definition: FamilyDefinition, builtIn = false): void {
  const {
    modelType,
    architecture,
    weights,
    forward,
    head = decoderHead,
    constants = ropeConstants,
    encoder,
  } = definition;
  setFormat(modelType, definition, builtIn);
  // Configurations of a family always have all values in `own`.
  const own = <R>(of: (config: OwnConfig) => R) => of as (config: ModelConfig) => R;
  families.set(modelType, {
    architecture,
    weights: own(weights),
    forward: forward as Family["forward"],
    head: own((config) => head(config)),
    constants: own(constants),
    encoder,
  });
}

/** The family of a `model_type`. @throws HeddleError UNSUPPORTED naming the nearest */
export function familyOf(modelType: string): Family {
  formatOf(modelType);
  return families.get(modelType)!;
}

for (const family of Object.values(BUILT_IN) as unknown as FamilyDefinition[]) addFamily(family, true);
