// The models of a server: --model and --adapter, which may be repeated.
import { existsSync } from "node:fs";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { type LanguageModel, modelPath } from "../../language-model/index.ts";
import type { ModelSource } from "../../serve/index.ts";
import { loadedWith, openModel } from "./model-options.ts";

/** A value such as `name=path`. */
interface Named {
  name: string | undefined;
  path: string;
}

/** Splits `name=path`. An existing path is not split, because it may contain an equals sign. */
function namedPath(text: string): Named {
  const at = text.indexOf("=");
  if (at < 1 || existsSync(text)) return { name: undefined, path: text };
  return { name: text.slice(0, at), path: text.slice(at + 1) };
}

/** Models to serve. */
interface ServedModels {
  models: LanguageModel | ModelSource[];
  /** The model that is loaded already. The caller disposes of it. */
  loaded: LanguageModel | undefined;
}

type Given = Parameters<typeof openModel>[0];

/**
 * Returns the models of a server. A single model is loaded here, so that a wrong path fails at startup. Several models are loaded on first use.
 * @throws HeddleError INVALID_ARGUMENT, NOT_FOUND; errors of LanguageModel.load
 */
export async function servedModels(
  options: Omit<Given, "model"> & { model?: string[]; "model-name"?: string; alias?: string[] },
): Promise<ServedModels> {
  const { alias: aliases } = options;
  const models = (options.model ?? ["default"]).map(namedPath);
  const adapters = (options.adapter ?? []).map(namedPath);
  const plain = adapters.filter(({ name }) => name === undefined).map(({ path }) => path);
  const named = adapters.filter((adapter): adapter is Named & { name: string } => adapter.name !== undefined);
  if (models.length === 1) {
    const [{ name: given, path }] = models as [Named];
    const name = given ?? options["model-name"];
    const loaded = await openModel({ ...options, model: path, adapter: plain });
    const folders = Object.fromEntries(named.map((adapter) => [adapter.name, adapter.path]));
    return { loaded, models: [{ model: loaded, name, aliases, adapters: folders }] };
  }
  if (plain.length > 0) throw invalidArgument("adapter", "NAME=DIR because several models are given", plain[0]);
  if (options["model-name"] !== undefined)
    throw invalidArgument("modelName", "one --model (name each of several with --model NAME=M)", options["model-name"]);
  for (const { path } of models)
    if (!existsSync(await modelPath(path)))
      throw new HeddleError("NOT_FOUND", `model: expected a file, a folder or a name, got ${path}`);
  const load = loadedWith(options);
  // Aliases name the first model.
  const sources = models.map(({ name, path }, i) => ({
    ...{ name, path, load, adapters: {} as Record<string, string> },
    ...(i === 0 && { aliases }),
  }));
  for (const { name, path } of named) baseOf(name, sources).adapters[name] = path;
  return { loaded: undefined, models: sources };
}

/** Returns the model of an adapter. The adapter's name begins with the model's name: `model/adapter`. @throws HeddleError INVALID_ARGUMENT */
function baseOf<T extends { name: string | undefined }>(adapter: string, sources: readonly T[]): T {
  const bases = sources.filter(({ name }) => name !== undefined && adapter.startsWith(`${name}/`));
  const longest = bases.sort((a, b) => b.name!.length - a.name!.length)[0];
  if (longest) return longest;
  throw invalidArgument("adapter", "MODEL/NAME=DIR, where MODEL is the name of one of the models", adapter);
}
