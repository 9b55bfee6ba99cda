// File access for all formats: typed errors, JSON, and atomic writes.
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { HeddleError, reasonOf } from "../core/errors.ts";
import { removeLeftFiles, TEMPORARY_FILE, temporaryName } from "../core/temp-files.ts";
import { isMissing } from "./is-missing.ts";
import { type JsonLimits, parseJson } from "./json.ts";
import { kindOf, readWhole } from "./open-file.ts";
import { realPath } from "./real-path.ts";

/** Converts a system error to a HeddleError: NOT_FOUND for a missing path, IO for everything else. */
export function ioError(cause: unknown, path: string, action: string): HeddleError {
  if (cause instanceof HeddleError) return cause;
  const reason = ioReason(cause);
  return new HeddleError(reason === MISSING ? "NOT_FOUND" : "IO", `${path}: cannot be ${action}: ${reason}`, { cause });
}

const MISSING = "no such file or folder";
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: MISSING,
  ENOTDIR: MISSING,
  ENOSPC: "no space left on the disk",
  EDQUOT: "no space left on the disk",
  EFBIG: "the file exceeds the allowed size",
};

/** Returns the reason of a system error, for a message. */
export function ioReason(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return REASONS[String(code)] ?? reasonOf(cause);
}

/** Whether a path leads to a file or folder. @throws HeddleError IO if the path cannot be examined */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw ioError(error, path, "examined");
  }
}

/**
 * Returns the names in a folder, or none if the folder is missing.
 * @param action a participle for the error's message, `cannot be ACTION`
 * @throws HeddleError IO
 */
export async function listFolder(folder: string, action = "listed"): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw ioError(error, folder, action);
  }
}

/**
 * Makes a folder and its missing parents. Node's recursive mkdir is not used, because it has two defects: it reports a read-only disk as a
 * missing path, and it never returns if the system refuses a folder with ENOENT, as below /proc.
 * @throws HeddleError INVALID_ARGUMENT for an empty path, NOT_FOUND, IO
 */
export async function makeFolder(path: string): Promise<void> {
  if (path === "") throw new HeddleError("INVALID_ARGUMENT", "folder: expected a path, got an empty one");
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return needFolder(path);
    const above = dirname(path);
    if (code !== "ENOENT" || above === path) {
      throw code === "ENOENT" ? refused(path, error) : ioError(error, path, "created");
    }
    // If the parent exists, another process may have just made it, so try again.
    if (!(await exists(above))) await makeFolder(above);
    await mkdir(path).catch((again: NodeJS.ErrnoException) => {
      if (again.code === "EEXIST") return needFolder(path); // another process made it
      // The path is a dangling link, or the system allows no folder there.
      throw again.code === "ENOENT" ? refused(path, again) : ioError(again, path, "created");
    });
  }
}

function refused(path: string, cause: unknown): HeddleError {
  return new HeddleError("IO", `${path}: cannot be created: the system allows no folder there`, { cause });
}

async function needFolder(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    throw ioError(error, path, "created");
  });
  if (!found.isDirectory()) throw new HeddleError("IO", `${path}: expected a folder, got a file`);
}

/** Default maximum size of a JSON file in bytes. */
export const MAX_JSON_BYTES = 16 * 1024 * 1024;

/**
 * Reads and parses a JSON file.
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE (not a regular file, too big, too deep, too many values, not JSON)
 * @param limits.bytes maximum size of the file in bytes
 */
export async function readJson(
  path: string,
  { bytes: maxBytes = MAX_JSON_BYTES, ...limits }: JsonLimits & { bytes?: number } = {},
): Promise<unknown> {
  let bytes: Buffer;
  try {
    if ((await stat(path)).isDirectory())
      throw new HeddleError("INVALID_FILE", `${path}: expected a file, got a folder`);
    bytes = await readWhole(path, maxBytes, { what: "bytes of JSON" });
  } catch (error) {
    throw ioError(error, path, "read");
  }
  return parseJson(bytes, path, limits);
}

/** Receives all bytes of a file in order. The bytes must not change until the promise settles. */
interface Reader {
  update(bytes: Uint8Array): Promise<void>;
}

/** A new file that is written sequentially, in blocks of 1 MiB. finish() flushes it and calls fsync. */
export class FileSink {
  private buffer = Buffer.allocUnsafe(1 << 20);
  private used = 0;
  /** Bytes written so far. */
  position = 0;

  private constructor(
    /** The path that messages show. */
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly reader: Reader | undefined,
  ) {}

  /**
   * @param shown the path that messages show, if `path` is temporary
   * @param how.reader receives all bytes that are written
   * @param how.mode permissions of the file. Default: those of a new file
   */
  static async create(
    path: string,
    shown = path,
    { reader, mode }: { reader?: Reader | undefined; mode?: number | undefined } = {},
  ): Promise<FileSink> {
    try {
      const handle = await open(path, "wx", mode);
      if (mode !== undefined) await handle.chmod(mode).catch(() => {}); // the file system may not support permissions
      return new FileSink(shown, handle, reader);
    } catch (error) {
      throw ioError(error, shown, "created");
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.position += bytes.length;
    if (bytes.length >= this.buffer.length) {
      await this.flush();
      await this.writeAll(bytes);
      return;
    }
    if (this.used + bytes.length > this.buffer.length) await this.flush();
    this.buffer.set(bytes, this.used);
    this.used += bytes.length;
  }

  /** Writes zeros until the position is a multiple of `alignment`. */
  async align(alignment: number): Promise<void> {
    const rest = this.position % alignment;
    if (rest > 0) await this.write(new Uint8Array(alignment - rest));
  }

  /** Flushes, calls fsync and closes the file. */
  async finish(): Promise<void> {
    try {
      await this.flush();
      await this.handle.sync();
    } catch (error) {
      throw ioError(error, this.path, "written");
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.handle.close().catch(() => {});
  }

  private async flush(): Promise<void> {
    const used = this.used;
    this.used = 0;
    if (used > 0) await this.writeAll(this.buffer.subarray(0, used));
  }

  private async writeAll(bytes: Uint8Array): Promise<void> {
    await Promise.all([this.put(bytes), this.reader?.update(bytes)]);
  }

  private async put(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        // Linux writes at most 2 GiB at a time.
        const { bytesWritten } = await this.handle.write(bytes, done, Math.min(bytes.length - done, 1 << 30));
        if (bytesWritten === 0) throw new Error("the system writes no more bytes"); // without this check the loop would not end
        done += bytesWritten;
      }
    } catch (error) {
      throw ioError(error, this.path, "written");
    }
  }
}

/** Error codes of fsync where the system cannot sync folders, or needs read permission for it. A crash may then undo renames. */
const NO_SYNC: ReadonlySet<string | undefined> = new Set(["EINVAL", "ENOTSUP", "EISDIR", "EACCES", "EPERM"]);

/** Calls fsync on a folder, so that renames in it survive a crash. It does nothing where folders cannot be synced. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!NO_SYNC.has((error as NodeJS.ErrnoException).code)) throw ioError(error, folder, "synchronized");
  }
}

/** Maximum number of symbolic links to follow, as in Linux (MAXSYMLINKS). */
const MAX_LINKS = 40;

/**
 * Returns the path to write to, and the permissions of the file to replace. It follows symbolic links, so that a link stays and its
 * target is replaced, even on another disk. It refuses anything that is not a regular file, because a rename would replace that too.
 */
async function placeOf(path: string): Promise<{ place: string; mode?: number }> {
  let place = path;
  for (let links = 0; links < MAX_LINKS; links++) {
    const found = await lstat(place).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw ioError(error, path, "written");
    });
    if (!found) return { place };
    if (found.isFile()) return { place, mode: found.mode & 0o777 };
    if (!found.isSymbolicLink())
      throw new HeddleError("IO", `${path}: cannot be written: expected a regular file, got ${kindOf(found)}`);
    try {
      place = resolve(await realPath(dirname(place)), await readlink(place));
    } catch (error) {
      throw ioError(error, path, "written");
    }
  }
  throw new HeddleError("IO", `${path}: cannot be written: expected at most ${MAX_LINKS} symbolic links, got more`);
}

/** A complete file under a temporary name next to its target. */
export interface StagedFile {
  readonly temporary: string;
  readonly place: string;
  /** The path that messages show. */
  readonly path: string;
}

/**
 * Writes a file under a temporary name, for `placeFile` to rename. On any error, also one thrown by `body`, the temporary file is removed.
 */
export async function stageFile(path: string, body: (sink: FileSink) => Promise<void>): Promise<StagedFile> {
  const { place, mode } = await placeOf(path);
  await removeLeftFiles(dirname(place));
  // Shorten the name, because file systems limit names to 255 bytes.
  const temporary = join(dirname(place), temporaryName(`.${basename(place).slice(0, 40)}`, TEMPORARY_FILE));
  const sink = await FileSink.create(temporary, path, { mode });
  try {
    await body(sink);
    await sink.finish();
  } catch (error) {
    await sink.close();
    await discardFile({ temporary });
    throw error;
  }
  return { temporary, place, path };
}

/** Renames a staged file to its target and replaces what is there. */
export async function placeFile({ temporary, place, path }: StagedFile): Promise<void> {
  try {
    await rename(temporary, place).catch((error: NodeJS.ErrnoException) => {
      if (!IN_USE.has(error.code)) throw error;
      return replaceInUse(temporary, place, error);
    });
  } catch (error) {
    throw ioError(error, path, "replaced");
  }
}

/** Error codes of Windows for a file that a process has open or mapped. */
const IN_USE: ReadonlySet<string | undefined> = new Set(["EPERM", "EACCES", "EBUSY"]);

/**
 * Replaces a file that a process has open or mapped. Windows refuses to overwrite such a file, but allows renaming it. The old file
 * therefore gets a temporary name, and is removed once no process uses it.
 */
async function replaceInUse(temporary: string, place: string, refused: Error): Promise<void> {
  if (process.platform !== "win32") throw refused;
  const moved = join(dirname(place), temporaryName(`.${basename(place).slice(0, 40)}`, TEMPORARY_FILE));
  await rename(place, moved).catch(() => {
    throw refused;
  });
  try {
    await rename(temporary, place);
  } catch (error) {
    await rename(moved, place).catch(() => {});
    throw error;
  }
  await rm(moved, { force: true }).catch(() => {}); // if it is still in use, a later process removes it
}

/** Removes a staged file that will not be placed. It ignores errors. */
export async function discardFile({ temporary }: Pick<StagedFile, "temporary">): Promise<void> {
  await rm(temporary, { force: true }).catch(() => {});
}

/**
 * Writes a file atomically: temporary file, fsync, rename, fsync of the folder. On any error, also in `body`, the temporary file is
 * removed and the old file stays. If the process is killed, the next process that writes into the folder removes the temporary file.
 */
export async function writeFileAtomically(path: string, body: (sink: FileSink) => Promise<void>): Promise<void> {
  const staged = await stageFile(path, body);
  try {
    await placeFile(staged);
  } catch (error) {
    await discardFile(staged);
    throw error;
  }
  await syncFolder(dirname(staged.place));
}

/** Writes a value as indented JSON, atomically. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await writeFileAtomically(path, (sink) => sink.write(Buffer.from(text)));
}
