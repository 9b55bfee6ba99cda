// checkpoint.json: lists a checkpoint's files with their sizes and digests, to detect damage.
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, HeddleError, reasonOf } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import type { Device } from "../../graph/index.ts";
import { exists, ioError, readJson } from "../../io/atomic-files.ts";
import { isMissing } from "../../io/is-missing.ts";
import { digestOfFile, digestOfText } from "../digest.ts";

/** Name of a checkpoint's manifest, which lists its files. */
export const MANIFEST = "checkpoint.json";

/** Matches the name of a checkpoint's file. Paths do not match, so a manifest cannot name files outside the folder. */
export const CHECKPOINT_FILE = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;

interface Manifest {
  step: number;
  /** Ordinal of the checkpoint among all that were saved to its folder. Absent from the oldest checkpoints. */
  order?: number;
  /** Size of each file in bytes. */
  files: Readonly<Record<string, number>>;
  /** Digest of each file. Absent from older checkpoints. */
  digests?: Readonly<Record<string, string>>;
}

/**
 * Returns the text of checkpoint.json. It includes a digest of the manifest itself, so that a flipped bit cannot make
 * an old checkpoint the newest, or hide the digests.
 */
export function manifestText(manifest: Manifest): string {
  const digest = digestOfText(JSON.stringify(manifest));
  return `${JSON.stringify({ ...manifest, digest }, null, 2)}\n`;
}

/** Describes how a checkpoint is damaged. */
export class Damage {
  constructor(
    readonly file: string,
    /** The problem, such as `expected X, got Y`. */
    readonly what: string,
  ) {}

  toString(): string {
    return `${this.file}: ${this.what}`;
  }

  /** Returns the damage as an error about the checkpoint at `path`. */
  at(path: string): HeddleError {
    return new HeddleError("INVALID_FILE", `${join(path, this.file)}: ${this.what}`);
  }
}

/**
 * Reads the manifest of a checkpoint, and checks that its files exist and have the listed sizes. It does not read their
 * content.
 * @throws HeddleError if the system has run out of a resource
 */
export async function readManifest(path: string): Promise<Manifest | Damage> {
  let found: unknown;
  try {
    found = await readJson(join(path, MANIFEST));
  } catch (error) {
    if (error instanceof HeddleError && (error.code === "NOT_FOUND" || error.code === "INVALID_FILE"))
      return new Damage(MANIFEST, "expected a manifest, got none that can be read");
    return unreadable(error, MANIFEST, path);
  }
  const manifest = checked(found);
  if (manifest instanceof Damage) return manifest;
  for (const [name, bytes] of Object.entries(manifest.files)) {
    if (!CHECKPOINT_FILE.test(name)) return new Damage(MANIFEST, `expected plain file names, got ${describe(name)}`);
    try {
      const { size } = await stat(join(path, name));
      if (size !== bytes) return new Damage(name, `expected ${bytes} bytes, got ${size}`);
    } catch (error) {
      if (isMissing(error)) return new Damage(name, `expected ${bytes} bytes, got no such file`);
      return unreadable(error, name, path);
    }
  }
  return manifest;
}

function checked(found: unknown): Manifest | Damage {
  if (!isObject(found) || !Number.isSafeInteger(found.step) || !isObject(found.files))
    return new Damage(MANIFEST, "expected an object with `step` and `files`, got a value without them");
  const { digest, ...manifest } = found;
  // Old manifests have no digest, and no keys except `step`, `order` and `files`.
  const { step: _, order: __, files, ...rest } = manifest;
  if (digest === undefined && Object.keys(rest).length === 0) return manifest as unknown as Manifest;
  const computed = digestOfText(JSON.stringify(manifest));
  if (computed !== digest) return new Damage(MANIFEST, `expected digest ${describe(digest)}, got ${computed}`);
  const names = Object.keys(files as object);
  if (!isObject(manifest.digests) || names.some((name) => !Object.hasOwn(manifest.digests as object, name)))
    return new Damage(MANIFEST, "expected a digest of each file, got some files without a digest");
  return manifest as unknown as Manifest;
}

/**
 * Describes an unreadable file as damage of one checkpoint. If the system has run out of a resource, the error says
 * nothing about the checkpoint, and is thrown.
 */
function unreadable(error: unknown, file: string, path: string): Damage {
  const cause = error instanceof HeddleError ? error.cause : error;
  const { code = "" } = (cause ?? {}) as NodeJS.ErrnoException;
  if (["EMFILE", "ENFILE", "ENOMEM"].includes(code)) throw ioError(error, join(path, file), "read");
  return new Damage(file, `cannot be read: ${reasonOf(cause)}`);
}

/** How the files of a checkpoint are read. */
export interface Reading {
  /** The device whose threads compute the digests. */
  device: Device;
  signal?: AbortSignal | undefined;
}

/**
 * Reads a checkpoint's files and compares them with the manifest's digests.
 * @param only names of the files to check. Default: all
 * @returns the first damage
 * @throws HeddleError IO, ABORTED
 */
export async function findDamage(
  path: string,
  { device, signal }: Reading,
  only?: readonly string[],
): Promise<Damage | undefined> {
  const manifest = await readManifest(path);
  if (manifest instanceof Damage) return manifest;
  for (const [name, expected] of Object.entries(manifest.digests ?? {})) {
    if (only && !only.includes(name)) continue;
    let got: string;
    try {
      got = await digestOfFile(join(path, name), { device, signal });
    } catch (error) {
      if (error instanceof HeddleError && error.code !== "IO") throw error;
      // The native error has no system code. If the file cannot even be opened, the new error has one.
      try {
        await (await open(join(path, name))).close();
      } catch (cause) {
        return unreadable(cause, name, path);
      }
      return new Damage(name, (error as Error).message); // the disk can no longer read the file
    }
    if (got !== expected) return new Damage(name, `expected digest ${expected}, got ${got}`);
  }
  return undefined;
}

/**
 * Throws if a folder that the user named is a damaged checkpoint (see findDamage). A folder without a manifest passes.
 * @throws HeddleError INVALID_FILE, IO, ABORTED
 */
export async function needIntact(path: string, reading: Reading, only?: readonly string[]): Promise<void> {
  if (!(await exists(join(path, MANIFEST)))) return;
  const damage = await findDamage(path, reading, only);
  if (damage) throw damage.at(path);
}
