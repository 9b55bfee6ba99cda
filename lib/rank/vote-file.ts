import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { ioError, syncFolder } from "../io/atomic-files.ts";
import { claim } from "../io/claim.ts";
import { mostJson } from "../io/json-memory.ts";
import { openFileToWrite } from "../io/open-file.ts";

/** A row of the file, and the offset of its start in bytes. */
export interface WrittenRow {
  readonly offset: number;
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * A .jsonl file to which votes are appended. `append` resolves when the vote is on disk. A partial row of a killed process is removed when the
 * file is opened. The last vote can be undone.
 */
export class VoteFile {
  readonly path: string;
  private readonly handle: FileHandle;
  private readonly release: () => void;
  private end: number;

  private constructor(path: string, handle: FileHandle, end: number, release: () => void) {
    this.path = path;
    this.handle = handle;
    this.end = end;
    this.release = release;
  }

  /**
   * Opens or creates the file, and claims it for this run.
   * @returns the file and its rows
   * @throws HeddleError IO, INVALID_FILE `file:line: …`, INVALID_ARGUMENT if another run writes it
   */
  static async open(path: string): Promise<{ file: VoteFile; rows: WrittenRow[] }> {
    const handle = await openOrMake(path);
    let release = () => {};
    try {
      // Claim the file before reading it. A row that another run is writing would look like the partial row of a killed run.
      release = await claim(path, "out", "file");
      const bytes = await handle.readFile();
      const { rows, end } = rowsOf(bytes, path);
      if (end < bytes.length) await handle.truncate(end);
      if (end > 0 && bytes[end - 1] !== 0x0a) await handle.write("\n", end);
      await handle.sync();
      await syncFolder(dirname(path));
      const { size } = await handle.stat();
      return { file: new VoteFile(path, handle, size, release), rows };
    } catch (error) {
      release();
      await handle.close();
      throw error instanceof HeddleError ? error : ioError(error, path, "opened");
    }
  }

  /** Appends a row and waits until it is on disk. @returns the offset of its start in bytes */
  async append(value: object): Promise<number> {
    await this.needOwn();
    const offset = this.end;
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
    try {
      for (let done = 0; done < bytes.length; )
        done += (await this.handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
      await this.handle.sync();
    } catch (error) {
      await this.handle.truncate(offset).catch(() => {}); // if the disk is full, existing rows stay unchanged
      throw ioError(error, this.path, "written");
    }
    this.end = offset + bytes.length;
    return offset;
  }

  /** Removes the last row, which begins at `offset`. */
  async removeLast(offset: number): Promise<void> {
    await this.needOwn();
    try {
      await this.handle.truncate(offset);
      await this.handle.sync();
    } catch (error) {
      throw ioError(error, this.path, "written");
    }
    this.end = offset;
  }

  /** Throws if another process has written to the file, so that this run does not overwrite that data. */
  private async needOwn(): Promise<void> {
    const { size } = await this.handle.stat();
    if (size !== this.end)
      throw new HeddleError("IO", `${this.path}: expected ${this.end} bytes, got ${size}: something else writes to it`);
  }

  async close(): Promise<void> {
    this.release();
    await this.handle.close();
  }
}

/** Opens or creates the file for reading and writing at any position. Append mode would only write at the end. */
async function openOrMake(path: string): Promise<FileHandle> {
  try {
    return await openFileToWrite(path);
  } catch (error) {
    throw ioError(error, path, "opened");
  }
}

/** Parses the rows of the file, and finds the end of the last complete row. Only the last line may be incomplete, after an interrupted write. */
function rowsOf(bytes: Buffer, path: string): { rows: WrittenRow[]; end: number } {
  const rows: WrittenRow[] = [];
  const most = mostJson();
  let line = 0;
  for (let at = 0; at < bytes.length; ) {
    line += 1;
    const newline = bytes.indexOf(0x0a, at);
    const next = newline < 0 ? bytes.length : newline + 1;
    const text = bytes.toString("utf8", at, next).trim();
    if (text !== "") {
      if (text.length > most)
        throw new HeddleError(
          "INVALID_FILE",
          `${path}:${line}: expected a row of at most ${most} characters, got more`,
        );
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        if (newline < 0) return { rows, end: at };
        throw new HeddleError("INVALID_FILE", `${path}:${line}: expected a JSON object, got text that is not JSON`);
      }
      if (!isObject(value))
        throw new HeddleError("INVALID_FILE", `${path}:${line}: expected a JSON object, got another value`);
      rows.push({ offset: at, value });
    }
    at = next;
  }
  return { rows, end: bytes.length };
}
