import { stat } from "node:fs/promises";
import { describe, HeddleError } from "../../core/errors.ts";

/**
 * Throws for a path that leads nowhere: most likely it is text, which the option does not take. What else is wrong, opening says.
 * @param name of the option
 * @param kinds what its files are, and what else it takes
 * @throws HeddleError NOT_FOUND
 */
export async function needFiles(files: readonly string[], name: string, kinds: string): Promise<void> {
  for (const path of files) {
    const code = await stat(path).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    // A text can be longer than a path may be, and hold what no path does.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG" || code === "ERR_INVALID_ARG_VALUE")
      throw new HeddleError(
        "NOT_FOUND",
        `${name}: expected paths of files (${kinds}), got ${describe(path)}, which does not exist`,
      );
  }
}
