import { join } from "node:path";
import { checkPath, HeddleError, invalidArgument } from "../core/errors.ts";
import { modelConfigToJson } from "../formats/config/config-json.ts";
import { generationConfigToJson } from "../formats/config/generation-config.ts";
import { replaceModel } from "../formats/folder-files.ts";
import { writeModelCard } from "../formats/model-card.ts";
import { saveModelWeights } from "../formats/sentence-transformers/embedding-write.ts";
import { stageTokenizer } from "../formats/tokenizer-files.ts";
import { type FloatDType, isFloat } from "../graph/index.ts";
import { makeFolder } from "../io/atomic-files.ts";
import { writeTogether } from "../io/staged-files.ts";
import { weightData } from "../models/loading/export.ts";
import type { Model } from "../models/model.ts";
import type { LanguageModel } from "./language-model.ts";

/** Writes a model, its tokenizer and settings to a folder. See LanguageModel.save. */
export async function saveLanguageModel(
  { model, config, tokenizer, card, generation }: LanguageModel,
  folder: string,
  { dtype = "auto", signal }: { dtype?: FloatDType | "auto" | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  model.assertLive();
  checkPath("folder", folder);
  if (/\.(gguf|safetensors)$/i.test(folder))
    throw invalidArgument("folder", "a folder (convertModel writes GGUF files)", folder);
  const active = model.activeAdapters;
  if (active.length > 0)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `save: expected no active adapter, got ${active.join(", ")} (saveAdapter() writes it, mergeAdapter() puts it into the weights, setActiveAdapters([]) leaves it out)`,
    );
  await makeFolder(folder);
  await writeTogether(async (files) => {
    await saveModelWeights(folder, weightData(model, dtype), config, signal ? { signal } : {}, files);
    if (tokenizer) await stageTokenizer(files, folder, tokenizer.files());
    if (card) await writeModelCard(folder, card, files);
    if (Object.keys(generation).length > 0)
      await files.writeJson(join(folder, "generation_config.json"), generationConfigToJson(generation));
    const stored = dtype === "auto" ? storedDtype(model) : dtype;
    await replaceModel(files, folder);
    await files.writeJson(join(folder, "config.json"), modelConfigToJson({ ...config, dtype: stored }));
  });
}

/** Returns the type for config.json: that of the largest weight, or f32 if that weight is quantized. */
function storedDtype(model: Model): FloatDType {
  const largest = model.weightNames
    .map((name) => model.asStored(name))
    .reduce((a, b) => (b.elements > a.elements ? b : a));
  return isFloat(largest.dtype) ? largest.dtype : "f32";
}
