// Names of temporary files and folders. A name identifies the process that made it. A later process can therefore distinguish leftovers
// of dead processes from files in use, and remove the leftovers.
import { readdir, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { hostname } from "node:os";
import { join } from "node:path";

const ONE_DAY = 24 * 60 * 60 * 1000;

function host(): string {
  return hostname()
    .replace(/[^A-Za-z0-9]/g, "")
    .slice(0, 32);
}

/**
 * Returns when a process started, in kernel ticks; undefined if unknown. A restarted container has the same host name and reuses process
 * ids, so that only the start time distinguishes its processes.
 */
function startTimeOf(pid: number): string | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    // Use require: an import would evaluate all exports of node:fs, and so load every kind of stream.
    const { readFileSync } = createRequire(import.meta.url)("node:fs") as typeof import("node:fs");
    const line = readFileSync(`/proc/${pid}/stat`, "latin1");
    // Field 22 is the start time. Split after the name, field 2 in parentheses, because a name may contain any character.
    const ticks = line.slice(line.lastIndexOf(")") + 2).split(" ")[19];
    return ticks === undefined || !/^[0-9]{1,20}$/.test(ticks) ? undefined : BigInt(ticks).toString(36);
  } catch {
    return undefined;
  }
}

/** Identifies this process in names: its id and, if known, its start time. */
let owner: string | undefined;

/** Returns a unique name that identifies its process: `stem.host.pid-startTime.random` followed by `ending`. */
export function temporaryName(stem: string, ending = ""): string {
  const random = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(16).padStart(8, "0");
  if (owner === undefined) {
    const startTime = startTimeOf(process.pid);
    owner = `${process.pid}${startTime === undefined ? "" : `-${startTime}`}`;
  }
  return `${stem}.${host()}.${owner}.${random}${ending}`;
}

/** A parsed temporary name. */
interface TemporaryName {
  stem: string;
  ending: string;
  /** Whether the process that made it has ended; undefined if it ran on another machine. */
  ended: boolean | undefined;
}

/** Parses a temporary name. @returns undefined for a name that temporaryName did not make */
export function readTemporaryName(name: string): TemporaryName | undefined {
  const match = /^(.+)\.([A-Za-z0-9]*)\.([0-9]{1,10})(?:-([0-9a-z]{1,13}))?\.[0-9a-f]{8}(\.[a-z]+)?$/s.exec(name);
  if (!match) return undefined;
  const [, stem, machine, pid, startTime, ending = ""] = match;
  return { stem: stem!, ending, ended: machine === host() ? hasEnded(Number(pid), startTime) : undefined };
}

function hasEnded(pid: number, startTime: string | undefined): boolean {
  if (!isAlive(pid)) return true;
  const current = startTime === undefined ? undefined : startTimeOf(pid);
  return current !== undefined && current !== startTime; // another process has reused the id
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A leftover: a temporary file or folder of a dead process. */
interface Left {
  path: string;
  stem: string;
}

/**
 * Finds leftovers in a folder. A file of this machine is a leftover if its process has ended. A file of another machine is one if it has
 * not changed for a day. Returns an empty list if the folder cannot be read.
 * @param isOurs whether the caller makes names with this stem and ending
 */
export async function leftIn(
  folder: string,
  isOurs: (name: Pick<TemporaryName, "stem" | "ending">) => boolean,
): Promise<Left[]> {
  const left: Left[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const found = readTemporaryName(name);
    if (!found || !isOurs(found)) continue;
    const path = join(folder, name);
    if (found.ended ?? (await isOld(path))) left.push({ path, stem: found.stem });
  }
  return left;
}

async function isOld(path: string): Promise<boolean> {
  return stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > ONE_DAY,
    () => false, // removed in the meantime
  );
}

/** Removes the leftovers that `leftIn` finds. It ignores errors, because leftovers are harmless. */
export async function removeLeft(folder: string, isOurs: Parameters<typeof leftIn>[1]): Promise<void> {
  for (const { path } of await leftIn(folder, isOurs)) await rm(path, { recursive: true, force: true }).catch(() => {});
}

/** Folders that this process has cleaned. The size is bounded; cleaning a folder again is harmless. */
const swept = new Set<string>();

/** Removes temporary files of dead processes from a folder. Later calls for the same folder do nothing. */
export async function removeLeftFiles(folder: string): Promise<void> {
  if (swept.has(folder)) return;
  if (swept.size >= 4096) swept.clear();
  swept.add(folder);
  await removeLeft(folder, ({ stem, ending }) => stem.startsWith(".") && ending === TEMPORARY_FILE);
}

/** The ending of the files that removeLeftFiles removes. Their stems begin with a dot. */
export const TEMPORARY_FILE = ".tmp";
