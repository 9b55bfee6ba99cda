// Opens paths without blocking. Opening a pipe without a writer blocks forever, and a device may have no end.
import type { Stats } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises"; // "node:fs" would load streams, too
import { HeddleError } from "../core/errors.ts";

interface OpenFileOptions {
  /**
   * Whether descriptors of this process (`/dev/stdin`, `/dev/fd/63`) may be pipes or terminals, which a shell has connected to a writer.
   * Set it for files that are read once, from the beginning to the end.
   */
  pipes?: boolean;
}

// O_NONBLOCK: open() does not wait for a pipe's writer. Windows lacks the flag.
const WITHOUT_WAITING = constants.O_NONBLOCK ?? 0;
const DESCRIPTOR = /^\/(?:dev\/(?:stdin|fd\/\d+)|proc\/(?:self|\d+)\/fd\/\d+)$/;

/**
 * Opens a file for reading. A folder can be opened too, but reading it fails with the system's error.
 * @throws HeddleError INVALID_FILE for pipes, sockets and devices; errors of the system
 */
export async function openFile(path: string, { pipes = false }: OpenFileOptions = {}): Promise<FileHandle> {
  // A pipe that may be read is opened in blocking mode.
  if (pipes && DESCRIPTOR.test(path)) return await open(path, constants.O_RDONLY);
  return await checked(path, constants.O_RDONLY);
}

/** Opens a file for reading and writing at any position, and creates it if it is missing. @throws as openFile */
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

/** Returns the kind of a path that is not a regular file, for messages. */
export function kindOf(found: Stats): string {
  if (found.isDirectory()) return "a folder";
  return found.isFIFO() ? "a pipe" : found.isSocket() ? "a socket" : "a device";
}

/** Minimum size of the read buffer. Some files report a size of 0 although they have content. */
const PIECE_BYTES = 1 << 16;

/**
 * Reads a whole file, even if its reported size is wrong: files in `/proc` report 0.
 * @param maxBytes maximum number of bytes to accept
 * @param what the unit in messages, such as `bytes of JSON`
 * @throws HeddleError INVALID_FILE for a longer file, or as openFile; errors of the system
 */
export async function readWhole(
  path: string,
  maxBytes: number,
  { what = "bytes", ...options }: OpenFileOptions & { what?: string } = {},
): Promise<Buffer> {
  const handle = await openFile(path, options);
  try {
    return await readAll(handle, path, maxBytes, what);
  } finally {
    await handle.close();
  }
}

/** Like readWhole, for an open file. */
export async function readAll(handle: FileHandle, path: string, maxBytes: number, what = "bytes"): Promise<Buffer> {
  const { size } = await handle.stat();
  const tooLong = (got: number | string) =>
    new HeddleError("INVALID_FILE", `${path}: expected at most ${maxBytes} ${what}, got ${got}`);
  if (size > maxBytes) throw tooLong(size);
  // Reserve one byte more than the size. Only a read of 0 bytes shows the end of the file.
  let bytes = Buffer.allocUnsafe(Math.max(size, PIECE_BYTES) + 1);
  let filled = 0;
  for (;;) {
    const { bytesRead } = await handle.read(bytes, filled, Math.min(bytes.length - filled, 1 << 30), null);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
    if (filled > maxBytes) throw tooLong("more");
    if (filled === bytes.length) {
      const grown = Buffer.allocUnsafe(Math.min(2 * bytes.length, maxBytes + 1));
      bytes.copy(grown, 0, 0, filled);
      bytes = grown;
    }
  }
}
