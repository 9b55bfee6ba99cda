import { access, constants, stat, writeFile } from "node:fs/promises";
import { dirname, sep } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { exists, ioError, writeFileAtomically } from "../../io/atomic-files.ts";
import { realPathIfAny } from "../../io/real-path.ts";

/**
 * Checks that a file can be written, before the work that produces its content. An existing file is not changed.
 * @throws HeddleError INVALID_ARGUMENT for an empty path, NOT_FOUND, IO
 */
export async function needWritable(path: string): Promise<void> {
  if (path === "") throw new HeddleError("INVALID_ARGUMENT", "output: expected the path of a file, got an empty one");
  try {
    // `dirname` ignores a separator at the end, so the check below would test the parent folder.
    if (path.endsWith("/") || path.endsWith(sep))
      throw new HeddleError("IO", `${path}: cannot be written: expected a file, got a folder`);
    const isThere = await exists(path);
    if (isThere && (await stat(path)).isDirectory())
      throw new HeddleError("IO", `${path}: cannot be written: expected a file, got a folder`);
    await access(isThere ? path : dirname(path), constants.W_OK);
  } catch (error) {
    throw ioError(error, path, "written");
  }
}

/**
 * Writes a text file atomically, so that a full disk does not damage an existing file. Writes in place to pipes and devices, and to files in
 * folders that do not allow new files.
 * @throws HeddleError NOT_FOUND, IO
 */
export async function writeText(path: string, text: string): Promise<void> {
  try {
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    });
    if ((found === undefined || found.isFile()) && (await takesFiles(dirname(await realPathIfAny(path)))))
      await writeFileAtomically(path, (sink) => sink.write(Buffer.from(text)));
    else await writeFile(path, text);
  } catch (error) {
    throw ioError(error, path, "written");
  }
}

async function takesFiles(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
}
