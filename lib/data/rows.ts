import { isUtf8 } from "node:buffer";
import { firstOf } from "../core/amounts.ts";
import { describe, HeddleError, throwIfAborted } from "../core/errors.ts";
import { isIterable, isStrings } from "../core/is-iterable.ts";
import { isObject } from "../core/is-object.ts";
import { pause } from "../core/slices.ts";
import { untilAborted } from "../core/until-aborted.ts";
import { ioError } from "../io/atomic-files.ts";
import { parseJson } from "../io/json.ts";
import { mostJson } from "../io/json-memory.ts";
import { readWhole } from "../io/open-file.ts";
import { jsonLinesOf } from "./json-lines.ts";
import { linesOf } from "./lines.ts";
import { ParquetTable } from "./parquet/parquet.ts";

/** Rows of training or evaluation data: paths of .jsonl, .parquet and .json files (an array), or an iterable of objects. */
export type RowSource<Row = object> = string | readonly string[] | Iterable<Row> | AsyncIterable<Row>;

/** A row with its location for messages: `pairs.jsonl:12`, `pairs.parquet: row 12`, or `data: row 3` for rows in memory. */
export interface LocatedRow {
  /** The row. */
  readonly value: Readonly<Record<string, unknown>>;
  /** Where the row comes from, for messages: `file:line`, or its position in an iterable. */
  readonly where: string;
  /** Index of the row in its source, from 0 and counted over all files. */
  readonly index: number;
  /** Whether the row comes from a file. Its errors are then INVALID_FILE, else INVALID_ARGUMENT. */
  readonly inFile: boolean;
}

/**
 * Reads rows in order: a file line by line, a Parquet file by row groups, a .json file (an array) at once. Empty lines are skipped. It
 * yields to the event loop between rows, even if the caller does not. The signal also interrupts waiting for a row.
 * @param name name of the option that gave the source, for messages
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE `file:line: …`, INVALID_ARGUMENT for a row in memory, ABORTED
 */
export async function* readRows(
  source: RowSource,
  { name = "data", signal }: { name?: string | undefined; signal?: AbortSignal | undefined } = {},
): AsyncGenerator<LocatedRow, void, undefined> {
  let index = 0;
  for await (const row of rowsOf(source, name, signal)) {
    yield { ...row, index: index++ };
    await pause();
  }
}

type UncountedRow = Omit<LocatedRow, "index">;

async function* rowsOf(
  source: RowSource,
  name: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<UncountedRow, void, undefined> {
  const files = filesIn(source);
  if (files.length > 0) {
    for (const file of files)
      yield* /\.parquet$/i.test(file)
        ? rowsOfTable(file, signal)
        : /\.json$/i.test(file) && (await isArray(file))
          ? rowsOfArray(file, signal)
          : rowsOfFile(file, signal);
    return;
  }
  const rows: unknown = source;
  if (!isIterable(rows))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${name}: expected files or an iterable of rows, got ${describe(source)}`,
    );
  let index = 0;
  for await (const value of untilAborted(rows, signal, name)) {
    index += 1;
    const where = `${name}: row ${index}`;
    if (!isObject(value))
      throw new HeddleError("INVALID_ARGUMENT", `${where}: expected an object, got ${describe(value)}`);
    yield { value, where, inFile: false };
  }
}

/** A text for the "got" part of an error message, such as `605 tokens`. It is used where the field's value does not show the problem. */
class GotText {
  constructor(readonly text: string) {}
}
/** Makes a `GotText`. */
export const gotText = (text: string): GotText => new GotText(text);

/** Lists the fields of a row, for messages: a missing field may exist under another name. */
export function fieldsOf({ value }: LocatedRow): string {
  const names = Object.keys(value).map((name) => name.slice(0, 40));
  if (names.length === 0) return "an empty object";
  return `the field${names.length > 1 ? "s" : ""} ${firstOf(names, 8)}`;
}

/** Lists the first rows, for messages. Semicolons separate them, because a place may contain commas. */
export function firstPlaces(places: readonly string[]): string {
  return firstOf(places, 3, "; ");
}

/**
 * Returns the error for a row: `pairs.jsonl:12: label: expected a string, got 3`, or for a missing field
 * `pairs.jsonl:12: label: expected a string, got nothing beside the fields text, class`.
 */
export function rowError(row: LocatedRow, field: string, expected: string, got: unknown): HeddleError {
  const beside = /\W/.test(field) || Object.keys(row.value).length === 0 ? "" : ` beside ${fieldsOf(row)}`;
  const shown = got instanceof GotText ? got.text : got === undefined ? `nothing${beside}` : describe(got);
  return new HeddleError(
    row.inFile ? "INVALID_FILE" : "INVALID_ARGUMENT",
    `${row.where}: ${field}: expected ${expected}, got ${shown}`,
  );
}

/** Returns the error for a problem of all rows together. The message names the file of the first row. */
export function rowsError({ where, inFile }: LocatedRow, expected: string, got: string): HeddleError {
  // `pairs.jsonl:12`, `pairs.parquet: row 12`, `data: row 3`
  const place = where.replace(/:( row )?\d+$/, "");
  return new HeddleError(inFile ? "INVALID_FILE" : "INVALID_ARGUMENT", `${place}: expected ${expected}, got ${got}`);
}

/** Returns the error for a source without a usable row. The message names its files, or else the option. */
export function noRowsError(source: RowSource, name: string, expected: string, got = "none"): HeddleError {
  const files = filesIn(source);
  return new HeddleError(
    files.length > 0 ? "INVALID_FILE" : "INVALID_ARGUMENT",
    `${files.join(", ") || name}: expected ${expected}, got ${got}`,
  );
}

/** Reads a field that must be a string; with `empty: false` it must not be blank. */
export function stringField(row: LocatedRow, field: string, { empty = true }: { empty?: boolean } = {}): string {
  const value = Object.hasOwn(row.value, field) ? row.value[field] : undefined;
  if (typeof value !== "string") throw rowError(row, field, "a string", value);
  if (!empty && value.trim() === "") throw rowError(row, field, "a text that is not empty", value);
  return value;
}

/** Reads a field. Returns undefined if the field is absent or null. */
export function optionalField<T>(row: LocatedRow, field: string, read: (row: LocatedRow, field: string) => T) {
  const value = Object.hasOwn(row.value, field) ? row.value[field] : undefined;
  return value === undefined || value === null ? undefined : read(row, field);
}

/** Reads a field that must be an array of strings. */
export function stringsField(row: LocatedRow, field: string): readonly string[] {
  const value = Object.hasOwn(row.value, field) ? row.value[field] : undefined;
  if (!Array.isArray(value)) throw rowError(row, field, "an array of strings", value);
  const wrong = value.findIndex((v) => typeof v !== "string");
  if (wrong >= 0) throw rowError(row, `${field}[${wrong}]`, "a string", value[wrong]);
  return value as string[];
}

async function* rowsOfFile(
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<UncountedRow, void, undefined> {
  const expected = "a JSON object";
  for await (const { value, where } of jsonLinesOf(path, { expected, signal })) {
    if (!isObject(value))
      throw new HeddleError("INVALID_FILE", `${where}: expected ${expected}, got ${describe(value)}`);
    yield { value, where, inFile: true };
  }
}

/** Whether a .json file contains an array. Many .json files have one row per line instead. */
async function isArray(path: string): Promise<boolean> {
  for await (const line of linesOf(path)) if (line.trim() !== "") return line.trimStart().startsWith("[");
  return false;
}

/** Reads the rows of a .json file. The whole file is in memory. */
async function* rowsOfArray(
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<UncountedRow, void, undefined> {
  throwIfAborted(signal, path);
  const bytes = await readWhole(path, mostJson(), { what: "bytes of JSON" }).catch((error: unknown) => {
    throw ioError(error, path, "read");
  });
  // For invalid UTF-8, read the file by lines, because the error then names the line.
  if (!isUtf8(bytes)) for await (const _ of linesOf(path, { strict: true }));
  // The size bounds the number of values: see mostJson.
  const rows = parseJson(bytes, path, { values: Number.POSITIVE_INFINITY }) as unknown[];
  for (const [i, value] of rows.entries()) {
    throwIfAborted(signal, path);
    const where = `${path}: row ${i + 1}`;
    if (!isObject(value)) throw new HeddleError("INVALID_FILE", `${where}: expected an object, got ${describe(value)}`);
    yield { value, where, inFile: true };
  }
}

/** Reads the rows of a Parquet file, with one row group in memory at a time. A row omits columns without a value. */
async function* rowsOfTable(
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<UncountedRow, void, undefined> {
  const table = await ParquetTable.open(path);
  for (const group of table.groups) {
    throwIfAborted(signal, path);
    let number = group.firstRow;
    for await (const row of table.rows(group)) {
      throwIfAborted(signal, path);
      number++;
      const value = Object.fromEntries(
        Object.entries(row).filter(([, field]) => field !== null && field !== undefined),
      );
      yield { value, where: `${path}: row ${number}`, inFile: true };
    }
  }
}

/** Returns the files of a row source; none if the rows are in memory. */
export function filesIn(source: RowSource | undefined): readonly string[] {
  if (typeof source === "string") return [source];
  return isStrings(source) ? source : [];
}
