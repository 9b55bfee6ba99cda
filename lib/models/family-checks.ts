// The checks of every family's definition, built-in or registered, and of what its functions return.

import { callFormatNames } from "../answers/call-formats.ts";
import { checkParts, type PartKind } from "../core/checked-parts.ts";
import { describe, invalidArgument } from "../core/errors.ts";
import { isWhole } from "../core/is-whole.ts";
import { nearest } from "../core/nearest-name.ts";
import { isCustomValue, modelConfigSchema } from "../formats/config/config.ts";
import { snakeCase } from "../formats/config/config-json.ts";
import { isModelType } from "../formats/config/families.ts";
import type { GgufFormat } from "../formats/config/family-format.ts";
import type { WindowRule } from "../formats/config/windows.ts";
import { familyOfArchitecture } from "../formats/gguf/gguf-names.ts";
import type { FamilyDefinition, Head, WeightSpec } from "./family.ts";

const NAMES: Record<keyof FamilyDefinition, PartKind> = {
  modelType: "string",
  architecture: "string",
  defaults: "object",
  fileDefaults: "object",
  derive: "function",
  keys: "object",
  otherKeys: "object",
  toJson: "function",
  mustBe: "object",
  fixed: "object",
  check: "function",
  custom: "object",
  windows: "object",
  windowsUnscaled: "boolean",
  noRopeEvery: "number",
  ropeAlpha: "boolean",
  originalContextBeside: "boolean",
  bidirectional: "object",
  positions: ["from 0", "from 2", "behind padding"],
  layerKind: "string",
  gateUp: "string",
  activationKey: "string",
  layerNorm: "boolean",
  ungated: "boolean",
  wholeHeads: "boolean",
  headNorms: "object",
  longestKey: "string",
  headName: "string",
  classifierNames: "object",
  trunk: "object",
  unread: "function",
  encoder: "object",
  calls: "array",
  experts: "object",
  partOf: "object",
  gguf: "object",
  weights: "function",
  forward: "function",
  head: "function",
  constants: "function",
};
const GGUF: Record<keyof GgufFormat, PartKind> = {
  architecture: "string",
  sharedWhen: ["windows", "experts", "no segments", "named"],
  names: "object",
  complete: "boolean",
  layout: ["rope", "qkv", "norm", "transpose"],
  keys: "object",
  defaults: "function",
  byTensors: "function",
  yarn: "object",
  classifier: "object",
  llamaCpp: "object",
};
const WINDOWS: readonly WindowRule["kind"][] = ["none", "all", "flag", "unrotated", "pattern", "global"];
const NEEDED: readonly (keyof FamilyDefinition)[] = ["modelType", "architecture", "weights", "forward"];
const INITS: readonly WeightSpec["init"][] = ["normal", "residual", "ones", "zeros"];

/** Checks a definition that `registerFamily` gets. @throws HeddleError INVALID_ARGUMENT */
export function checkDefinition(definition: FamilyDefinition): void {
  checkParts("family", definition, NAMES, NEEDED);
  const { modelType, custom = {}, gguf, keys = {}, windows } = definition;
  if (isModelType(modelType)) throw invalidArgument("family.modelType", "a name that no family has yet", modelType);
  for (const name of Object.keys(definition.defaults ?? {})) checkField("family.defaults", name);
  for (const [key, name] of Object.entries(keys)) checkField(`family.keys.${key}`, name);
  for (const name of definition.calls ?? [])
    if (!callFormatNames.includes(name))
      throw invalidArgument("family.calls", `one of ${callFormatNames.join(", ")}`, name);
  if (windows && !WINDOWS.includes(windows.kind))
    throw invalidArgument("family.windows.kind", WINDOWS.join(", "), windows.kind);
  for (const [name, value] of Object.entries(custom)) {
    if (!/^[a-z][A-Za-z0-9]*$/.test(name)) throw invalidArgument("family.custom", "names in camelCase", name);
    if (Object.hasOwn(keys, snakeCase(name)))
      throw invalidArgument(
        `family.custom.${name}`,
        `a name whose key of config.json is not in \`keys\``,
        snakeCase(name),
      );
    if (!isCustomValue(value))
      throw invalidArgument(
        `family.custom.${name}`,
        "a boolean, a finite number, a text, an array of numbers or null",
        value,
      );
  }
  if (!gguf) return;
  checkParts("family.gguf", gguf, GGUF, ["architecture"]);
  const { architecture, names = {}, sharedWhen } = gguf;
  for (const [key, name] of Object.entries(gguf.keys ?? {}))
    if (!Object.keys(custom).some((value) => name === `custom.${value}`)) checkField(`family.gguf.keys.${key}`, name);
  if (!/^[a-z0-9][a-z0-9_.-]*$/.test(architecture))
    throw invalidArgument("family.gguf.architecture", "a lower-case name", architecture);
  if (familyOfArchitecture(architecture) !== undefined && sharedWhen === undefined)
    throw invalidArgument("family.gguf.architecture", "a name that no family has yet", architecture);
  for (const [from, to] of Object.entries(names)) {
    if (typeof to !== "string") throw invalidArgument(`family.gguf.names: ${from}`, "a name", to);
    if (from.includes("{layer}") !== to.includes("{layer}"))
      throw invalidArgument(`family.gguf.names: ${from}`, "{layer} in both names or in neither", to);
  }
}

const FIELDS = Object.keys(modelConfigSchema.shape).filter((field) => field !== "modelType" && field !== "custom");

/** Checks the name of a configuration field. A misspelt name would be ignored without an error. */
function checkField(where: string, name: unknown): void {
  if (typeof name !== "string") throw invalidArgument(where, "a field of configurations", name);
  if (FIELDS.includes(name)) return;
  const near = nearest(name, FIELDS);
  throw invalidArgument(where, `a field of configurations${near ? ` (nearest: ${near})` : ""}`, name);
}

/** Checks the result of a family's `head`, to name the family in the error. */
export function checkedHead(modelType: string, head: unknown): Head {
  checkParts(
    `${modelType}.head()`,
    head as Head,
    { weight: "string", bias: "string", softcap: "number", scale: "number" },
    ["weight"],
  );
  return head as Head;
}

/** Checks the result of a family's `weights`, to name the family and the weight in the error. */
export function checkedWeights(modelType: string, weights: unknown): Map<string, WeightSpec> {
  if (!(weights instanceof Map)) throw invalidArgument(`${modelType}.weights`, "a Map of names and shapes", weights);
  for (const [name, spec] of weights as Map<unknown, Partial<WeightSpec> | undefined>) {
    const { shape, init } = spec ?? {};
    const sound = Array.isArray(shape) && shape.length > 0 && shape.every((d) => isWhole(d, 1));
    if (typeof name !== "string" || !sound)
      throw invalidArgument(
        `${modelType}.weights: ${describe(name)}: shape`,
        "an array of whole numbers above 0",
        shape,
      );
    if (!INITS.includes(init!))
      throw invalidArgument(`${modelType}.weights: ${describe(name)}: init`, INITS.join(", "), init);
  }
  return weights as Map<string, WeightSpec>;
}
