// Reads the vocabulary of a GGUF file without loading its model.
import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { isGguf } from "../../formats/file-kind.ts";

/**
 * Reads the metadata of a GGUF file, for readGguf. For a model in several files, `path` may be that of any of them. Returns undefined if
 * the path is not that of a GGUF file.
 * @throws HeddleError as openGgufParts; ABORTED; INVALID_FILE for other content in a file named *.gguf
 */
export async function ggufRecordOf(path: string, signal?: AbortSignal): Promise<Record<string, unknown> | undefined> {
  throwIfAborted(signal, "Tokenizer.load");
  if (typeof path !== "string" || path === "") return undefined;
  const found = await isGguf(path).catch((error: unknown) => {
    if (path.endsWith(".gguf") && error instanceof HeddleError && error.code === "INVALID_FILE") throw error;
    return false;
  });
  if (!found) return undefined;
  // Import the module on use, because most programs only read tokenizer.json.
  const { openGgufParts } = await import("../../formats/gguf/gguf-parts.ts");
  const { parts, metadata } = await openGgufParts(path, signal);
  for (const { file } of parts) file.close();
  return metadata.record();
}
