// Names of what is written under another name first. Whose they are stands in them, so that what a process left that was ended in the
// middle can be told from what another is writing, and be removed by the next that comes.
import { readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

const ONE_DAY = 24 * 60 * 60 * 1000;

function host(): string {
  return hostname()
    .replace(/[^A-Za-z0-9]/g, "")
    .slice(0, 32);
}

/** `stem.host.pid.random` with `ending` behind it: a name that nobody has, and that says who made it. */
export function temporaryName(stem: string, ending = ""): string {
  const random = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(16).padStart(8, "0");
  return `${stem}.${host()}.${process.pid}.${random}${ending}`;
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
  const match = /^(.+)\.([A-Za-z0-9]*)\.([0-9]{1,10})\.[0-9a-f]{8}(\.[a-z]+)?$/s.exec(name);
  if (!match) return undefined;
  const [, stem, owner, pid, ending = ""] = match;
  return { stem: stem!, ending, ended: owner === host() ? !isAlive(Number(pid)) : undefined };
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
