import { stat } from "node:fs/promises";
import { describe, HeddleError } from "../../core/errors.ts";

/**
 * Throws for a path that does not exist. Most likely the caller passed text instead of a path. Other errors, such as a
 * missing permission, are reported when the file is opened.
 * @param name name of the option
 * @param kinds the file types and other values that the option takes
 * @throws HeddleError NOT_FOUND
 */
export async function needFiles(files: readonly string[], name: string, kinds: string): Promise<void> {
  for (const path of files) {
    const code = await stat(path).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    // A text may be longer than a path can be, or contain characters that paths cannot have.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG" || code === "ERR_INVALID_ARG_VALUE")
      throw new HeddleError(
        "NOT_FOUND",
        `${name}: expected paths of files (${kinds}), got ${describe(path)}, which does not exist`,
      );
  }
}
