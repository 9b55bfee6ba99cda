import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createJiti } from "jiti";
import { z } from "zod";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { readJson } from "../../io/atomic-files.ts";
import { DuplicateKey, parseStrictJson } from "../../io/strict-json.ts";
import { option } from "./option.ts";
import { WrittenNames } from "./written-names.ts";

/** Keys that a configuration file may have in addition to the stage's options. */
export const fileShape = {
  model: option(z.unknown(), "path of a checkpoint, or the configuration of a new model (required)", {
    aliases: "basemodel modelname modelnameorpath modelpath",
  }),
  tokenizer: option(z.unknown(), "tokenizer folder (required for a new model)", { aliases: "tokenizername" }),
};

/** Option names whose values are paths, or arrays of them. */
const PATHS = ["data", "evalData", "evalScores", "tokenizer", "model", "prompts", "evalPrompts", "refModel", "rewards"];

/** The content of a configuration file. */
interface TrainingConfig {
  /** Options by their canonical names. */
  options: Record<string, unknown>;
  /** The names as the file spells them. */
  written: WrittenNames;
}

/**
 * Reads a training configuration: JSON (camelCase or TRL's snake_case keys), or the default export of a .js, .mjs or
 * .ts module. A relative path that does not exist in the current directory is resolved from the file's folder, if it
 * exists there.
 * @throws HeddleError NOT_FOUND, INVALID_FILE, INVALID_ARGUMENT for a duplicate option
 */
export async function readTrainingConfig(path: string): Promise<TrainingConfig> {
  const isModule = /\.[cm]?[jt]s$/.test(path);
  const value = isModule ? await importModule(path) : await readJson(path);
  if (!isModule) await needKeysOnce(path);
  if (!isObject(value))
    throw new HeddleError("INVALID_FILE", `${path}: expected an object of options, got ${describe(value)}`);
  const written = new WrittenNames();
  const options = camelKeys(value, written);
  locateAll(options, path);
  if (typeof options.replay === "object" && options.replay !== null)
    locateAll(options.replay as Record<string, unknown>, path);
  return { options, written };
}

/** Rejects duplicate keys. JSON.parse keeps only the last of two values. @throws HeddleError INVALID_ARGUMENT */
async function needKeysOnce(path: string): Promise<void> {
  const bytes = await readFile(path);
  const all = Number.POSITIVE_INFINITY;
  const mark = bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? 3 : 0;
  try {
    parseStrictJson(bytes.subarray(mark), { depth: all, values: all, keys: all, stringBytes: all });
  } catch (error) {
    if (error instanceof DuplicateKey)
      throw new HeddleError("INVALID_ARGUMENT", `${error.key}: expected once, got twice`);
    // Ignore other errors: JSON.parse has accepted the file, and this reader is stricter, for instance about numbers
    // with many digits.
  }
}

const BYTE_ORDER_MARK = Buffer.from("\ufeff");

/** Resolves the options that are paths, in place. */
function locateAll(config: Record<string, unknown>, path: string): void {
  for (const key of PATHS) {
    const given = config[key];
    if (typeof given === "string") config[key] = locate(given, path);
    else if (Array.isArray(given)) config[key] = given.map((one) => located(one, path));
  }
}

/** Resolves an element of an array: a path, or the paths of a corpus. */
function located(one: unknown, path: string): unknown {
  if (typeof one === "string") return locate(one, path);
  if (!isCorpus(one)) return one;
  const corpus: Record<string, unknown> = { data: (one as { data: unknown }).data };
  locateAll(corpus, path);
  return { ...one, ...corpus };
}

/** Returns the default export of a .js or .ts module, or with `all` every export by name. @throws HeddleError NOT_FOUND, INVALID_FILE */
export async function importModule(path: string, { all = false }: { all?: boolean } = {}): Promise<unknown> {
  if (!existsSync(path)) throw new HeddleError("NOT_FOUND", `${path}: expected a module, got no such file`);
  try {
    const jiti = createJiti(pathToFileURL(resolve(path)).href);
    return await (all ? jiti.import(resolve(path)) : jiti.import(resolve(path), { default: true }));
  } catch (cause) {
    throw new HeddleError("INVALID_FILE", `${path}: expected a module that loads, got ${describe(cause)}`, { cause });
  }
}

/** Options whose values are objects of options. */
const NESTED = ["model", "lora", "replay"];
/**
 * Options that may be arrays of nested options, such as corpora. An element is nested options if it has the key given
 * here. Other elements, such as rows, keep their keys.
 */
const LISTS: Readonly<Record<string, string>> = { data: "data", evalData: "data", parameterGroups: "match" };

/** Renames per_device_train_batch_size to perDeviceTrainBatchSize, also inside nested objects such as `model`. Drops undefined values. */
function camelKeys(object: object, written: WrittenNames, place = ""): Record<string, unknown> {
  const options = new Map<string, unknown>();
  for (const [key, value] of Object.entries(object)) {
    if (value === undefined) continue;
    const name = key.replace(/(?<=[a-z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    const path = place + name;
    if (options.has(name))
      throw new HeddleError("INVALID_ARGUMENT", `${place}${key}: expected once, got ${written.of(path)} as well`);
    if (name !== key) written.add(path, key);
    options.set(name, camelValue(name, value, written, path));
  }
  return Object.fromEntries(options);
}

function camelValue(name: string, value: unknown, written: WrittenNames, path: string): unknown {
  if (NESTED.includes(name) && isObject(value)) return camelKeys(value, written, `${path}.`);
  const key = Object.hasOwn(LISTS, name) ? LISTS[name]! : undefined;
  if (key === undefined || !Array.isArray(value)) return value;
  return value.map((one, i) =>
    isObject(one) && Object.hasOwn(one, key) ? camelKeys(one, written, `${path}.${i}.`) : one,
  );
}

const isCorpus = (value: unknown): value is object => isObject(value) && Object.hasOwn(value, "data");

function locate(given: string, config: string): string {
  if (isAbsolute(given) || existsSync(given)) return given;
  const beside = join(dirname(config), given);
  return existsSync(beside) ? beside : given;
}
