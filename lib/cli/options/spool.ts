// Copies standard input to a file, because documents are read from byte ranges, which a stream does not support.
import { type FileHandle, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { addAbortSignal } from "node:stream";
import { formatBytes } from "../../core/amounts.ts";
import { aborted, HeddleError } from "../../core/errors.ts";
import { removeLeftFiles, TEMPORARY_FILE, temporaryName } from "../../core/temp-files.ts";
import { ioError, makeFolder } from "../../io/atomic-files.ts";
import { WorkProgress } from "../terminal/work-progress.ts";
import { standardInput } from "./standard-input.ts";

/** A copy of standard input in a file, for readers that need a path. */
export class Spool {
  private constructor(
    /** A path to the file, valid until it is closed. */
    readonly path: string,
    readonly bytes: number,
    private readonly handle: FileHandle,
  ) {}

  /**
   * Copies standard input to a file in `folder`. If the system has paths for file descriptors, the file is unlinked before the first byte is
   * written, so that it disappears with the process.
   * @throws HeddleError INVALID_FILE if standard input is a folder, IO, ABORTED
   */
  static async standardInput(folder: string, signal: AbortSignal): Promise<Spool> {
    const input = standardInput();
    const name = join(folder, temporaryName(".stdin", TEMPORARY_FILE));
    const bar = new WorkProgress();
    let handle: FileHandle | undefined;
    try {
      await makeFolder(folder);
      await removeLeftFiles(folder);
      handle = await open(name, "w+");
      const path = (await withoutName(name, handle)) ?? name;
      let bytes = 0;
      for await (const chunk of addAbortSignal(signal, input) as AsyncIterable<Buffer>) {
        await handle.appendFile(chunk);
        bytes += chunk.length;
        bar.update(`${formatBytes(bytes)} of standard input`);
      }
      return new Spool(path, bytes, handle);
    } catch (error) {
      await handle?.close().catch(() => {});
      await rm(name, { force: true });
      throw signal.aborted ? aborted(signal, "tokenize") : ioError(error, name, "written");
    } finally {
      bar.end();
    }
  }

  /** Returns the error with the temporary file's path in its message replaced by "standard input". */
  renamed(error: unknown): unknown {
    if (!(error instanceof HeddleError) || !error.message.includes(this.path)) return error;
    return new HeddleError(error.code, error.message.replaceAll(this.path, "standard input"), { cause: error });
  }

  async close(): Promise<void> {
    await this.handle.close();
    // Remove the file unless it was unlinked. For an unlinked file, `path` is the path of its descriptor.
    if (this.path.endsWith(TEMPORARY_FILE)) await rm(this.path, { force: true });
  }
}

/**
 * Unlinks the file, and returns the path of its descriptor. If the system has no such paths, keeps the name and returns
 * undefined.
 */
async function withoutName(name: string, handle: FileHandle): Promise<string | undefined> {
  if (process.platform === "win32") return undefined;
  const path = `${process.platform === "linux" ? "/proc/self/fd" : "/dev/fd"}/${handle.fd}`;
  const [own, seen] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
  if (seen?.ino !== own.ino || !seen.isFile()) return undefined;
  await rm(name);
  return path;
}
