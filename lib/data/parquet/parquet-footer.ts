// The footer of a Parquet file: its schema and the locations of its row groups. It is checked before parsing, because the parser trusts
// it.
import type { AsyncBuffer, ColumnChunk, FileMetaData, SchemaElement } from "hyparquet";
import { isWhole } from "../../core/is-whole.ts";
import { Memory } from "../../io/json-memory.ts";
import { checkStruct } from "./thrift.ts";

/** Maximum size of a footer. Tables of very many columns and row groups have tens of megabytes. */
const MAX_FOOTER_BYTES = 2 ** 28;
/** Maximum nesting depth of columns. */
const MAX_SCHEMA_DEPTH = 64;
/** Size of the footer's length and the magic number after it. */
const TAIL_BYTES = 8;

/** A parsed struct. `field_N` is the field with the number N in parquet.thrift (https://github.com/apache/parquet-format). */
type Thrift = Record<string, unknown>;

/**
 * Reads the footer of a file that ends with PAR1. It skips the statistics of columns, which are not used.
 * @throws Error with the reason
 */
export async function readFooter(file: AsyncBuffer): Promise<FileMetaData> {
  const tail = new DataView(await file.slice(file.byteLength - TAIL_BYTES, file.byteLength));
  const length = tail.getUint32(0, true);
  const most = Math.min(MAX_FOOTER_BYTES, file.byteLength - TAIL_BYTES - 4);
  if (length > most) throw new Error(`metadata of ${length} bytes, more than ${most}`);
  const start = file.byteLength - TAIL_BYTES - length;
  const bytes = new Uint8Array(await file.slice(start, start + length));
  const { fields } = checkStruct(bytes, 0, new Memory().left);
  const [{ deserializeTCompactProtocol }, { markGeoColumns }, constants] = await Promise.all([
    import("hyparquet/src/thrift.js"),
    import("hyparquet/src/geoparquet.js"),
    import("hyparquet/src/constants.js"),
  ]);
  const raw = deserializeTCompactProtocol({ view: new DataView(bytes.buffer), offset: 0 }) as Thrift;
  const schema = await schemaOf(bytes.subarray(0, fields.get(4)));
  checkSchema(schema);
  const groups = listOf(raw.field_4, "row groups").map((group) => ({
    num_rows: group.field_3,
    columns: listOf(group.field_1, "columns").map((column) => columnOf(column, constants)),
  }));
  const keyValues = raw.field_5 === undefined ? [] : listOf(raw.field_5, "key-value metadata");
  markGeoColumns(
    schema,
    keyValues.map(({ field_1, field_2 }) => ({ key: text(field_1) ?? "", value: text(field_2) ?? "" })),
  );
  return { schema, row_groups: groups } as unknown as FileMetaData;
}

/** Parses the schema, which precedes the row groups. hyparquet parses it, and converts type numbers to names. */
async function schemaOf(before: Uint8Array): Promise<SchemaElement[]> {
  const { parquetMetadata } = await import("hyparquet");
  // Append field 4 as an empty list of structs, then the end, the length and the magic number.
  const rest = Buffer.from([0x09, 0x08, 0x0c, 0x00, 0, 0, 0, 0, ...Buffer.from("PAR1")]);
  rest.writeUInt32LE(before.length + 4, 4);
  // Geographic columns are marked separately, because hyparquet's search for them does not terminate on an invalid schema.
  return parquetMetadata(Buffer.concat([before, rest]), { geoparquet: false }).schema;
}

/** Checks that the elements, each with its number of children, form a tree of bounded depth. */
function checkSchema(schema: readonly SchemaElement[]): void {
  const open: number[] = [1];
  for (const { num_children: given, name } of schema) {
    const children = given ?? 0;
    if (!isWhole(children)) throw new Error(`a schema with ${given} columns in ${name}`);
    while (open.at(-1) === 0) open.pop();
    if (open.length === 0) continue; // ignore elements after the end of the tree
    if (open.length > MAX_SCHEMA_DEPTH) throw new Error(`a schema of more than ${MAX_SCHEMA_DEPTH} nested columns`);
    open[open.length - 1]!--;
    if (children > 0) open.push(children);
  }
  if (open.some((missing) => missing > 0)) throw new Error("a schema with fewer columns than it declares");
}

function columnOf(
  { field_1: path, field_3: meta }: Thrift,
  { CompressionCodecs, ParquetTypes }: typeof import("hyparquet/src/constants.js"),
): ColumnChunk {
  // A value that is present but not a struct, such as false, is an error.
  const [of] = meta === undefined ? [] : listOf([meta], "a column's metadata");
  if (of && !Array.isArray(of.field_3)) throw new Error("a column without a path");
  return {
    file_path: text(path),
    meta_data: of && {
      type: ParquetTypes[of.field_1 as number],
      path_in_schema: (of.field_3 as unknown[]).map((name) => text(name) ?? ""),
      codec: CompressionCodecs[of.field_4 as number],
      num_values: of.field_5,
      total_uncompressed_size: of.field_6,
      total_compressed_size: of.field_7,
      data_page_offset: of.field_9,
      dictionary_page_offset: of.field_11,
    },
  } as ColumnChunk;
}

const decoder = new TextDecoder();

function text(value: unknown): string | undefined {
  if (value !== undefined && !(value instanceof Uint8Array)) throw new Error("a text field that is not binary");
  return value && decoder.decode(value);
}

function listOf(value: unknown, what: string): Thrift[] {
  if (!Array.isArray(value) || value.some((one) => typeof one !== "object" || one === null))
    throw new Error(`${what} of an invalid type`);
  return value as Thrift[];
}
