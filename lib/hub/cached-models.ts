// Lists and removes models of the cache that Python's tools share.
import { readdir, readlink, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { removeLeft, temporaryName } from "../core/temp-files.ts";
import { exists, ioError } from "../io/atomic-files.ts";
import { claim } from "../io/claim.ts";
import { PARTIAL } from "./download.ts";
import { cacheFolder } from "./environment.ts";
import { missingFolder } from "./missing-files.ts";
import { folderOfRepository, needModelName, repositoryOfFolder } from "./model-name.ts";
import { OLLAMA_PREFIX } from "./ollama.ts";
import { allSnapshots, filesBelow, findSnapshot, namesOf, refsOf, type Snapshot, sizeOf, walk } from "./snapshot.ts";

/** Prefix of folders that are being removed. */
const REMOVED = ".heddle-removed";

/** A revision of a model in the cache. */
interface CachedModel extends Snapshot {
  /** The name for `LanguageModel.load`. */
  name: string;
  /** Branches and tags with this commit. */
  refs: string[];
  bytes: number;
}

/** Lists the names of the models in the cache, without their revisions. @throws HeddleError IO */
export async function cachedNames(): Promise<string[]> {
  return (await namesOf(cacheFolder())).flatMap((name) => repositoryOfFolder(name) ?? []);
}

/** Lists the revisions of all models in the cache, by name. @throws HeddleError IO */
export async function cachedModels(): Promise<CachedModel[]> {
  const models: CachedModel[] = [];
  for (const name of await namesOf(cacheFolder())) {
    const repository = repositoryOfFolder(name);
    if (repository === undefined) continue;
    const folder = join(cacheFolder(), name);
    const refs = await refsOf(folder);
    for (const snapshot of await allSnapshots(folder)) {
      const own = [...refs].filter(([, commit]) => commit === snapshot.commit).map(([ref]) => ref);
      const revision = own.includes("main") ? "" : `@${own[0] ?? snapshot.commit.slice(0, 12)}`;
      models.push({ ...snapshot, name: repository + revision, refs: own, bytes: await sizeBelow(snapshot.folder) });
    }
  }
  return models;
}

async function sizeBelow(folder: string): Promise<number> {
  const sizes = (await filesBelow(folder)).map((file) => sizeOf(join(folder, file)));
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Result of `removeModel`. */
interface RemovedModel {
  name: string;
  /** Bytes that were freed. */
  bytes: number;
}

/**
 * Removes a model from the cache. With `@REVISION`, removes one revision and the files that no other revision uses. Otherwise removes all
 * revisions.
 * @throws HeddleError INVALID_ARGUMENT, NOT_FOUND, IO
 */
export async function removeModel(given: string): Promise<RemovedModel> {
  if (given.startsWith(OLLAMA_PREFIX))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `name: expected a model of the cache, got ${given} (ollama rm removes it)`,
    );
  const name = needModelName(given);
  if (name.tag !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `name: expected OWNER/NAME[@REVISION], got ${given}`);
  const folder = join(cacheFolder(), folderOfRepository(name.repository));
  if (!(await exists(folder)))
    throw new HeddleError("NOT_FOUND", `${given}: no model of this name in ${cacheFolder()}`);
  const release = await claim(folder, "models rm");
  try {
    for (const place of [cacheFolder(), join(folder, "snapshots")])
      await removeLeft(place, ({ stem }) => stem === REMOVED);
    const before = await usedBy(folder);
    if (given === name.repository) await removeFolder(folder);
    else {
      const snapshot = await findSnapshot(folder, name);
      if (!snapshot) throw new HeddleError("NOT_FOUND", `${given}: revision ${name.revision} is not in ${folder}`);
      await removeRevision(folder, snapshot);
    }
    return { name: given, bytes: before - (await usedBy(folder)) };
  } finally {
    release();
  }
}

/** Returns the size in bytes of a repository: its blobs, including partial ones, and the snapshot files that are not links to blobs. */
async function usedBy(folder: string): Promise<number> {
  let bytes = await sizeBelow(join(folder, "blobs"));
  for (const { folder: snapshot } of await allSnapshots(folder))
    for (const file of await filesBelow(snapshot))
      if ((await blobOf(join(snapshot, file))) === undefined) bytes += await sizeOf(join(snapshot, file));
  return bytes;
}

/** Returns the name of the blob that a snapshot's file links to, or undefined for a regular file. */
async function blobOf(path: string): Promise<string | undefined> {
  return readlink(path).then(
    (target) => basename(target),
    () => undefined,
  );
}

async function removeRevision(folder: string, { commit, folder: snapshot }: Snapshot): Promise<void> {
  const rest = (await allSnapshots(folder)).filter((other) => other.commit !== commit);
  const kept = new Set<string | undefined>();
  for (const { folder: other } of rest)
    for (const file of await allFiles(other)) kept.add(await blobOf(join(other, file)));
  for (const [ref, named] of await refsOf(folder)) if (named === commit) await remove(join(folder, "refs", ref));
  await remove(missingFolder(folder, commit));
  await removeFolder(snapshot);
  if (rest.length === 0) return removeFolder(folder);
  for (const blob of await readdir(join(folder, "blobs")).catch(() => []))
    if (!kept.has(blob) && !blob.endsWith(PARTIAL) && !blob.endsWith(".incomplete"))
      await remove(join(folder, "blobs", blob));
}

/**
 * Returns all files of a snapshot. The caller removes the blobs that no file of the list links to, so the list must be complete.
 * @throws HeddleError IO if some files cannot be listed
 */
async function allFiles(snapshot: string): Promise<string[]> {
  const { files, isWhole } = await walk(snapshot);
  if (isWhole) return files;
  throw new HeddleError(
    "IO",
    `${snapshot}: cannot list all files, so no revision is removed (a name without @REVISION removes all revisions)`,
  );
}

/** Removes a folder. Renames the folder first, so that no reader finds only some of its files. */
async function removeFolder(folder: string): Promise<void> {
  const temporary = join(folder, "..", temporaryName(REMOVED));
  try {
    await rename(folder, temporary);
  } catch (error) {
    throw ioError(error, folder, "removed");
  }
  await remove(temporary);
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    throw ioError(error, path, "removed");
  }
}
