// Notes which files a revision lacks, as Hugging Face's tools do: an empty file `.no_exist/COMMIT/NAME` in the folder of the repository.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, ioError, makeFolder } from "../io/atomic-files.ts";

/** Returns the folder of the notes on a revision. */
export function missingFolder(repositoryFolder: string, commit: string): string {
  return join(repositoryFolder, ".no_exist", commit);
}

/** Notes that a revision lacks files. @throws HeddleError IO */
export async function noteMissing(repositoryFolder: string, commit: string, names: readonly string[]): Promise<void> {
  const folder = missingFolder(repositoryFolder, commit);
  await makeFolder(folder);
  for (const name of names) {
    const path = join(folder, name);
    await writeFile(path, "").catch((error: unknown) => {
      throw ioError(error, path, "written");
    });
  }
}

/** Whether a revision is known to lack all of the files. */
export async function isKnownMissing(
  repositoryFolder: string,
  commit: string,
  names: readonly string[],
): Promise<boolean> {
  const folder = missingFolder(repositoryFolder, commit);
  for (const name of names) if (!(await exists(join(folder, name)))) return false;
  return true;
}
