import { describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { isStrings } from "../../core/is-iterable.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole, wholeRange } from "../../core/is-whole.ts";
import { nearest, unknownName } from "../../core/nearest-name.ts";
import { MAX_ADAPTER_RANK } from "../../formats/adapter-config.ts";

/** Options of low-rank adaptation (Hu et al. 2021), named as in PEFT's LoraConfig. */
export interface LoraOptions {
  /** Rank of the update. Default 16. */
  r?: number | undefined;
  /** Updates are scaled by alpha / r, or with useRslora by alpha / √r. Default: 2 · r. */
  alpha?: number | undefined;
  /** PEFT's name for `alpha`. */
  lora_alpha?: number | undefined;
  /** Dropout probability for the inputs of adapted layers in training. Default 0. */
  dropout?: number | undefined;
  /** PEFT's name for `dropout`. */
  lora_dropout?: number | undefined;
  /** `all-linear` (every linear layer except the head), or names. A name matches every layer whose name ends in it. Default: all-linear. */
  targetModules?: "all-linear" | string | readonly string[] | undefined;
  /** Rank-stabilized scaling, alpha / √r (Kalajdzievski 2023). Default false. */
  useRslora?: boolean | undefined;
  /** Weights that the adapter trains and stores in full, in addition to low-rank updates. Named like targetModules, such as `lm_head`. If head and embedding are tied, `embed_tokens` means both. Default: none. */
  modulesToSave?: readonly string[] | undefined;
}

/** A LoRA adapter's configuration with all defaults filled in (Hu et al. 2021), as in adapter_config.json. */
export interface LoraConfig {
  /** Rank of the updates. */
  r: number;
  /** Updates are scaled by alpha / r, or with useRslora by alpha / √r. */
  alpha: number;
  /** Dropout probability for the inputs of A in training. */
  dropout: number;
  /** The adapted matrices, by the ends of their names. */
  targetModules: "all-linear" | readonly string[];
  /** Rank-stabilized scaling (Kalajdzievski 2023). */
  useRslora: boolean;
  /** Modules that are trained and stored in full. */
  modulesToSave: readonly string[];
}

/** The expected value of each option. A record, so that the compiler finds missing options. */
const OPTIONS: { readonly [K in keyof LoraConfig]: readonly [expected: string, holds: (value: unknown) => boolean] } = {
  r: [wholeRange(1, MAX_ADAPTER_RANK), (r) => isWhole(r, 1, MAX_ADAPTER_RANK)],
  alpha: ["a number above 0", (alpha) => Number.isFinite(alpha) && (alpha as number) > 0],
  dropout: ["a number from 0 to below 1", (p) => typeof p === "number" && p >= 0 && p < 1],
  targetModules: [
    "all-linear, or an array of names",
    (names) => typeof names === "string" || (isStrings(names) && names.length > 0),
  ],
  useRslora: ["true or false", (value) => typeof value === "boolean"],
  modulesToSave: ["an array of names", isStrings],
};

/** Names of LoRA's options, without PEFT's alternative names. */
export const loraNames = Object.keys(OPTIONS) as (keyof LoraConfig)[];

/**
 * PEFT's names for options. They include camelCase, because every name in a configuration file is converted to
 * camelCase.
 */
const PEFT_NAMES: Readonly<Record<string, keyof LoraConfig>> = {
  lora_alpha: "alpha",
  loraAlpha: "alpha",
  lora_dropout: "dropout",
  loraDropout: "dropout",
};

/** Returns the option that a key sets, or undefined. */
export function loraOption(key: string): keyof LoraConfig | undefined {
  if (Object.hasOwn(PEFT_NAMES, key)) return PEFT_NAMES[key]!;
  return Object.hasOwn(OPTIONS, key) ? (key as keyof LoraConfig) : undefined;
}

/**
 * Checks LoRA options and returns the given ones under heddle's names.
 * @throws HeddleError INVALID_ARGUMENT with the option's name as given, also for an option given under two names
 */
export function loraOptions(given: LoraOptions, where = "lora"): Partial<LoraConfig> {
  if (!isObject(given)) throw invalidArgument(where, "an object of LoRA options", given);
  const named = new Map<keyof LoraConfig, string>();
  const options: Partial<Record<keyof LoraConfig, unknown>> = {};
  for (const [key, value] of Object.entries(given)) {
    const name = loraOption(key);
    if (name === undefined) throw unknownName(`${where}.${key}`, key, loraNames, "option");
    if (value === undefined) continue;
    const other = named.get(name);
    if (other !== undefined)
      throw new HeddleError("INVALID_ARGUMENT", `${where}.${key}: cannot be combined with ${where}.${other}`);
    named.set(name, key);
    const [expected, holds] = OPTIONS[name];
    if (!holds(value)) throw invalidArgument(`${where}.${key}`, expected, value);
    options[name] = name === "targetModules" && typeof value === "string" && value !== "all-linear" ? [value] : value;
  }
  return options as Partial<LoraConfig>;
}

/** Checks LoRA options and fills in defaults. @throws HeddleError INVALID_ARGUMENT that names the option */
export function parseLora(given: LoraOptions, where = "lora"): LoraConfig {
  const { r = 16, dropout = 0, useRslora = false, ...rest } = loraOptions(given, where);
  const { alpha = 2 * r, targetModules = "all-linear", modulesToSave = [] } = rest;
  return { r, alpha, dropout, useRslora, targetModules, modulesToSave };
}

/** Returns the factor that multiplies the updates. */
export function loraScale({ r, alpha, useRslora }: Pick<LoraConfig, "r" | "alpha" | "useRslora">): number {
  return useRslora ? alpha / Math.sqrt(r) : alpha / r;
}

/**
 * Resolves targets to modules. A target is a module's name, or the end of module names.
 * @throws HeddleError INVALID_ARGUMENT for a target that matches no module; the message suggests the nearest name
 */
export function targetModules(modules: readonly string[], targets: readonly string[], where: string): string[] {
  const matches = (module: string, target: string) => module === target || module.endsWith(`.${target}`);
  for (const target of targets) {
    if (modules.some((module) => matches(module, target))) continue;
    const known = [...new Set(modules.map((l) => l.slice(l.lastIndexOf(".") + 1)))];
    const near = nearest(target, known);
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${where}: expected ${near ?? `modules such as ${known.join(", ")}`}, got ${describe(target)}`,
    );
  }
  return modules.filter((module) => targets.some((target) => matches(module, target)));
}
