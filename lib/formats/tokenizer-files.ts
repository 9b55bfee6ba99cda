// The files of a tokenizer in a folder, and how saving replaces the files of another tokenizer.
import { join } from "node:path";
import { listFolder } from "../io/atomic-files.ts";
import type { StagedFiles } from "../io/staged-files.ts";

/** Files that may contain a vocabulary, in the order in which Tokenizer.load looks for them. */
export const VOCABULARY_FILES = [
  "tokenizer.json",
  "tokenizer.model",
  "spiece.model",
  "sentencepiece.bpe.model",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
] as const;

/** Name of the file of the default chat template. */
export const CHAT_TEMPLATE_FILE = "chat_template.jinja";
/** The folder of named chat templates. */
export const NAMED_TEMPLATES = "additional_chat_templates";

/** All files of a tokenizer, except named chat templates. */
export const TOKENIZER_FILES = [
  ...VOCABULARY_FILES,
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  CHAT_TEMPLATE_FILE,
] as const;

/**
 * Stages a tokenizer's files, which replace those of another tokenizer in the folder.
 * @param texts content by file name, including tokenizer.json
 */
export async function stageTokenizer(
  files: StagedFiles,
  folder: string,
  texts: Readonly<Record<string, string>>,
): Promise<void> {
  const { "tokenizer.json": vocabulary, ...settings } = texts;
  for (const [name, text] of Object.entries(settings)) await files.writeText(join(folder, name), text);
  // Write the vocabulary last, because readers recognize a tokenizer by it.
  if (vocabulary !== undefined) await files.writeText(join(folder, "tokenizer.json"), vocabulary);
  await replaceTokenizer(files, folder);
}

/**
 * Removes a folder's old tokenizer: its vocabularies, and the other files that `files` do not overwrite. Call it when all
 * `files` are staged.
 */
export async function replaceTokenizer(files: StagedFiles, folder: string): Promise<void> {
  const there = await namesIn(folder);
  // Remove the preferred vocabulary file last, so that readers do not fall back to another one. Remove settings after all
  // vocabularies.
  for (const name of VOCABULARY_FILES.filter((name) => there.has(name)).reverse())
    files.removeBefore(join(folder, name));
  for (const name of TOKENIZER_FILES) if (there.has(name)) removeStale(files, join(folder, name));
  if (!there.has(NAMED_TEMPLATES)) return;
  const templates = join(folder, NAMED_TEMPLATES);
  const named = [...(await namesIn(templates))].filter((name) => name.endsWith(".jinja"));
  for (const name of named) removeStale(files, join(templates, name));
  files.removeEmptyBehind(templates);
}

/** Removes a file before the staged files appear, unless a staged file replaces it. */
export function removeStale(files: StagedFiles, path: string): void {
  if (!files.has(path)) files.removeBefore(path);
}

/** Returns the names in a folder, or none if it is not a folder. @throws HeddleError IO */
export async function namesIn(folder: string): Promise<Set<string>> {
  return new Set(await listFolder(folder, "cleaned of an earlier save"));
}
