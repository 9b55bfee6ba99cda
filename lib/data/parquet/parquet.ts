import type { FileHandle } from "node:fs/promises";
import type { AsyncBuffer, FileMetaData } from "hyparquet";
import { HeddleError } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { pause } from "../../core/slices.ts";
import { openFile } from "../../io/open-file.ts";
import { fileError } from "../documents/shards.ts";
import { readColumns } from "./parquet-columns.ts";
import { readFooter } from "./parquet-footer.ts";
import { checkPages } from "./parquet-pages.ts";
import { BrokenText } from "./parquet-text.ts";

/** Maximum number of rows in a row group. */
const MAX_ROWS = 2 ** 24;

/** Consecutive rows that are stored together. */
export interface RowGroup {
  index: number;
  firstRow: number;
  rows: number;
}

/**
 * A Parquet file, read by row groups. Memory holds only the requested columns of one row group. All usual codecs are supported (Snappy,
 * gzip, Brotli, LZ4, Zstandard). hyparquet parses the format.
 *
 * @example
 * const table = await ParquetTable.open("train-00000-of-00041.parquet");
 * for (const group of table.groups) for await (const row of table.rows(group)) …
 */
export class ParquetTable {
  readonly path: string;
  /** Size on disk, in bytes. */
  readonly size: number;
  readonly groups: readonly RowGroup[];
  /** Names of the top-level columns. */
  readonly columns: readonly string[];
  readonly #metadata: FileMetaData;

  private constructor(path: string, size: number, metadata: FileMetaData, columns: readonly string[]) {
    this.path = path;
    this.size = size;
    this.#metadata = metadata;
    this.columns = columns;
    let firstRow = 0;
    this.groups = metadata.row_groups.map(({ num_rows }, i) => {
      const rows = Number(num_rows);
      if (!isWhole(rows, 0, MAX_ROWS))
        throw invalid(path, `row group ${i}: expected from 0 to ${MAX_ROWS} rows, got ${num_rows}`);
      const group = { index: i, firstRow, rows };
      firstRow += rows;
      return group;
    });
  }

  /** Opens a Parquet file. @throws HeddleError NOT_FOUND, IO, INVALID_FILE */
  static async open(path: string): Promise<ParquetTable> {
    return await reading(path, async (file) => {
      await checkMagic(path, file);
      const { parquetSchema } = await import("hyparquet");
      const metadata = await readFooter(file);
      const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
      return new ParquetTable(path, file.byteLength, metadata, columns);
    });
  }

  /** Returns the decompressed size in bytes of a group's columns, or of one column if it is named. */
  bytesOf(group: number, column?: string): number {
    const { columns } = this.#metadata.row_groups[group]!;
    const wanted = columns.filter(({ meta_data }) => column === undefined || meta_data?.path_in_schema[0] === column);
    return wanted.reduce((sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0), 0);
  }

  /**
   * Returns the values of one column of a row group, in order; null for a row without a value.
   * @throws HeddleError IO, INVALID_FILE (also for invalid UTF-8)
   */
  async column(group: RowGroup, name: string): Promise<unknown[]> {
    if (!this.columns.includes(name))
      throw invalid(this.path, `expected a column ${JSON.stringify(name)}, got the columns ${this.columns.join(", ")}`);
    const found = await this.#read(group, [name]);
    const values: unknown[] = [];
    for (const value of found.get(name) ?? []) {
      if (value instanceof BrokenText) throw this.#broken(group, values.length, name);
      values.push(value ?? null);
      const resumed = pause();
      if (resumed) await resumed;
    }
    return values;
  }

  /**
   * Iterates over the rows of a group as objects. Each object is created when it is requested. Safe integers become
   * numbers, and larger integers strings.
   * @throws HeddleError IO, INVALID_FILE (also for invalid UTF-8)
   */
  async *rows(group: RowGroup): AsyncGenerator<Record<string, unknown>, void, undefined> {
    const columns = [...(await this.#read(group))];
    for (let i = 0; i < group.rows; i++) {
      const resumed = pause();
      if (resumed) await resumed;
      let row: Record<string, unknown>;
      try {
        row = Object.fromEntries(columns.map(([name, values]) => [name, plain(values[i], name)]));
      } catch (error) {
        if (error instanceof BrokenIn) throw this.#broken(group, i, error.column);
        throw invalid(this.path, `row ${group.firstRow + i + 1}: ${(error as Error).message}`, error); // nested too deep: stack overflow
      }
      yield row;
    }
  }

  #broken({ firstRow }: RowGroup, index: number, column: string): HeddleError {
    const place = `row ${firstRow + index + 1}`;
    return invalid(this.path, `${place}: expected UTF-8 in the column ${JSON.stringify(column)}, got invalid bytes`);
  }

  async #read({ index, firstRow, rows }: RowGroup, wanted?: readonly string[]): Promise<Map<string, unknown[]>> {
    if (rows === 0) return new Map();
    return await reading(this.path, async (file) => {
      if (file.byteLength !== this.size)
        throw new HeddleError(
          "IO",
          `${this.path}: changed while it was read, expected ${this.size} bytes, got ${file.byteLength}`,
        );
      for (const chunk of this.#metadata.row_groups[index]!.columns)
        if (!wanted || wanted.includes(chunk.meta_data?.path_in_schema[0] ?? "")) await checkPages(file, chunk);
      const columns = await readColumns(file, this.#metadata, { path: this.path, index }, wanted);
      for (const [name, { length }] of columns)
        if (length !== rows)
          throw invalid(
            this.path,
            `expected ${rows} rows from row ${firstRow + 1}, got ${length} in the column ${JSON.stringify(name)}`,
          );
      return columns;
    });
  }
}

/** Opens a file for one read. Any error of the parser becomes INVALID_FILE with the file's name. */
async function reading<T>(path: string, read: (file: AsyncBuffer) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await openFile(path);
    const { size } = await handle.stat();
    return await read(bufferOf(path, handle, size));
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    if (handle === undefined || typeof (error as NodeJS.ErrnoException).syscall === "string")
      throw fileError(path, error);
    throw invalid(path, `expected a Parquet file that can be read, got one with ${(error as Error).message}`, error);
  } finally {
    await handle?.close();
  }
}

function bufferOf(path: string, handle: FileHandle, size: number): AsyncBuffer {
  const slice = async (start: number, end: number) => {
    // Check first, because an invalid offset must not cause an allocation.
    if (!(start >= 0 && start <= end && end <= size))
      throw invalid(path, `expected bytes within the file's ${size}, got a reference to ${start} to ${end}`);
    const bytes = new Uint8Array(end - start);
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
      if (bytesRead === 0) throw new HeddleError("IO", `${path}: changed while it was read`);
      filled += bytesRead;
    }
    return bytes.buffer;
  };
  return {
    byteLength: size,
    slice(start, end = size) {
      const bytes = slice(start, end);
      bytes.catch(() => undefined); // the parser reads ahead, and may fail before it awaits the result
      return bytes;
    },
  };
}

class BrokenIn extends Error {
  constructor(readonly column: string) {
    super();
  }
}

/** Converts a value to plain JSON types, except dates. Safe integers become numbers, larger ones strings. @throws BrokenIn for invalid UTF-8 */
function plain(value: unknown, column: string): unknown {
  if (value instanceof BrokenText) throw new BrokenIn(column);
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (Array.isArray(value)) return value.map((inner) => plain(inner, column));
  if (ArrayBuffer.isView(value))
    return Array.from(value as unknown as ArrayLike<unknown>, (inner) => plain(inner, column));
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, column)]));
}

/** The magic number, at the beginning and at the end of a file. */
const MAGIC = "PAR1";

/** Checks the magic numbers of a file. @throws HeddleError INVALID_FILE */
async function checkMagic(path: string, file: AsyncBuffer): Promise<void> {
  const { byteLength: size } = file;
  const at = async (start: number) =>
    Buffer.from(await file.slice(start, Math.min(size, start + 4))).toString("latin1");
  if (size < 4 || (await at(0)) !== MAGIC)
    throw invalid(path, `not a Parquet file: expected it to begin with ${MAGIC}`);
  if (size < 12 || (await at(size - 4)) !== MAGIC)
    throw invalid(path, `the file ends at byte ${size} without its footer and ${MAGIC}: it is truncated`);
}

function invalid(path: string, message: string, cause?: unknown): HeddleError {
  return new HeddleError("INVALID_FILE", `${path}: ${message}`, { cause });
}
