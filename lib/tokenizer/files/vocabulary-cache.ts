// Caches the compiled vocabulary of a tokenizer.json next to the file, to speed up repeated loading.
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import { writeFileAtomically } from "../../io/atomic-files.ts";
import { readWhole } from "../../io/open-file.ts";
import { limits, type TokenizerFile } from "./tokenizer-file.ts";

/** Returns the path of a tokenizer.json's cache. */
export const cachePath = (path: string) => `${path}.heddle`;

/**
 * Reads the cache. Returns undefined if it is missing, truncated, modified, of another format version, or made from other content. A bad
 * cache is never an error, because the file itself can be read.
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

/**
 * Writes the cache atomically. It does nothing if the folder is not writable, or if the vocabulary cannot be compiled. Only BPE without a
 * subword prefix can be compiled.
 */
export async function writeVocabularyCache(path: string, source: Uint8Array, file: TokenizerFile): Promise<void> {
  const { type, native, subwordPrefix } = file.model;
  const bytes = subwordPrefix || type !== "BPE" ? undefined : native?.compile(source);
  if (bytes === undefined) return;
  await writeFileAtomically(cachePath(path), (sink) => sink.write(bytes)).catch(() => {});
}
