// Names of what is written under another name first. Whose they are stands in them, so that what a process left that was ended in the
// middle can be told from what another is writing, and be removed by the next that comes.
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
 * When a process began, as the kernel counts; undefined where it does not say. A container that starts again has its host's name and gives its processes the
 * numbers of those before: only by this are they told apart.
 */
function beginning(pid: number): string | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    // Required, not imported: an import reads all that node:fs exports, and so loads every kind of stream.
    const { readFileSync } = createRequire(import.meta.url)("node:fs") as typeof import("node:fs");
    const line = readFileSync(`/proc/${pid}/stat`, "latin1");
    const ticks = line.slice(line.lastIndexOf(")") + 2).split(" ")[19]; // a process's name may hold anything
    return ticks === undefined || !/^[0-9]{1,20}$/.test(ticks) ? undefined : BigInt(ticks).toString(36);
  } catch {
    return undefined;
  }
}

let owner: string | undefined;

/** `stem.host.pid-beginning.random` with `ending` behind it: a name that nobody has, and that says who made it. */
export function temporaryName(stem: string, ending = ""): string {
  const random = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(16).padStart(8, "0");
  if (owner === undefined) {
    const began = beginning(process.pid);
    owner = `${process.pid}${began === undefined ? "" : `-${began}`}`;
  }
  return `${stem}.${host()}.${owner}.${random}${ending}`;
}

/** What a temporary name says. */
export interface TemporaryName {
  stem: string;
  ending: string;
  /** Whether the process that made it has ended; undefined for another machine's, of which nothing is known. */
  ended: boolean | undefined;
}

/** @returns undefined for a name that temporaryName did not make */
export function readTemporaryName(name: string): TemporaryName | undefined {
  const match = /^(.+)\.([A-Za-z0-9]*)\.([0-9]{1,10})(?:-([0-9a-z]{1,13}))?\.[0-9a-f]{8}(\.[a-z]+)?$/s.exec(name);
  if (!match) return undefined;
  const [, stem, machine, pid, began, ending = ""] = match;
  return { stem: stem!, ending, ended: machine === host() ? hasEnded(Number(pid), began) : undefined };
}

function hasEnded(pid: number, began: string | undefined): boolean {
  if (!isAlive(pid)) return true;
  const now = began === undefined ? undefined : beginning(pid);
  return now !== undefined && now !== began; // another process has its number
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A file or folder that an ended process left. */
export interface Left {
  path: string;
  stem: string;
}

/**
 * What ended processes left in a folder: those of this machine, and of others what has not changed for a day. Nothing where the folder
 * cannot be read.
 * @param isOurs whether the caller makes such names
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
    () => false, // gone meanwhile
  );
}

/** Removes what leftIn finds. What cannot be removed is only litter. */
export async function removeLeft(folder: string, isOurs: Parameters<typeof leftIn>[1]): Promise<void> {
  for (const { path } of await leftIn(folder, isOurs)) await rm(path, { recursive: true, force: true }).catch(() => {});
}

const swept = new Set<string>();

/** Removes files that ended processes were writing into a folder, once in the life of this process. */
export async function removeLeftFiles(folder: string): Promise<void> {
  if (swept.has(folder)) return;
  if (swept.size >= 4096) swept.clear();
  swept.add(folder);
  await removeLeft(folder, ({ stem, ending }) => stem.startsWith(".") && ending === TEMPORARY_FILE);
}

/** The ending of files that removeLeftFiles removes; their stems begin with a dot. */
export const TEMPORARY_FILE = ".tmp";
