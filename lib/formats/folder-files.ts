// Replaces the model in a folder by a new one.
import { join } from "node:path";
import type { StagedFiles } from "../io/staged-files.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from "./adapter-config.ts";
import { HEAD_CONFIG_FILE } from "./config/heads.ts";
import { MODEL_CARD_FILE } from "./model-card.ts";
import { LAYER_MODULES, TEXT_LIMIT_FILES } from "./sentence-transformers/names.ts";
import { namesIn, removeStale, replaceTokenizer, VOCABULARY_FILES } from "./tokenizer-files.ts";

/** The leading files, which readers of a model open first. Readers do not recognize a model in a folder without one. */
const LEADING = ["modules.json", ADAPTER_CONFIG_FILE, "config.json"];
/** Other files that readers treat as part of the model, besides weights and tokenizer. */
const SETTINGS = [
  "generation_config.json",
  MODEL_CARD_FILE,
  "config_sentence_transformers.json",
  ...TEXT_LIMIT_FILES,
  ADAPTER_WEIGHTS_FILE,
  HEAD_CONFIG_FILE,
];
/** Matches folders of modules after the Transformer, with sentence-transformers' names. */
const MODULE_FOLDER = new RegExp(`^[0-9]+_(Pooling|Normalize|${Object.values(LAYER_MODULES).join("|")})$`);
const MODULE_FILES = ["config.json", "model.safetensors", "pytorch_model.bin"];

/**
 * Replaces the model in a folder by `files`. Call it when all files except the new leading file are staged. Files of
 * the old model that are not overwritten are removed. The old leading files are removed first, so that no reader sees a
 * mixture of both models.
 */
export async function replaceModel(files: StagedFiles, folder: string): Promise<void> {
  const there = await namesIn(folder);
  const leading = LEADING.filter((name) => there.has(name));
  for (const name of leading) files.removeBefore(join(folder, name));
  for (const name of SETTINGS) if (there.has(name)) removeStale(files, join(folder, name));
  // A folder may have a tokenizer but no model. Saving a model without a tokenizer then keeps the folder's tokenizer.
  if (leading.length > 0 || hasVocabulary(files, folder)) await replaceTokenizer(files, folder);
  if (!there.has("modules.json")) return;
  for (const module of [...there].filter((name) => MODULE_FOLDER.test(name))) {
    const inner = join(folder, module);
    const names = await namesIn(inner);
    for (const path of MODULE_FILES.filter((name) => names.has(name)).map((name) => join(inner, name)))
      if (!files.has(path)) files.removeBehind(path);
    files.removeEmptyBehind(inner);
  }
}

/** Replaces the adapter in a folder. A model in the folder stays, because its files have other names. */
export async function replaceAdapter(files: StagedFiles, folder: string): Promise<void> {
  const there = await namesIn(folder);
  if (!there.has(ADAPTER_CONFIG_FILE)) return;
  files.removeBefore(join(folder, ADAPTER_CONFIG_FILE));
  const stale = there.has("config.json") ? [HEAD_CONFIG_FILE] : [HEAD_CONFIG_FILE, MODEL_CARD_FILE];
  for (const name of stale) if (there.has(name)) removeStale(files, join(folder, name));
  if (hasVocabulary(files, folder)) await replaceTokenizer(files, folder);
}

function hasVocabulary(files: StagedFiles, folder: string): boolean {
  return VOCABULARY_FILES.some((name) => files.has(join(folder, name)));
}
