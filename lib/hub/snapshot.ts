// Finds snapshots in the cache of Hugging Face's tools: `models--OWNER--NAME/{refs,blobs,snapshots}`. It does not change the cache.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { listFolder } from "../io/atomic-files.ts";
import { isCommit, type ModelName } from "./model-name.ts";

/** Maximum number of files to list below a folder. */
const MAX_FILES = 100_000;
/** Maximum depth of folders to list. */
const MAX_DEPTH = 16;
/** Minimum number of digits of an abbreviated commit hash. */
const SHORTEST_COMMIT = 7;

/** A revision of a repository in the cache. */
export interface Snapshot {
  commit: string;
  folder: string;
}

/**
 * Returns the snapshot of a revision, or undefined if the cache does not have it. The revision is a fetched branch or tag, a commit hash, or an
 * unambiguous beginning of one.
 */
export async function findSnapshot(
  repositoryFolder: string,
  { revision }: Pick<ModelName, "revision">,
): Promise<Snapshot | undefined> {
  const named = (await readFile(join(repositoryFolder, "refs", revision), "utf8").catch(() => undefined))?.trim();
  const commits = await namesOf(join(repositoryFolder, "snapshots"));
  const begins = /^[0-9a-f]+$/.test(revision) && revision.length >= SHORTEST_COMMIT;
  const found = isCommit(named)
    ? commits.filter((commit) => commit === named)
    : commits.filter((commit) => begins && isCommit(commit) && commit.startsWith(revision));
  if (found.length !== 1) return undefined;
  return { commit: found[0]!, folder: join(repositoryFolder, "snapshots", found[0]!) };
}

/** Returns all snapshots of a repository. */
export async function allSnapshots(repositoryFolder: string): Promise<Snapshot[]> {
  const folder = join(repositoryFolder, "snapshots");
  return (await namesOf(folder)).filter(isCommit).map((commit) => ({ commit, folder: join(folder, commit) }));
}

/** Returns the branches and tags in the cache, each with its commit. */
export async function refsOf(repositoryFolder: string): Promise<Map<string, string>> {
  const folder = join(repositoryFolder, "refs");
  const refs = new Map<string, string>();
  for (const ref of await filesBelow(folder)) {
    const commit = (await readFile(join(folder, ref), "utf8").catch(() => "")).trim();
    if (isCommit(commit)) refs.set(ref, commit);
  }
  return refs;
}

/** Returns the paths of the files below a folder, within the limits of `walk`. */
export async function filesBelow(folder: string): Promise<string[]> {
  return (await walk(folder)).files;
}

/** The files below a folder. */
interface Walk {
  /** Paths with slashes. Links without a target are left out. */
  files: string[];
  /** Whether the list is complete. It is incomplete if there are too many files, or if a folder is too deep or unreadable. */
  isWhole: boolean;
}

/** Finds the files below a folder, within limits. */
export async function walk(folder: string): Promise<Walk> {
  const files: string[] = [];
  let isWhole = true;
  const cut = () => {
    isWhole = false;
  };
  const visit = async (inner: string, depth: number): Promise<void> => {
    const entries = await readdir(join(folder, inner), { withFileTypes: true }).catch(() => {
      cut();
      return [];
    });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (files.length >= MAX_FILES) return cut();
      const path = inner === "" ? entry.name : `${inner}/${entry.name}`;
      const isFile = entry.isFile() || (entry.isSymbolicLink() && (await isFileAt(join(folder, path))));
      if (isFile) files.push(path);
      else if (entry.isDirectory() && depth < MAX_DEPTH) await visit(path, depth + 1);
      else if (entry.isDirectory()) cut();
    }
  };
  await visit("", 0);
  return { files, isWhole };
}

async function isFileAt(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/** Returns the names in a folder in order, or none if it is missing. @throws HeddleError IO */
export async function namesOf(folder: string): Promise<string[]> {
  return (await listFolder(folder)).sort();
}

/** Returns a file's size; 0 if it does not exist, because another process may have removed it. */
export async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
