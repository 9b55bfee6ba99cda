import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, readAdapterConfig } from "../formats/adapter-config.ts";
import { HEAD_CONFIG_FILE, headsToJson } from "../formats/config/heads.ts";
import { replaceAdapter } from "../formats/folder-files.ts";
import { type ModelCard, writeModelCard } from "../formats/model-card.ts";
import { stageSafetensors } from "../formats/safetensors/safetensors-write.ts";
import type { FloatDType } from "../graph/index.ts";
import { parseModelName } from "../hub/model-name.ts";
import { OLLAMA_PREFIX } from "../hub/ollama.ts";
import { type FoundModel, foundBy, type ResolveOptions, resolveModel } from "../hub/resolve.ts";
import { makeFolder } from "../io/atomic-files.ts";
import { writeTogether } from "../io/staged-files.ts";
import { adapterConfig, adapterData } from "../models/adapters/adapter-files.ts";
import { headNames } from "../models/heads.ts";
import type { Model } from "../models/model.ts";

/** Default name of an adapter. */
export const DEFAULT_ADAPTER = "default";

/** Whether a path is a folder with an adapter but no model. */
export async function isAdapterFolder(path: string): Promise<boolean> {
  return existsSync(join(path, ADAPTER_CONFIG_FILE)) && !existsSync(join(path, "config.json"));
}

/**
 * Finds an adapter's base: `default`, a path relative to the adapter's folder or the current directory, or a name in the shared cache.
 * @param given overrides the path in adapter_config.json
 */
export async function findBase(folder: string, given?: string, options: ResolveOptions = {}): Promise<FoundModel> {
  const { baseModel, beside = [] } = await readAdapterConfig(folder);
  const hint = "load the base model and then give this folder to loadAdapter";
  const file = join(folder, ADAPTER_CONFIG_FILE);
  if (beside.length > 0)
    throw new HeddleError(
      "UNSUPPORTED",
      `${file}: heddle_beside: expected an adapter that was trained on its own, got one trained together with ${beside.join(", ").slice(0, 200)}; load the base model, then call loadAdapter for each of the folders`,
    );
  if (given !== undefined) {
    const base = given === "default" ? given : await resolveModel(given, downloadOf(options));
    if (await isAdapterFolder(base))
      throw new HeddleError("UNSUPPORTED", `base: expected a model, got another adapter's folder, ${given}`);
    return foundBy(given, base);
  }
  if (baseModel === undefined)
    throw new HeddleError("INVALID_FILE", `${file}: base_model_name_or_path: expected a path, got none; ${hint}`);
  if (baseModel === "default") return { path: baseModel };
  const places = isAbsolute(baseModel) ? [baseModel] : [resolve(folder, baseModel), resolve(baseModel)];
  const place = places.find((place) => existsSync(place));
  const found =
    place === undefined ? await cachedBase(baseModel, { file, hint, options }) : { path: place, name: undefined };
  if (found === undefined)
    throw new HeddleError(
      "NOT_FOUND",
      `${file}: base_model_name_or_path: expected a path on this machine, got ${JSON.stringify(baseModel.slice(0, 200))}; ${hint}`,
    );
  if (await isAdapterFolder(found.path))
    throw new HeddleError(
      "UNSUPPORTED",
      `${file}: base_model_name_or_path: expected a model, got another adapter's folder`,
    );
  return found;
}

/** Finds a base that adapter_config.json gives by its name on the Hub (`OWNER/NAME`) or in Ollama. */
async function cachedBase(
  baseModel: string,
  { file, hint, options }: { file: string; hint: string; options: ResolveOptions },
): Promise<FoundModel | undefined> {
  if (!parseModelName(baseModel) && !baseModel.startsWith(OLLAMA_PREFIX)) return undefined;
  try {
    return foundBy(baseModel, await resolveModel(baseModel, downloadOf(options)));
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== "NOT_FOUND") throw error;
    throw new HeddleError("NOT_FOUND", `${file}: base_model_name_or_path: ${error.message}; or ${hint}`, {
      cause: error,
    });
  }
}

/**
 * Returns the download options for the base. File patterns are dropped, because they apply to the adapter's repository.
 */
function downloadOf({ download, signal }: ResolveOptions): ResolveOptions {
  return { signal, download: typeof download === "object" ? { ...download, include: undefined } : download };
}

/** Writes an adapter and the model card into a folder, which is created if missing. */
export async function saveAdapter(
  base: {
    readonly model: Model;
    readonly path?: string | undefined;
    readonly name?: string | undefined;
    readonly card?: ModelCard | undefined;
  },
  folder: string,
  name: string,
  dtype: FloatDType,
): Promise<void> {
  const { model } = base;
  model.assertLive();
  const [adapter] = model.adaptersOf([name]);
  await makeFolder(folder);
  // Save the heads too. They were trained with the adapter, and neither is useful without the other.
  const heads = headNames(model.config).map((head) => [head, adapter!.saved.get(head) ?? head] as const);
  const whole = { ...adapter!, saved: new Map([...adapter!.saved, ...heads]) };
  await writeTogether(async (files) => {
    await stageSafetensors(files, join(folder, ADAPTER_WEIGHTS_FILE), adapterData(model, whole, dtype));
    const json = headsToJson(model.config, model.family.architecture);
    if (Object.keys(json).length > 0) await files.writeJson(join(folder, HEAD_CONFIG_FILE), json);
    if (base.card) await writeModelCard(folder, base.card, files);
    await replaceAdapter(files, folder);
    await files.writeJson(join(folder, ADAPTER_CONFIG_FILE), adapterConfig(model, whole, base.name ?? base.path));
  });
}
