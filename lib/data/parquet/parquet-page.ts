// Prepares a page for the parser: decompresses it, checks it, and counts it against the memory limit.
import type { ColumnMetaData, DataReader, PageHeader, SchemaTree } from "hyparquet";
import { JSON_BYTES, type Memory } from "../../io/json-memory.ts";
import { textParsers } from "./parquet-text.ts";
import { unpackers } from "./parquet-unpack.ts";
import { checkTextLengths, checkValues, type Levels, type Values } from "./parquet-values.ts";

type Decoder = Parameters<typeof import("hyparquet/src/column.js").readPage>[2];

/** A leaf column, as stored in the file. A nested column has several leaf columns. */
export interface LeafColumn {
  decoder: Decoder;
  levels: Levels;
  /** Whether the column has one value per row. */
  isFlat: boolean;
}

/** Maximum size in bytes of a decimal that is stored as a byte array, because parsing takes quadratic time. Databases write 16 bytes. */
const MAX_DECIMAL_BYTES = 64;

/** Describes a leaf column from its metadata and the path to it in the schema. */
export async function leafColumn(meta: ColumnMetaData, schemaPath: SchemaTree[]): Promise<LeafColumn> {
  const [{ DEFAULT_PARSERS }, schema] = await Promise.all([
    import("hyparquet/src/convert.js"),
    import("hyparquet/src/schema.js"),
  ]);
  const { element } = schemaPath.at(-1)!;
  const parsers = {
    ...DEFAULT_PARSERS,
    ...textParsers(element, DEFAULT_PARSERS),
    uuidFromBytes(bytes: Uint8Array) {
      // Reject longer values: the parser would create a string for each byte after the sixteenth.
      if (bytes && bytes.length !== 16) throw new Error(`a UUID of ${bytes.length} bytes`);
      return DEFAULT_PARSERS.uuidFromBytes(bytes);
    },
  };
  const [repetition, definition] = [schema.getMaxRepetitionLevel(schemaPath), schema.getMaxDefinitionLevel(schemaPath)];
  return {
    // The parser receives decompressed pages.
    decoder: { ...meta, pathInSchema: meta.path_in_schema, element, schemaPath, parsers, codec: "UNCOMPRESSED" },
    levels: { repetition, definition },
    isFlat: schema.isFlatColumn(schemaPath),
  };
}

type PreparePage = (
  reader: DataReader,
  header: PageHeader,
  column: LeafColumn,
  memory: Memory,
) => Promise<{ page: DataReader; header: PageHeader; values: Values }>;

/**
 * Returns a function that takes a page from the reader after its header, and prepares it for the parser.
 * @param codec codec of the column
 */
export async function pagePreparer(codec: ColumnMetaData["codec"]): Promise<PreparePage> {
  const [unpack, { deltaBinaryUnpack }] = await Promise.all([unpackers(), import("hyparquet/src/delta.js")]);
  return async (reader, packed, column, memory) => {
    const { decoder, levels } = column;
    const { view, offset } = reader;
    const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, packed.compressed_page_size);
    reader.offset += bytes.length;
    const { data_page_header_v2: second } = packed;
    let page: Uint8Array;
    if (packed.type === "DATA_PAGE_V2") {
      const { repetition_levels_byte_length: repetition, definition_levels_byte_length: definition } = second!;
      const unpackedLevels = repetition + (levels.definition > 0 ? definition : 0);
      const rest = bytes.subarray(unpackedLevels);
      const length = packed.uncompressed_page_size - repetition - definition;
      const isPacked = second!.is_compressed !== false && codec !== "UNCOMPRESSED";
      page = isPacked ? await unpack(rest, length, codec, bytes.subarray(0, unpackedLevels)) : bytes;
    } else page = await unpack(bytes, packed.uncompressed_page_size, codec);

    const isDictionary = packed.type === "DICTIONARY_PAGE";
    const values = isDictionary
      ? { at: 0, count: packed.dictionary_page_header!.num_values }
      : checkValues(page, packed, decoder.type, levels);
    const encoding = isDictionary ? "PLAIN" : (second ?? packed.data_page_header)!.encoding;
    if (decoder.element.converted_type === "DECIMAL") checkDecimals(page, values, column, encoding);
    let shared = 0;
    if (encoding === "DELTA_BYTE_ARRAY") {
      // A prefix that a value shares with the previous value is stored only once, but takes memory in both values.
      const lengths = new Int32Array(values.count);
      deltaBinaryUnpack(readerOf(page, values.at), values.count, lengths);
      shared = lengths.reduce((sum, length) => sum + Math.max(0, length), 0);
    }
    count(page.length + shared, isDictionary ? values.count : rowsOf(packed), column, encoding, memory);
    return { page: readerOf(page, 0), header: { ...packed, compressed_page_size: page.length }, values };
  };
}

function readerOf(page: Uint8Array, offset: number): DataReader {
  return { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset };
}

/** Number of values of a data page, including nulls. */
function rowsOf({ type, data_page_header, data_page_header_v2 }: PageHeader): number {
  return (type === "DATA_PAGE_V2" ? data_page_header_v2 : data_page_header)!.num_values;
}

/** Counts the approximate size of a page's decoded values against the memory limit, before they are decoded. */
function count(
  bytes: number,
  values: number,
  { decoder, levels, isFlat }: LeafColumn,
  encoding: string,
  memory: Memory,
) {
  // The constants approximate the bytes that V8 takes for each value, string, BigInt, date and list.
  const { type, element } = decoder;
  const { converted_type: kind, logical_type: logical } = element;
  const isText = type === "BYTE_ARRAY" || type === "FIXED_LEN_BYTE_ARRAY";
  // The parser makes a list for each level of the path that may be null or repeated.
  const lists = isFlat ? 0 : 184 * levels.definition;
  // Dictionary values already exist, and are shared.
  if (encoding.endsWith("_DICTIONARY")) return memory.take(bytes + values * (24 + lists));
  const isTime = type === "INT96" || kind === "DATE" || kind?.startsWith("TIMESTAMP") || logical?.type === "TIMESTAMP";
  const isPlace = logical?.type === "GEOMETRY" || logical?.type === "GEOGRAPHY";
  const each = 24 + (isText ? 40 : 0) + (type === "INT64" || type === "INT96" ? 24 : 0) + (isTime ? 100 : 0);
  memory.take(bytes * (kind === "JSON" ? JSON_BYTES : isPlace ? 12 : isText ? 2 : 1) + values * (each + lists));
  if (isText) memory.need(104 * values); // additional memory while the texts are decoded
}

function checkDecimals(page: Uint8Array, values: Values, { decoder }: LeafColumn, encoding: string): void {
  const { type, element } = decoder;
  if (type === "FIXED_LEN_BYTE_ARRAY" && (element.type_length ?? 0) > MAX_DECIMAL_BYTES)
    throw new Error(`a decimal of ${element.type_length} bytes`);
  if (type !== "BYTE_ARRAY" || encoding.endsWith("_DICTIONARY")) return;
  if (encoding !== "PLAIN") throw new Error(`decimals as byte arrays in the encoding ${encoding}`);
  checkTextLengths(page, values, MAX_DECIMAL_BYTES);
}
