// Puts fetched files into a snapshot, in the layout of huggingface_hub: relative links from names to blobs.
import { copyFile, link, lstat, open, readlink, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { TEMPORARY_FILE, temporaryName } from "../core/temp-files.ts";
import { ioError, makeFolder } from "../io/atomic-files.ts";
import type { RepositoryFile } from "./api.ts";

/** Error codes of systems without symbolic links. On Windows, only administrators and the developer mode may create symbolic links. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set([
  "EPERM",
  "EACCES",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
  "EINVAL",
]);

/** Returns a file's path in a snapshot. */
function placeIn(snapshot: string, file: Pick<RepositoryFile, "path">): string {
  return join(snapshot, ...file.path.split("/"));
}

/** Whether a path leads to a regular file of this size. */
export async function hasSize(path: string, size: number): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile() && found.size === size,
    () => false,
  );
}

/** Whether a snapshot already has a file: a link to the file's blob, or a regular file of the same size. */
export async function isPlaced(snapshot: string, file: RepositoryFile): Promise<boolean> {
  const place = placeIn(snapshot, file);
  if (!(await hasSize(place, file.size))) return false;
  const found = await lstat(place);
  return !found.isSymbolicLink() || (await readlink(place)).endsWith(file.digest.hex);
}

/** Copies a file and syncs the copy to disk. Without the sync, a power failure could leave a copy with the right size and wrong bytes. */
async function copy(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  const handle = await open(to, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Adds a file to a snapshot as a relative symbolic link to its blob, as Python's tools do. If symbolic links are not available, adds a hard
 * link, or else a copy.
 * @throws HeddleError IO
 */
export async function placeFileIn(snapshot: string, file: RepositoryFile, blob: string): Promise<void> {
  const place = placeIn(snapshot, file);
  await makeFolder(dirname(place));
  const temporary = join(dirname(place), temporaryName(".link", TEMPORARY_FILE));
  try {
    await symlink(relative(dirname(place), blob), temporary).catch(async (error: NodeJS.ErrnoException) => {
      if (!NO_LINKS.has(error.code)) throw error;
      await link(blob, temporary).catch(() => copy(blob, temporary));
    });
    await rename(temporary, place);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw ioError(error, place, "created");
  }
}
