// The vocabulary of a GGUF file, without the model in it.
import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { isGguf } from "../../formats/file-kind.ts";

/**
 * The metadata of a GGUF file (of one in several parts, any of them), for readGguf; undefined where a path leads to something
 * else, or nowhere. Errors: as openGgufParts; ABORTED; INVALID_FILE for other content under a name that ends in .gguf.
 */
export async function ggufRecordOf(path: string, signal?: AbortSignal): Promise<Record<string, unknown> | undefined> {
  throwIfAborted(signal, "Tokenizer.load");
  if (typeof path !== "string" || path === "") return undefined;
  const found = await isGguf(path).catch((error: unknown) => {
    if (path.endsWith(".gguf") && error instanceof HeddleError && error.code === "INVALID_FILE") throw error;
    return false;
  });
  if (!found) return undefined;
  // Loaded where it is needed: most programs read tokenizer.json alone.
  const { openGgufParts } = await import("../../formats/gguf/gguf-parts.ts");
  const { parts, metadata } = await openGgufParts(path, signal);
  for (const { file } of parts) file.close();
  return metadata.record();
}
