import type { AsyncBuffer, ColumnChunk } from "hyparquet";
import { invalidArgument } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { checkStruct } from "./thrift.ts";

/**
 * Maximum number of values in a column of a row group. Without this limit, a few bytes could decode to enough values to
 * exhaust memory.
 */
const MAX_VALUES = 2 ** 24;
/** Maximum number of decompressed bytes of a column of a row group, unless the environment variable allows more. */
const DEFAULT_BYTES = 2 ** 27;
const MORE_BYTES = "HEDDLE_PARQUET_COLUMN_BYTES";
const MAX_BYTES = 2 ** 30;
/** Maximum size of a page's header, including statistics. */
const HEADER_BYTES = 2 ** 16;
/** Maximum size of a parsed header in memory. */
const MAX_HEADER_MEMORY = 2 ** 24;

/** Names of the header field with a page's details, by page type: data page, index page (not supported), dictionary page, data page v2. */
const KINDS = ["field_5", undefined, "field_7", "field_8"] as const;
const DICTIONARY_PAGE = 2;
const DATA_PAGE_V2 = 3;

type Thrift = Record<string, unknown>;

/**
 * Returns the limit of decompressed bytes per column. @throws HeddleError INVALID_ARGUMENT if the environment variable is not a number of
 * bytes
 */
function mostColumnBytes(): number {
  const given = process.env[MORE_BYTES];
  if (given === undefined || given === "") return DEFAULT_BYTES;
  const bytes = Number(given);
  if (!isWhole(bytes, 1, MAX_BYTES))
    throw invalidArgument(MORE_BYTES, `a whole number of bytes from 1 to ${MAX_BYTES}`, given);
  return bytes;
}

/** Checks that the page header at the start of the bytes can be parsed. @throws Error */
export function checkHeader(bytes: Uint8Array): void {
  checkStruct(bytes, 0, MAX_HEADER_MEMORY);
}

/**
 * Checks the headers of a column's pages before any page is decompressed. Pages must be consecutive within the column's bytes, and must
 * not hold more values than the column declares. The parser trusts the headers, and could otherwise go backwards or loop forever.
 *
 * @throws Error with the reason
 */
export async function checkPages(file: AsyncBuffer, { meta_data: meta, file_path }: ColumnChunk): Promise<void> {
  if (!meta || file_path !== undefined) throw new Error("a column in another file");
  const name = meta.path_in_schema.join(".");
  const fail = (what: string, got: unknown) => new Error(`${what} in the column ${name}: ${got}`);
  const number = (value: unknown, most: number, what: string): number => {
    const whole = typeof value === "number" || typeof value === "bigint" ? Number(value) : Number.NaN;
    if (!isWhole(whole, 0, most)) throw fail(`${what} outside 0 to ${most}`, value);
    return whole;
  };
  const values = number(meta.num_values, MAX_VALUES, "a number of values");
  const bytes = number(meta.total_compressed_size, file.byteLength, "a number of bytes");
  const mostBytes = mostColumnBytes();
  const checkUnpacked = (size: number) => {
    if (size > mostBytes)
      throw new Error(
        `more than ${mostBytes} unpacked bytes in the column ${name} of a row group (the environment variable ${MORE_BYTES} allows more)`,
      );
  };
  checkUnpacked(number(meta.total_uncompressed_size, Number.MAX_SAFE_INTEGER, "a number of unpacked bytes"));
  const first = Math.min(Number(meta.dictionary_page_offset || meta.data_page_offset), Number(meta.data_page_offset));
  const end = number(first, file.byteLength, "an offset") + bytes;
  if (end > file.byteLength) throw fail(`an end beyond ${file.byteLength}`, end);
  const { deserializeTCompactProtocol } = await import("hyparquet/src/thrift.js");
  let [found, unpacked] = [0, 0];
  for (let at = first; at < end - 1; ) {
    // Like readLeaf, ignore a single byte after the last page.
    const bytes = new Uint8Array(await file.slice(at, Math.min(end, at + HEADER_BYTES)));
    checkHeader(bytes);
    const reader = { view: new DataView(bytes.buffer), offset: 0 };
    const header = deserializeTCompactProtocol(reader) as Thrift;
    const left = end - at - reader.offset;
    unpacked += number(header.field_2, Number.MAX_SAFE_INTEGER, "a page's unpacked bytes");
    checkUnpacked(unpacked);
    const size = number(header.field_3, left, "a page's bytes");
    const kind = number(header.field_1, KINDS.length - 1, "a page's kind");
    const details = KINDS[kind] && (header[KINDS[kind]] as Thrift | undefined);
    if (details === undefined) throw fail("a page's kind", kind);
    const count = number(details.field_1, MAX_VALUES, "a page's values");
    if (kind === DATA_PAGE_V2) {
      number(details.field_2, count, "a page's empty values");
      number(details.field_3, count, "a page's rows");
      number(details.field_5, size, "a page's bytes of levels");
      number(details.field_6, size, "a page's bytes of levels");
    }
    if (kind !== DICTIONARY_PAGE) found += count;
    if (found > values) throw fail(`more values than ${values}`, found);
    at += reader.offset + size;
  }
  if (found !== values) throw fail(`fewer values than ${values}`, found);
}
