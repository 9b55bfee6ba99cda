import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createJiti } from "jiti";
import { describe, HeddleError } from "../errors.ts";
import { readJson } from "../formats/io.ts";

/** Option names whose values are paths, or arrays of them. */
const PATHS = ["data", "evalData", "evalScores", "tokenizer", "model", "prompts", "evalPrompts", "refModel", "rewards"];

/**
 * Reads a training configuration: JSON (camelCase or TRL's snake_case keys), or the default export of a .js, .mjs or .ts
 * module. Relative paths in it name files from the current directory, or else from beside the configuration.
 * @throws HeddleError NOT_FOUND, INVALID_FILE
 */
export async function readTrainingConfig(path: string): Promise<Record<string, unknown>> {
  const value = /\.[cm]?[jt]s$/.test(path) ? await importModule(path) : await readJson(path);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new HeddleError("INVALID_FILE", `${path}: expected an object of options, got ${describe(value)}`);
  const config = camelKeys(value as Record<string, unknown>);
  locateAll(config, path);
  if (typeof config.replay === "object" && config.replay !== null)
    locateAll(config.replay as Record<string, unknown>, path);
  return config;
}

/** Paths among the options, as files. */
function locateAll(config: Record<string, unknown>, path: string): void {
  for (const key of PATHS) {
    const given = config[key];
    if (typeof given === "string") config[key] = locate(given, path);
    else if (Array.isArray(given)) config[key] = given.map((one) => located(one, path));
  }
}

/** One of several paths, or of several corpora: objects with `data`. */
function located(one: unknown, path: string): unknown {
  if (typeof one === "string") return locate(one, path);
  if (typeof one !== "object" || one === null || !Object.hasOwn(one, "data")) return one;
  const { data, ...rest } = camelKeys(one as Record<string, unknown>);
  const corpus = { data };
  locateAll(corpus, path);
  return { ...corpus, ...rest };
}

/** What a .js or .ts module exports: its default, or with `all` everything by name. @throws HeddleError NOT_FOUND, INVALID_FILE */
export async function importModule(path: string, { all = false }: { all?: boolean } = {}): Promise<unknown> {
  if (!existsSync(path)) throw new HeddleError("NOT_FOUND", `${path}: expected a module, got no such file`);
  try {
    const jiti = createJiti(pathToFileURL(resolve(path)).href);
    return await (all ? jiti.import(resolve(path)) : jiti.import(resolve(path), { default: true }));
  } catch (cause) {
    throw new HeddleError("INVALID_FILE", `${path}: expected a module that loads, got ${describe(cause)}`, { cause });
  }
}

/** Options that are objects of options. */
const NESTED = ["model", "lora", "replay"];

/** per_device_train_batch_size → perDeviceTrainBatchSize, also inside `model` and the like. */
function camelKeys(object: Record<string, unknown>): Record<string, unknown> {
  const camel = (key: string) => key.replace(/(?<=[a-z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const entries = Object.entries(object).map(([key, value]) => {
    const name = camel(key);
    const nested = NESTED.includes(name) && typeof value === "object" && value !== null;
    return [name, nested ? camelKeys(value as Record<string, unknown>) : value];
  });
  return Object.fromEntries(entries);
}

function locate(given: string, config: string): string {
  if (isAbsolute(given) || existsSync(given)) return given;
  const beside = join(dirname(config), given);
  return existsSync(beside) ? beside : given;
}
