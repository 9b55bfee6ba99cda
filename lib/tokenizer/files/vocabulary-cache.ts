// A compiled form of tokenizer.json's vocabulary beside the file, for those who load it again and again.
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import { writeFileAtomically } from "../../io/atomic-files.ts";
import { readWhole } from "../../io/open-file.ts";
import { limits, type TokenizerFile } from "./tokenizer-file.ts";

/** Where the cache of a tokenizer.json lies. */
export const cachePath = (path: string) => `${path}.heddle`;

/**
 * What the cache says, or undefined where there is none for this content of the file: none at all, of another version of the format,
 * truncated, changed. Nothing about it is an error: the file itself is there.
 */
export async function readVocabularyCache(path: string, source: Uint8Array): Promise<NativeJsonVocabulary | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(cachePath(path), limits.fileBytes);
  } catch {
    return undefined;
  }
  return binding.readCompiledVocabulary(bytes, source);
}

/** Writes it, whole or not at all; not where the folder takes no files, nor for vocabularies that are not compiled (all but BPE's). */
export async function writeVocabularyCache(path: string, source: Uint8Array, file: TokenizerFile): Promise<void> {
  const { type, native, subwordPrefix } = file.model;
  const bytes = subwordPrefix || type !== "BPE" ? undefined : native?.compile(source);
  if (bytes === undefined) return;
  await writeFileAtomically(cachePath(path), (sink) => sink.write(bytes)).catch(() => {});
}
