import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, readAdapterConfig } from "../formats/adapter-config.ts";
import { HEAD_CONFIG_FILE, headsToJson } from "../formats/config/heads.ts";
import { replaceAdapter } from "../formats/folder-files.ts";
import { type ModelCard, writeModelCard } from "../formats/model-card.ts";
import { stageSafetensors } from "../formats/safetensors/safetensors-write.ts";
import type { FloatDType } from "../graph/index.ts";
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
 * Resolves the path of an adapter's base, relative to the adapter's folder or the current directory.
 * @param given overrides the path in adapter_config.json
 */
export async function basePath(folder: string, given?: string): Promise<string> {
  const { baseModel, beside = [] } = await readAdapterConfig(folder);
  const hint = "load the base model and then give this folder to loadAdapter";
  const file = join(folder, ADAPTER_CONFIG_FILE);
  if (beside.length > 0)
    throw new HeddleError(
      "UNSUPPORTED",
      `${file}: heddle_beside: expected an adapter that was trained on its own, got one trained together with ${beside.join(", ").slice(0, 200)}; load the base model, then call loadAdapter for each of the folders`,
    );
  if (given !== undefined) {
    if (await isAdapterFolder(given))
      throw new HeddleError("UNSUPPORTED", `base: expected a model, got another adapter's folder, ${given}`);
    return given;
  }
  if (baseModel === undefined)
    throw new HeddleError("INVALID_FILE", `${file}: base_model_name_or_path: expected a path, got none; ${hint}`);
  if (baseModel === "default") return baseModel;
  const places = isAbsolute(baseModel) ? [baseModel] : [resolve(folder, baseModel), resolve(baseModel)];
  const found = places.find((place) => existsSync(place));
  if (found === undefined)
    throw new HeddleError(
      "NOT_FOUND",
      `${file}: base_model_name_or_path: expected a path on this machine, got ${JSON.stringify(baseModel.slice(0, 200))}; ${hint}`,
    );
  if (await isAdapterFolder(found))
    throw new HeddleError(
      "UNSUPPORTED",
      `${file}: base_model_name_or_path: expected a model, got another adapter's folder`,
    );
  return found;
}

/** Writes an adapter and the model card into a folder, which is created if missing. */
export async function saveAdapter(
  base: { readonly model: Model; readonly path?: string | undefined; readonly card?: ModelCard | undefined },
  folder: string,
  name: string,
  dtype: FloatDType,
): Promise<void> {
  const { model } = base;
  model.assertLive();
  const [adapter] = model.adaptersOf([name]);
  await makeFolder(folder);
  // Heads were trained together with the adapter, and are useless without it.
  const heads = headNames(model.config).map((head) => [head, adapter!.saved.get(head) ?? head] as const);
  const whole = { ...adapter!, saved: new Map([...adapter!.saved, ...heads]) };
  await writeTogether(async (files) => {
    await stageSafetensors(files, join(folder, ADAPTER_WEIGHTS_FILE), adapterData(model, whole, dtype));
    const json = headsToJson(model.config, model.family.architecture);
    if (Object.keys(json).length > 0) await files.writeJson(join(folder, HEAD_CONFIG_FILE), json);
    if (base.card) await writeModelCard(folder, base.card, files);
    await replaceAdapter(files, folder);
    await files.writeJson(join(folder, ADAPTER_CONFIG_FILE), adapterConfig(model, whole, base.path));
  });
}
