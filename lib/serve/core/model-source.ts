// The models that a server is given: loaded ones, and paths of others.
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { checkPath, HeddleError, invalidArgument } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isCachedName } from "../../hub/resolve.ts";
import { LanguageModel, type LoadOptions, modelPath, rejectUnknownNames } from "../../language-model/index.ts";
import { checkLoadOptions } from "../../language-model/load-options.ts";

/** A model of a server: a loaded one, or the path of one that is loaded at the first request that names it. */
export interface ModelSource {
  /** Name of the model in requests. Default: the name in a loaded model's card, else the name it was loaded by, else the last part of the path. */
  name?: string | undefined;
  /** Further names in requests. */
  aliases?: readonly string[] | undefined;
  /** A loaded model. The caller still owns it, and it stays loaded. */
  model?: LanguageModel | undefined;
  /** A path as for `LanguageModel.load`. The server loads the model, and unloads it if `maxModelMemory` requires it. */
  path?: string | undefined;
  /** Options for loading the path. */
  load?: Omit<LoadOptions, "signal" | "onProgress"> | undefined;
  /**
   * Folders of LoRA adapters, by their names in requests. A request names an adapter as it names a model. Adapters share the weights of
   * this model, and each is loaded at its first request.
   */
  adapters?: Readonly<Record<string, string>> | undefined;
}

/** A checked source. */
export interface CheckedSource {
  name: string;
  aliases: readonly string[];
  from: { model: LanguageModel } | { path: string; load: LoadOptions };
  adapters: ReadonlyMap<string, string>;
}

const SOURCE_NAMES: Record<keyof ModelSource, true> = {
  name: true,
  aliases: true,
  model: true,
  path: true,
  load: true,
  adapters: true,
};

/** Returns checked sources with names. @throws HeddleError INVALID_ARGUMENT, also for a name that is given twice */
export function checkedSources(sources: readonly ModelSource[]): CheckedSource[] {
  if (sources.length === 0) throw new HeddleError("INVALID_ARGUMENT", "models: expected at least one model, got none");
  const taken = new Set<string>();
  const take = (what: string, name: unknown): string => {
    const checked = checkedName(what, name);
    if (taken.has(checked)) throw invalidArgument(what, "a name that is not taken", checked);
    taken.add(checked);
    return checked;
  };
  return sources.map((source, i) => {
    const at = `models[${i}]`;
    if (!isObject(source)) throw invalidArgument(at, "an object with a model or a path", source);
    rejectUnknownNames(source, Object.keys(SOURCE_NAMES));
    const { model, path, load = {}, aliases = [], adapters = {} } = source as ModelSource;
    if ((model === undefined) === (path === undefined))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${at}: expected either a model or a path, got ${model ? "both" : "none"}`,
      );
    if (model !== undefined && !(model instanceof LanguageModel))
      throw invalidArgument(`${at}.model`, "a LanguageModel", model);
    if (path !== undefined) checkPath("model", path, "a path or a name");
    checkLoadOptions(load);
    if (!Array.isArray(aliases)) throw invalidArgument(`${at}.aliases`, "an array of names", aliases);
    if (!isObject(adapters)) throw invalidArgument(`${at}.adapters`, "an object of folders by name", adapters);
    return {
      name: take(`${at}.name`, source.name ?? (model ? nameOf(model) : nameIn(path!))),
      aliases: aliases.map((alias) => take(`${at}.aliases`, alias)),
      from: model ? { model } : { path: path!, load },
      adapters: new Map(
        Object.entries(adapters).map(([name, folder]) => {
          if (typeof folder !== "string" || folder === "")
            throw invalidArgument(`${at}.adapters`, "an object of folders by name", folder);
          return [take(`${at}.adapters`, name), folder];
        }),
      ),
    };
  });
}

/** Checks a name of a model in requests. @throws HeddleError INVALID_ARGUMENT */
export function checkedName(what: string, name: unknown): string {
  if (typeof name !== "string" || !/^[\x21-\x7e]{1,200}$/.test(name))
    throw invalidArgument(what, "1 to 200 characters of ASCII without spaces", name);
  return name;
}

/** Returns the name of a loaded model. */
export function nameOf(model: LanguageModel): string {
  const { card, name, path, config } = model;
  return asName(card?.name ?? name ?? (path === undefined ? config.modelType : nameIn(path)));
}

/** Returns the name of a model by its path: the last part, or the whole name of a cached model. */
function nameIn(path: string): string {
  if (isCachedName(path) && !existsSync(path)) return asName(path);
  return asName(path.split(/[\\/]/).filter(Boolean).at(-1) ?? "").replace(/\.gguf$/i, "");
}

/** Replaces characters that a name in requests must not have. */
function asName(text: string): string {
  return text.replace(/[^\x21-\x7e]+/g, "-").slice(0, 200) || "model";
}

/** Returns the size of a model's weight files in bytes, or 0 if it is unknown. */
export async function fileBytes(given: string): Promise<number> {
  const sizeOf = async (file: string) => (await stat(file)).size;
  try {
    const path = await modelPath(given);
    const isFolder = (await stat(path)).isDirectory();
    const folder = isFolder ? path : dirname(path);
    // A large GGUF is split: model-00001-of-00003.gguf.
    const stem = basename(path).replace(/-\d{5}(?=-of-\d{5}\.\w+$)/, "");
    const files = isFolder
      ? (await readdir(path)).filter((name) => /\.(safetensors|gguf)$/i.test(name))
      : (await readdir(folder)).filter((name) => name.replace(/-\d{5}(?=-of-\d{5}\.\w+$)/, "") === stem);
    const sizes = await Promise.all(files.map((name) => sizeOf(join(folder, name))));
    return sizes.reduce((sum, size) => sum + size, 0);
  } catch {
    return 0; // loading reports the problem
  }
}
