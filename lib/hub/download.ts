// Fetches one file of a repository into the cache. A partial file is kept and resumed. Only a complete file with the right digest is renamed to
// its final name.
import { createHash, type Hash } from "node:crypto";
import { constants, type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { HeddleError, throwIfAborted } from "../core/errors.ts";
import { ioError, syncFolder } from "../io/atomic-files.ts";
import { openFileToWrite } from "../io/open-file.ts";
import type { RepositoryFile } from "./api.ts";
import { type HubRequests, Interruption, retried } from "./requests.ts";

/** Suffix of an incomplete file. Python's tools use another suffix, so they and heddle do not write to the same file. */
export const PARTIAL = ".heddle-incomplete";
const PIECE_BYTES = 1 << 20;

interface DownloadOptions {
  requests: HubRequests;
  signal: AbortSignal | undefined;
  /** Called with the number of bytes that were added to the file. The number is negative if bytes were discarded. */
  onBytes(bytes: number): void;
}

/**
 * Fetches a file to `blob`. The caller must hold the repository's lock.
 * @returns the number of bytes received over the network
 * @throws HeddleError INVALID_FILE if the server sends other bytes than it announced, IO, ABORTED, and the errors of HubRequests
 */
export async function downloadBlob(
  url: string,
  file: RepositoryFile,
  blob: string,
  { requests, signal, onBytes }: DownloadOptions,
): Promise<number> {
  const path = blob + PARTIAL;
  const partial = await PartialFile.open(path, file, onBytes, signal);
  try {
    let hasParts = partial.position > 0; // whether the bytes are from more than one connection
    for (let isFirst = true; ; isFirst = false) {
      const attempt = async () => {
        if (partial.position > 0) hasParts = true;
        await receive(url, file, partial, requests);
      };
      let furthest = 0;
      const progress = () => {
        furthest = Math.max(furthest, partial.position);
        return furthest;
      };
      if (partial.position < file.size) await retried(signal, attempt, progress);
      if (partial.digest() === file.digest.hex) break;
      const got = partial.digest();
      await partial.restart();
      // Bytes of an earlier connection, or from before a crash, may be wrong. A file with such bytes is fetched again from the start. If
      // all bytes came over one connection, or the digest is wrong again, the server sent wrong bytes.
      if (!isFirst || !hasParts) {
        await rm(path, { force: true });
        throw new HeddleError(
          "INVALID_FILE",
          `${file.path}: expected bytes with the ${file.digest.algorithm} ${file.digest.hex}, got ${got}; the bytes are discarded`,
        );
      }
    }
    await partial.sync();
    await partial.needSameFile();
  } catch (error) {
    throw error instanceof HeddleError ? error : ioError(error, path, "written");
  } finally {
    await partial.close();
  }
  try {
    await rename(path, blob);
  } catch (error) {
    throw ioError(error, blob, "created");
  }
  await syncFolder(dirname(blob));
  return partial.received;
}

/** Receives the missing bytes over one connection. @throws Interruption if the connection is lost */
async function receive(url: string, file: RepositoryFile, partial: PartialFile, requests: HubRequests): Promise<void> {
  const from = partial.position;
  const answer = await requests.open(url, from > 0 ? { range: `bytes=${from}-` } : {});
  if (answer.status === 206) checkRange(answer, from, file);
  else {
    if (from > 0) await partial.restart(); // the server does not support ranges
    const length = answer.headers.get("content-length");
    if (length !== null && Number(length) !== file.size) throw wrongSize(file, length);
  }
  for await (const chunk of requests.chunks(answer)) {
    if (partial.position + chunk.length > file.size) throw wrongSize(file, "more");
    await partial.write(chunk);
  }
  if (partial.position < file.size) throw new Interruption(`${file.path}: the connection ended early`);
}

function checkRange(answer: Response, from: number, file: RepositoryFile): void {
  const range = answer.headers.get("content-range") ?? "none";
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
  if (Number(start) !== from || (total !== "*" && Number(total) !== file.size))
    throw new HeddleError(
      "INVALID_FILE",
      `${file.path}: expected the range from ${from} of ${file.size} bytes, got ${range.slice(0, 100)}`,
    );
}

function wrongSize(file: RepositoryFile, got: string): HeddleError {
  return new HeddleError("INVALID_FILE", `${file.path}: expected ${file.size} bytes, got ${got.slice(0, 30)}`);
}

/** An incomplete file, with the running digest of its bytes. */
class PartialFile {
  /** Number of bytes in the file. */
  position = 0;
  /** Number of bytes received over the network. */
  received = 0;
  private hash: Hash;

  private constructor(
    private handle: FileHandle,
    private readonly path: string,
    private readonly file: RepositoryFile,
    private readonly onBytes: (bytes: number) => void,
  ) {
    this.hash = hashOf(file);
  }

  /** Opens the file, and adds the bytes that an earlier run left in it to the digest. */
  static async open(
    path: string,
    file: RepositoryFile,
    onBytes: (bytes: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<PartialFile> {
    let partial: PartialFile;
    try {
      partial = new PartialFile(await openFileToWrite(path), path, file, onBytes);
    } catch (error) {
      throw ioError(error, path, "written");
    }
    try {
      await partial.readBack(signal);
      return partial;
    } catch (error) {
      await partial.close();
      throw ioError(error, path, "read");
    }
  }

  private async readBack(signal: AbortSignal | undefined): Promise<void> {
    const { size } = await this.handle.stat();
    if (size > this.file.size) return this.restart();
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    while (this.position < size) {
      throwIfAborted(signal, "pull");
      const { bytesRead } = await this.handle.read(buffer, 0, buffer.length, this.position);
      if (bytesRead === 0) return;
      this.add(buffer.subarray(0, bytesRead));
    }
  }

  private add(bytes: Uint8Array): void {
    this.hash.update(bytes);
    this.position += bytes.length;
    this.onBytes(bytes.length);
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done, this.position + done);
        if (bytesWritten === 0) throw new Error("the system writes no more bytes");
        done += bytesWritten;
      }
    } catch (error) {
      throw ioError(error, this.path, "written");
    }
    this.received += bytes.length;
    this.add(bytes);
  }

  /**
   * Replaces the file by a new, empty one. It does not truncate the old file, because a pull in another container may still
   * write to it: the lock does not work across containers. It closes the old file first, because Windows keeps the name of a
   * removed file until all its handles are closed.
   */
  async restart(): Promise<void> {
    await this.close();
    await rm(this.path, { force: true });
    this.handle = await open(this.path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
    this.onBytes(-this.position);
    this.position = 0;
    this.hash = hashOf(this.file);
  }

  digest(): string {
    return this.hash.copy().digest("hex");
  }

  /** Checks that the path still leads to the open file, so that `rename` moves the right file. @throws HeddleError IO */
  async needSameFile(): Promise<void> {
    const [own, found] = await Promise.all([
      this.handle.stat({ bigint: true }),
      stat(this.path, { bigint: true }).catch(() => undefined),
    ]);
    if (found?.ino !== own.ino || found.dev !== own.dev)
      throw new HeddleError("IO", `${this.path}: another pull has replaced this file; pull again`);
  }

  async sync(): Promise<void> {
    await this.handle.sync();
  }

  async close(): Promise<void> {
    await this.handle.close().catch(() => {});
  }
}

/** Returns a hash to which the file's bytes are added. Git's SHA-1 also covers a header with the size. */
function hashOf({ digest, size }: RepositoryFile): Hash {
  return digest.algorithm === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}
