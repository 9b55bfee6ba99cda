import { describe, HeddleError, invalidArgument } from "../errors.ts";
import { nearest } from "../formats/nearest.ts";

/** Low-rank adaptation (Hu et al. 2021), named as in PEFT's LoraConfig. */
export interface LoraOptions {
  /** Rank of the update. Default 16. */
  r?: number | undefined;
  /** The update is scaled by alpha / r (alpha / √r with useRslora). Default: 2 · r. */
  alpha?: number | undefined;
  /** Probability with which an element of an adapted layer's input is left out in training. Default 0. */
  dropout?: number | undefined;
  /** `all-linear` (every linear layer but the head), or names: each stands for all layers that end in it. Default all-linear. */
  targetModules?: "all-linear" | string | readonly string[] | undefined;
  /** Rank-stabilised scaling, alpha / √r (Kalajdzievski 2023). Default false. */
  useRslora?: boolean | undefined;
  /** Weights that the adapter trains and keeps whole, beside the low-rank updates; named like targetModules, such as `lm_head`. */
  modulesToSave?: readonly string[] | undefined;
}

export interface LoraConfig {
  r: number;
  alpha: number;
  dropout: number;
  targetModules: "all-linear" | readonly string[];
  useRslora: boolean;
  modulesToSave: readonly string[];
}

const NAMES: readonly (keyof LoraOptions)[] = ["r", "alpha", "dropout", "targetModules", "useRslora", "modulesToSave"];
const MOST_RANK = 4096;

/** Checks LoRA options and fills in defaults. @throws HeddleError INVALID_ARGUMENT that names the option */
export function parseLora(options: LoraOptions, where = "lora"): LoraConfig {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw invalidArgument(where, "an object of LoRA options", options);
  for (const name of Object.keys(options)) {
    if ((NAMES as readonly string[]).includes(name)) continue;
    const near = nearest(name, NAMES);
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${where}: expected ${near ?? `one of ${NAMES.join(", ")}`}, got an unknown option ${name}`,
    );
  }
  const { r = 16, dropout = 0, useRslora = false, targetModules = "all-linear" } = options;
  const { alpha = 2 * r, modulesToSave = [] } = options;
  if (!Number.isSafeInteger(r) || r < 1 || r > MOST_RANK)
    throw invalidArgument(`${where}.r`, `a whole number from 1 to ${MOST_RANK}`, r);
  if (typeof alpha !== "number" || !Number.isFinite(alpha) || alpha <= 0)
    throw invalidArgument(`${where}.alpha`, "a number above 0", alpha);
  if (typeof dropout !== "number" || !(dropout >= 0 && dropout < 1))
    throw invalidArgument(`${where}.dropout`, "a number from 0 to below 1", dropout);
  if (typeof useRslora !== "boolean") throw invalidArgument(`${where}.useRslora`, "true or false", useRslora);
  const names = typeof targetModules === "string" && targetModules !== "all-linear" ? [targetModules] : targetModules;
  if (
    names !== "all-linear" &&
    !(Array.isArray(names) && names.length > 0 && names.every((n) => typeof n === "string"))
  )
    throw invalidArgument(`${where}.targetModules`, "all-linear, or an array of names", targetModules);
  if (!Array.isArray(modulesToSave) || modulesToSave.some((n) => typeof n !== "string"))
    throw invalidArgument(`${where}.modulesToSave`, "an array of names", modulesToSave);
  return { r, alpha, dropout, useRslora, targetModules: names as LoraConfig["targetModules"], modulesToSave };
}

/** What the update is multiplied by. */
export function loraScale({ r, alpha, useRslora }: Pick<LoraConfig, "r" | "alpha" | "useRslora">): number {
  return useRslora ? alpha / Math.sqrt(r) : alpha / r;
}

/**
 * The modules that some targets stand for: each target is a module's name, or the end of some.
 * @throws HeddleError INVALID_ARGUMENT for a target that no module ends in, with the nearest that some do
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
