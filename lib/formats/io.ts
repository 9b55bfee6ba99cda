// Files as every format needs them: typed errors, bounded JSON, and writes that appear whole or not at all.
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HeddleError } from "../errors.ts";
import { removeLeftFiles, TEMPORARY_FILE, temporaryName } from "../temporary.ts";
import { readWhole } from "./open-file.ts";

/** A system error as a HeddleError: NOT_FOUND for a missing path, IO for everything else. */
export function ioError(cause: unknown, path: string, action: string): HeddleError {
  if (cause instanceof HeddleError) return cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new HeddleError("NOT_FOUND", `${path}: cannot be ${action}: no such file or folder`, { cause });
  }
  const reason =
    code === "ENOSPC" || code === "EDQUOT"
      ? "no space left on the disk"
      : code === "EFBIG"
        ? "the file exceeds the allowed size"
        : cause instanceof Error
          ? cause.message
          : String(cause);
  return new HeddleError("IO", `${path}: cannot be ${action}: ${reason}`, { cause });
}

/** The same of a model that cannot be opened: one that is named as on a hub of models could be meant to be fetched. */
export function notThere(cause: unknown, path: string): HeddleError {
  const error = ioError(cause, path, "opened");
  if (error.code !== "NOT_FOUND" || !/^[\w.-]+\/[\w.-]+$/.test(path) || path.startsWith(".")) return error;
  return new HeddleError(
    "NOT_FOUND",
    `${error.message} (nothing is downloaded: name a model that is on this machine)`,
    {
      cause,
    },
  );
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw ioError(error, path, "examined");
  }
}

/**
 * Makes a folder, and those above it, where they are missing. (Node's recursive mkdir calls a read-only disk a missing path, and never
 * returns where the system refuses a folder with ENOENT, as below /proc.)
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
    if (code !== "ENOENT" || above === path || (await exists(above))) {
      // The name is there and leads nowhere (a dangling link), or its folder takes none.
      throw code === "ENOENT" ? refused(path, error) : ioError(error, path, "created");
    }
    await makeFolder(above);
    await mkdir(path).catch((again: NodeJS.ErrnoException) => {
      if (again.code === "EEXIST") return needFolder(path); // another process made it
      throw again.code === "ENOENT" ? refused(path, again) : ioError(again, path, "created");
    });
  }
}

function refused(path: string, cause: unknown): HeddleError {
  return new HeddleError("IO", `${path}: cannot be created: the system takes no folder of that name there`, { cause });
}

async function needFolder(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    throw ioError(error, path, "created");
  });
  if (!found.isDirectory()) throw new HeddleError("IO", `${path}: expected a folder, got a file`);
}

const MAX_JSON_BYTES = 16 * 1024 * 1024;
const MAX_JSON_DEPTH = 64;

/**
 * Reads and parses a JSON file. Errors: NOT_FOUND, IO, INVALID_FILE (no file, too big, too deep, not JSON).
 * @param maxBytes the largest file accepted
 */
export async function readJson(path: string, maxBytes = MAX_JSON_BYTES): Promise<unknown> {
  let bytes: Buffer;
  try {
    if ((await stat(path)).isDirectory())
      throw new HeddleError("INVALID_FILE", `${path}: expected a file, got a folder`);
    bytes = await readWhole(path, maxBytes, { what: "bytes of JSON" });
  } catch (error) {
    throw ioError(error, path, "read");
  }
  return parseJson(bytes, path);
}

/** Parses JSON text whose nesting is bounded, so that later recursive walks cannot exhaust the stack. */
export function parseJson(bytes: Uint8Array, path: string, maxDepth = MAX_JSON_DEPTH): unknown {
  checkDepth(bytes, path, maxDepth);
  try {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
    return JSON.parse(text.startsWith("\ufeff") ? text.slice(1) : text); // some editors begin UTF-8 with a mark
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HeddleError("INVALID_FILE", `${path}: expected JSON: ${reason}`, { cause });
  }
}

function checkDepth(bytes: Uint8Array, path: string, maxDepth: number): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) {
        throw new HeddleError("INVALID_FILE", `${path}: expected JSON nested at most ${maxDepth} deep, got more`);
      }
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}

/** What is told all bytes of a file, in order; nobody changes them until the promise settles. */
export interface Reader {
  update(bytes: Uint8Array): Promise<void>;
}

/** An append-only file: writes are collected into 1 MiB blocks; call finish() to flush and fsync. */
export class FileSink {
  private buffer = Buffer.allocUnsafe(1 << 20);
  private used = 0;
  /** Bytes written so far. */
  position = 0;

  private constructor(
    /** What messages call the file. */
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly reader: Reader | undefined,
  ) {}

  /**
   * @param shown what messages call the file, where it is written under a temporary name
   * @param reader is told the bytes while they are written
   */
  static async create(path: string, shown = path, reader?: Reader): Promise<FileSink> {
    try {
      return new FileSink(shown, await open(path, "wx"), reader);
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

  /** Flushes to the disk itself and closes. */
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
        if (bytesWritten === 0) throw new Error("the system writes no more bytes"); // it would not, for ever
        done += bytesWritten;
      }
    } catch (error) {
      throw ioError(error, this.path, "written");
    }
  }
}

/** Makes renames inside `folder` durable. Platforms that cannot sync a folder are left as they are. */
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
    throw ioError(error, folder, "synchronised");
  }
}

/**
 * Writes a file that appears at `path` complete or not at all: temporary name beside it, fsync, rename, folder fsync.
 * On any error (also one thrown by `body`) the temporary file is removed and what was at `path` stays; of a process that was killed the
 * next one that writes into the folder removes it.
 */
export async function writeFileAtomically(path: string, body: (sink: FileSink) => Promise<void>): Promise<void> {
  await removeLeftFiles(dirname(path));
  // Cut, because a system takes names of 255 bytes.
  const temporary = join(dirname(path), temporaryName(`.${basename(path).slice(0, 40)}`, TEMPORARY_FILE));
  const sink = await FileSink.create(temporary, path);
  try {
    await body(sink);
    await sink.finish();
    await rename(temporary, path).catch((error: unknown) => {
      throw ioError(error, path, "replaced");
    });
  } catch (error) {
    await sink.close();
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** writeFileAtomically for a value as indented JSON. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await writeFileAtomically(path, (sink) => sink.write(Buffer.from(text)));
}
