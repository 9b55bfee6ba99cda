// Families that a program brings: what registerFamily takes, and what their forward functions are helped by.

import { checkParts, type PartKind } from "../core/checked-parts.ts";
import { checkObject, describe, invalidArgument } from "../core/errors.ts";
import { nearest } from "../core/nearest-name.ts";
import { isOwnValue, type ModelConfig, modelConfigSchema } from "../formats/config/config.ts";
import { snakeCase } from "../formats/config/config-json.ts";
import { isModelType, setFormat } from "../formats/config/families.ts";
import type { FamilyFormat, OwnValue, OwnValues } from "../formats/config/family-format.ts";
import { familyOfArchitecture } from "../formats/gguf/gguf-names.ts";
import type { Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import { rotate } from "../nn/rotary.ts";
import { decoderHead } from "./decoder-weights.ts";
import type { Family, Head, WeightSpec } from "./family.ts";
import { addFamily } from "./registry.ts";
import { ropeConstants, rotaryOf } from "./rope-frequencies.ts";

/** Widens the type of a custom value's default: `false` becomes boolean, and so on. */
export type WidenedValue<V> = V extends boolean
  ? boolean
  : V extends number
    ? number
    : V extends string
      ? string
      : readonly number[];

/** The configuration that a registered family is given: its own values in `own`, every one of them there. */
export type OwnConfig<Own extends OwnValues = OwnValues> = Omit<ModelConfig, "own"> & {
  readonly own: { readonly [Name in keyof Own]: WidenedValue<Own[Name]> };
};

/**
 * How a registered family is written to and read from GGUF files. The whole configuration is included, so that this package can read it
 * back. Whether llama.cpp can use the file depends on its support for the architecture's name.
 */
export interface OwnGguf {
  /** `general.architecture`: a name that no other family has. */
  architecture: string;
  /**
   * Maps transformers' tensor names to GGUF names, both without `.weight` and `.bias`. `{layer}` is the layer's number. All other
   * tensors use Llama's names.
   */
  names?: Readonly<Record<string, string>> | undefined;
}

/** A model family of a program's own: what its files say, its weights, and its forward pass in functions of `heddle/graph`. @experimental */
export interface FamilyDefinition<Own extends OwnValues = OwnValues> {
  /** `model_type` of config.json. */
  modelType: string;
  /** The class that transformers has for it, such as `StableLmForCausalLM`: `architectures` of config.json. */
  architecture: string;
  /** Defaults for values that neither config.json nor the caller gives. */
  defaults?: Partial<Omit<ModelConfig, "modelType" | "own">> | undefined;
  /** Keys of its config.json that have another name here, such as `{ layer_norm_eps: "layerNormEpsilon" }`. */
  keys?: Readonly<Record<string, Exclude<keyof ModelConfig, "modelType" | "own">>> | undefined;
  /**
   * Values that no field of ModelConfig says, in camelCase, with their defaults: `{ useParallelResidual: false }` is
   * `use_parallel_residual` in config.json, `own: { useParallelResidual: true }` in createModel and `config.own` in the functions below.
   */
  own?: Own | undefined;
  /** Whether `sliding_window` and `layer_types` of config.json are minded. The forward pass then gives `attend` each layer's window. */
  slidingWindow?: boolean | undefined;
  /** Where checkpoints without a head leave out a prefix: the prefix, and a weight that tells them. Default: `model.`, as Llama's do. */
  trunk?: { prefix: string; bare: string } | undefined;
  /** For `convertModel` to GGUF, and so for quantised files. */
  gguf?: OwnGguf | undefined;
  /** Weights by Hugging Face name, in the order of a checkpoint. A linear layer's matrix is (outputs, inputs). */
  weights(config: OwnConfig<Own>): Map<string, WeightSpec>;
  /** Token ids to hidden states after the last norm, (rows, hiddenSize). Attention is `context.attend`, which knows of the KV cache. */
  forward(context: ForwardContext, config: OwnConfig<Own>): Value;
  /** Default: `lm_head.weight`, or where tied `model.embed_tokens.weight`. */
  head?: ((config: OwnConfig<Own>) => Head) | undefined;
  /** Tables that `context.constant` gives, (n) f32 each. Default: what `rotateHeads` needs. */
  constants?: ((config: OwnConfig<Own>) => Map<string, Float32Array>) | undefined;
}

const NAMES: Record<keyof FamilyDefinition, PartKind> = {
  modelType: "string",
  architecture: "string",
  defaults: "object",
  keys: "object",
  own: "object",
  slidingWindow: "boolean",
  trunk: "object",
  gguf: "object",
  weights: "function",
  forward: "function",
  head: "function",
  constants: "function",
};
const NEEDED: readonly (keyof FamilyDefinition)[] = ["modelType", "architecture", "weights", "forward"];
const INITS: readonly WeightSpec["init"][] = ["normal", "residual", "ones", "zeros"];

/**
 * Adds a model family to this process: `createModel`, `LanguageModel.load`, training, saving and `convertModel` then take it as they
 * take those of the package. Call it once, before the first model of the family.
 *
 * @throws HeddleError INVALID_ARGUMENT for a definition that is not whole, and for names that are taken
 * @example
 * registerFamily({ modelType: "stablelm", architecture: "StableLmForCausalLM", own: { useParallelResidual: false }, weights, forward });
 * const base = createModel({ modelType: "stablelm", hiddenSize: 64, numHiddenLayers: 2, own: { useParallelResidual: true } });
 * @experimental
 */
export function registerFamily<Own extends OwnValues = Record<never, OwnValue>>(
  definition: FamilyDefinition<Own>,
): void {
  checkDefinition(definition as unknown as FamilyDefinition);
  const { modelType, architecture, weights, forward, head, constants, trunk, gguf } = definition;
  const given = (config: ModelConfig) => config as unknown as OwnConfig<Own>;
  const format: FamilyFormat = {
    architecture,
    defaults: {
      rmsNormEps: 1e-6,
      hiddenAct: "silu",
      ropeTheta: 1e4,
      maxPositionEmbeddings: 2048,
      ...definition.defaults,
    },
    windows: definition.slidingWindow ? { kind: "all", otherwise: null } : { kind: "none" },
    own: definition.own ?? {},
    ...(definition.keys && { keys: definition.keys }),
    ...(trunk && { trunk }),
    ...(gguf && { gguf: gguf.architecture, ggufNames: Object.entries(gguf.names ?? {}) }),
  };
  const family: Family = {
    modelTypes: [modelType],
    architecture,
    weights: (config) => checkedWeights(modelType, weights(given(config))),
    constants: (config) => (constants ? constants(given(config)) : ropeConstants(config)),
    head: (config) => (head ? checkedHead(modelType, head(given(config))) : decoderHead(config)),
    forward: (context, config) => forward(context, given(config)),
  };
  setFormat(modelType, format);
  addFamily(modelType, family);
}

/**
 * Turns each head's queries or keys by its row's position, as the configuration says: rope_theta, the scaling, the part of the
 * dimensions that rotates. @param x (rows, heads, headDim) @returns the same shape
 */
export function rotateHeads(context: ForwardContext, config: Omit<ModelConfig, "own">, layer: number, x: Value): Value {
  if (typeof context?.constant !== "function") throw invalidArgument("context", "the context of `forward`", context);
  checkObject("config", config);
  if (!Number.isSafeInteger(layer)) throw invalidArgument("layer", "the number of a layer", layer);
  const rotary = rotaryOf(config, layer);
  return rotary ? rotate(context, x, rotary) : x;
}

function checkDefinition(definition: FamilyDefinition): void {
  checkParts("family", definition, NAMES, NEEDED);
  const { modelType, own = {}, gguf, keys = {} } = definition;
  if (isModelType(modelType)) throw invalidArgument("family.modelType", "a name that no family has yet", modelType);
  for (const name of Object.keys(definition.defaults ?? {})) checkField("family.defaults", name);
  for (const [key, name] of Object.entries(keys)) checkField(`family.keys.${key}`, name);
  for (const [name, value] of Object.entries(own)) {
    if (!/^[a-z][A-Za-z0-9]*$/.test(name)) throw invalidArgument("family.own", "names in camelCase", name);
    if (Object.hasOwn(keys, snakeCase(name)))
      throw invalidArgument(`family.own.${name}`, `a key of config.json that \`keys\` does not have`, snakeCase(name));
    if (!isOwnValue(value))
      throw invalidArgument(`family.own.${name}`, "a boolean, a finite number, a text or an array of numbers", value);
  }
  if (!gguf) return;
  const { architecture, names = {} } = gguf;
  if (typeof architecture !== "string" || !/^[a-z0-9][a-z0-9_.-]*$/.test(architecture))
    throw invalidArgument("family.gguf.architecture", "a name in small letters", architecture);
  if (familyOfArchitecture(architecture) !== undefined)
    throw invalidArgument("family.gguf.architecture", "a name that no family has yet", architecture);
  checkObject("family.gguf.names", names);
  for (const [from, to] of Object.entries(names)) {
    if (typeof to !== "string") throw invalidArgument(`family.gguf.names: ${from}`, "a name", to);
    if (from.includes("{layer}") !== to.includes("{layer}"))
      throw invalidArgument(`family.gguf.names: ${from}`, "{layer} in both names or in neither", to);
  }
}

/** A field of configurations that a family may say: a misspelt one would be missed in the first model alone, or never. */
function checkField(where: string, name: unknown): void {
  if (typeof name !== "string") throw invalidArgument(where, "a field of configurations", name);
  const fields = Object.keys(modelConfigSchema.shape).filter((field) => field !== "modelType" && field !== "own");
  if (fields.includes(name)) return;
  const near = nearest(name, fields);
  throw invalidArgument(where, `a field of configurations${near ? ` (nearest: ${near})` : ""}`, name);
}

/** Checks the result of a custom function while the family's name is known.  */
function checkedHead(modelType: string, head: unknown): Head {
  checkParts(
    `${modelType}.head()`,
    head as Head,
    { weight: "string", bias: "string", softcap: "number", scale: "number" },
    ["weight"],
  );
  return head as Head;
}

function checkedWeights(modelType: string, weights: unknown): Map<string, WeightSpec> {
  if (!(weights instanceof Map)) throw invalidArgument(`${modelType}.weights`, "a Map of names and shapes", weights);
  for (const [name, spec] of weights as Map<unknown, Partial<WeightSpec> | undefined>) {
    const { shape, init } = spec ?? {};
    const sound = Array.isArray(shape) && shape.length > 0 && shape.every((d) => Number.isSafeInteger(d) && d >= 1);
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
