import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { fileError } from "./documents/shards.ts";

/** Number of bytes read at one offset. */
const WINDOW = 4096;
/** Maximum number of windows per file (1 MiB). */
const MAX_OF_FILE = 256;
/** Approximate maximum number of windows over all files (8 MiB). */
const MAX_OF_ALL = 2048;

/**
 * Returns a short hash of files' contents at the cost of a few reads: SHA-256 over windows of 4 KiB, spaced evenly over each file. There
 * are 256 windows per file if there are few files, and two if there are thousands. The windows cover whole files of up to 1 MiB if there
 * are at most eight files, and then any change is detected. In larger files, changes between the windows are missed. Timestamps are not
 * part of the hash: copies of a corpus are the same corpus.
 * @throws HeddleError NOT_FOUND, IO
 */
export async function contentSample(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  const places = Math.max(2, Math.min(MAX_OF_FILE, Math.floor(MAX_OF_ALL / paths.length)));
  const buffer = Buffer.alloc(places * WINDOW);
  for (const path of paths) {
    const handle = await open(path, "r").catch((error: unknown) => {
      throw fileError(path, error);
    });
    try {
      const { size } = await handle.stat();
      const isWhole = size <= buffer.length;
      const length = isWhole ? size : WINDOW;
      for (let place = 0; place < (isWhole ? 1 : places); place++) {
        const { bytesRead } = await handle.read(
          buffer,
          0,
          length,
          Math.round((place * (size - length)) / (places - 1)),
        );
        hash.update(buffer.subarray(0, bytesRead));
      }
      hash.update(`\n${size}\n`);
    } catch (error) {
      throw fileError(path, error);
    } finally {
      await handle.close();
    }
  }
  return hash.digest("hex").slice(0, 16);
}
