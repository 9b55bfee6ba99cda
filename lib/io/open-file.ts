// Opening what a path leads to without waiting for it: a pipe without a writer would block for ever, and a device never ends.
import type { Stats } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises"; // "node:fs" would load its streams with them
import { HeddleError } from "../core/errors.ts";

export interface OpenFileOptions {
  /**
   * Standard input and other descriptors of this process (`/dev/stdin`, `/dev/fd/63`) may be pipes and terminals: a shell gave them, and
   * they have a writer. For files that are read once, from the beginning to the end.
   */
  pipes?: boolean;
}

// Windows knows no such flag.
const WITHOUT_WAITING = constants.O_NONBLOCK ?? 0;
const DESCRIPTOR = /^\/(?:dev\/(?:stdin|fd\/\d+)|proc\/(?:self|\d+)\/fd\/\d+)$/;

/**
 * Opens a file to read. A folder opens too: reading it is the system's error.
 * @throws HeddleError INVALID_FILE for pipes, sockets and devices; the system's own errors
 */
export async function openFile(path: string, { pipes = false }: OpenFileOptions = {}): Promise<FileHandle> {
  // Waiting is intended when a pipe may be read.
  if (pipes && DESCRIPTOR.test(path)) return await open(path, constants.O_RDONLY);
  return await checked(path, constants.O_RDONLY);
}

/** Opens a file to read and write at any place, and makes it where it is missing. @throws as openFile */
export async function openFileToWrite(path: string): Promise<FileHandle> {
  return await checked(path, constants.O_RDWR | constants.O_CREAT);
}

async function checked(path: string, flags: number): Promise<FileHandle> {
  const handle = await open(path, flags | WITHOUT_WAITING);
  try {
    const found = await handle.stat();
    if (found.isFile() || found.isDirectory()) return handle;
    throw new HeddleError("INVALID_FILE", `${path}: expected a regular file, got ${kindOf(found)}`);
  } catch (error) {
    await handle.close().catch(() => {});
    throw error;
  }
}

/** Names the kind of an irregular file, for messages. */
export function kindOf(found: Stats): string {
  if (found.isDirectory()) return "a folder";
  return found.isFIFO() ? "a pipe" : found.isSocket() ? "a socket" : "a device";
}

/** Bytes of a read: of what the size does not tell. */
const PIECE_BYTES = 1 << 16;

/**
 * All of a file, whatever its size says of it: files of `/proc` say 0.
 * @param most bytes that are accepted, and so read, at most
 * @param what they are, for the message: `bytes of JSON`
 * @throws HeddleError INVALID_FILE for a longer file, as openFile; the system's own errors
 */
export async function readWhole(
  path: string,
  most: number,
  { what = "bytes", ...options }: OpenFileOptions & { what?: string } = {},
): Promise<Buffer> {
  const handle = await openFile(path, options);
  try {
    return await readAll(handle, path, most, what);
  } finally {
    await handle.close();
  }
}

/** The same of a file that is open. */
export async function readAll(handle: FileHandle, path: string, most: number, what = "bytes"): Promise<Buffer> {
  const { size } = await handle.stat();
  const tooLong = (got: number | string) =>
    new HeddleError("INVALID_FILE", `${path}: expected at most ${most} ${what}, got ${got}`);
  if (size > most) throw tooLong(size);
  // One byte more than there should be: only the end of the file says that it is the end.
  let bytes = Buffer.allocUnsafe(Math.max(size, PIECE_BYTES) + 1);
  let filled = 0;
  for (;;) {
    const { bytesRead } = await handle.read(bytes, filled, Math.min(bytes.length - filled, 1 << 30), null);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
    if (filled > most) throw tooLong("more");
    if (filled === bytes.length) {
      const grown = Buffer.allocUnsafe(Math.min(2 * bytes.length, most + 1));
      bytes.copy(grown, 0, 0, filled);
      bytes = grown;
    }
  }
}
