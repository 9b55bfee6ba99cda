import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { fileError } from "./documents/shards.ts";

/** Bytes that are read at one place. */
const WINDOW = 4096;
/** Places of one file at most, and of all files about: 1 MiB and 8. */
const MOST_OF_FILE = 256;
const MOST_OF_ALL = 2048;

/**
 * A short text that tells contents apart at the cost of some reads: SHA-256 over windows of 4 KiB, from the first byte of each file to the
 * last in equal steps, 256 of them a file where there are few files and two where there are thousands. Files that these windows cover (of up
 * to 1 MiB, where there are at most eight) are told apart whatever has changed in them; of larger ones a change that all windows miss is
 * not seen. Times are no part of it: copies of a corpus are the same corpus.
 * @throws HeddleError NOT_FOUND, IO
 */
export async function contentSample(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  const places = Math.max(2, Math.min(MOST_OF_FILE, Math.floor(MOST_OF_ALL / paths.length)));
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
