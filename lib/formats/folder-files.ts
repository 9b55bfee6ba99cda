// How a save takes the place of the model that a folder held.
import { join } from "node:path";
import type { StagedFiles } from "../io/staged-files.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from "./adapter-config.ts";
import { HEAD_CONFIG_FILE } from "./config/heads.ts";
import { MODEL_CARD_FILE } from "./model-card.ts";
import { LAYER_MODULES, TEXT_LIMIT_FILES } from "./sentence-transformers/names.ts";
import { namesIn, removeStale, replaceTokenizer, VOCABULARY_FILES } from "./tokenizer-files.ts";

/** Files that readers of a model begin with: without them nothing else in the folder is read as one. */
const LEADING = ["modules.json", ADAPTER_CONFIG_FILE, "config.json"];
/** What else a reader takes for a part of the model. */
const SETTINGS = [
  "generation_config.json",
  MODEL_CARD_FILE,
  "config_sentence_transformers.json",
  ...TEXT_LIMIT_FILES,
  ADAPTER_WEIGHTS_FILE,
  HEAD_CONFIG_FILE,
];
/** Folders of modules behind the Transformer, as sentence-transformers names them. */
const MODULE_FOLDER = new RegExp(`^[0-9]+_(Pooling|Normalize|${Object.values(LAYER_MODULES).join("|")})$`);
const MODULE_FILES = ["config.json", "model.safetensors", "pytorch_model.bin"];

/**
 * Has `files` take the place of the model that a folder held, once all but its leading file are staged: what they do not replace of it
 * is removed. Leading files go first, so that no reader takes some files of both models for one.
 */
export async function replaceModel(files: StagedFiles, folder: string): Promise<void> {
  const there = await namesIn(folder);
  const leading = LEADING.filter((name) => there.has(name));
  for (const name of leading) files.removeBefore(join(folder, name));
  for (const name of SETTINGS) if (there.has(name)) removeStale(files, join(folder, name));
  // A tokenizer that was saved into the folder by itself stays beside a model without one.
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

/** The same of an adapter. A model beside it stays: its files have other names. */
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
