import { access, constants, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { HeddleError } from "../errors.ts";
import { exists, ioError } from "../formats/io.ts";

/**
 * Looks whether a file could be written, before the work whose result it is to hold. What is there stays as it is.
 * @throws HeddleError NOT_FOUND, IO
 */
export async function needWritable(path: string): Promise<void> {
  try {
    const isThere = await exists(path);
    if (isThere && (await stat(path)).isDirectory())
      throw new HeddleError("IO", `${path}: cannot be written: expected a file, got a folder`);
    await access(isThere ? path : dirname(path), constants.W_OK);
  } catch (error) {
    throw ioError(error, path, "written");
  }
}

/** Writes a text in place, so that pipes and files of others may be given. @throws HeddleError NOT_FOUND, IO */
export async function writeText(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw ioError(error, path, "written");
  });
}
