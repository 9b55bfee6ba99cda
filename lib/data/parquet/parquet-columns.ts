import type { AsyncBuffer, ColumnChunk, DecodedArray, FileMetaData, SchemaTree } from "hyparquet";
import { HeddleError } from "../../core/errors.ts";
import { pause } from "../../core/slices.ts";
import { Memory } from "../../io/json-memory.ts";
import { decodeDictionary, decodePage } from "./parquet-decode.ts";
import { leafColumn, pagePreparer } from "./parquet-page.ts";
import { checkHeader } from "./parquet-pages.ts";

/** Number of rows assembled between two checks of the clock. */
const SLICE_ROWS = 256;

/**
 * A leaf column: its values in file order, one per row. A nested column has several leaf columns, each with a part of
 * every row.
 */
interface Leaf {
  path: string[];
  values: unknown[];
}

/**
 * Reads the top-level columns of a row group by name, each with one value per row. It yields to the event loop between pages. hyparquet's
 * reader would decode a whole column chunk at once, which often has many megabytes.
 */
export async function readColumns(
  file: AsyncBuffer,
  metadata: FileMetaData,
  { path, index }: { path: string; index: number },
  wanted: readonly string[] | undefined,
): Promise<Map<string, unknown[]>> {
  const { parquetSchema } = await import("hyparquet");
  const schema = parquetSchema(metadata);
  const memory = new Memory();
  const columns = new Map<string, unknown[]>();
  for (const child of schema.children) {
    const { name } = child.element;
    if (wanted && !wanted.includes(name)) continue;
    // The parts of a VARIANT may be anywhere and overlap, so a few bytes can decode to any number of values.
    if (hasVariant(child))
      throw new HeddleError("UNSUPPORTED", `${path}: the column ${JSON.stringify(name)} is of the type VARIANT`);
    const leaves: Leaf[] = [];
    for (const chunk of metadata.row_groups[index]!.columns)
      if (chunk.meta_data?.path_in_schema[0] === name) leaves.push(await readLeaf(file, schema, chunk, memory));
    if (leaves.length === 0) continue;
    columns.set(name, child.children.length > 0 ? await assemble(leaves, schema, child) : leaves[0]!.values);
  }
  return columns;
}

function hasVariant({ element, children }: SchemaTree): boolean {
  return element.logical_type?.type === "VARIANT" || children.some(hasVariant);
}

async function readLeaf(file: AsyncBuffer, schema: SchemaTree, chunk: ColumnChunk, memory: Memory): Promise<Leaf> {
  const [{ parquetHeader }, { getTreePath }] = await Promise.all([
    import("hyparquet/src/column.js"),
    import("hyparquet/src/schema.js"),
  ]);
  const meta = chunk.meta_data!;
  const path = meta.path_in_schema;
  const [column, prepared] = [await leafColumn(meta, getTreePath(schema, path)), await pagePreparer(meta.codec)];
  const first = Math.min(Number(meta.dictionary_page_offset || meta.data_page_offset), Number(meta.data_page_offset));
  const bytes = new Uint8Array(await file.slice(first, first + Number(meta.total_compressed_size)));
  const reader = { view: new DataView(bytes.buffer), offset: 0 };
  const values: unknown[] = [];
  let dictionary: DecodedArray | undefined;
  // Like hyparquet, ignore a single byte after the last page.
  while (reader.offset < reader.view.byteLength - 1) {
    await pause();
    checkHeader(bytes.subarray(reader.offset));
    const packed = parquetHeader(reader);
    const { page, header, values: found } = await prepared(reader, packed, column, memory);
    const stored = { reader: page, header, values: found };
    if (header.type === "DICTIONARY_PAGE") dictionary = await decodeDictionary(stored, column);
    else await decodePage(stored, column, { dictionary, out: values });
  }
  return { path, values };
}

/** Assembles the rows of a nested column in slices. */
async function assemble(leaves: readonly Leaf[], schema: SchemaTree, child: SchemaTree): Promise<unknown[]> {
  const { assembleAsync } = await import("hyparquet/src/rowgroup.js");
  const rows = Math.min(...leaves.map(({ values }) => values.length));
  const out: unknown[] = [];
  for (let row = 0; row < rows; row += SLICE_ROWS) {
    await pause();
    const count = Math.min(SLICE_ROWS, rows - row);
    const asyncColumns = leaves.map(({ path, values }) => ({
      pathInSchema: path,
      data: Promise.resolve({ data: [values.slice(row, row + count)], skipped: 0 }),
    }));
    const { asyncColumns: made } = assembleAsync({ groupStart: 0, groupRows: count, asyncColumns }, schema);
    const column = made.find(({ pathInSchema }) => pathInSchema[0] === child.element.name);
    for (const part of (await column!.data).data) for (const value of part) out.push(value);
  }
  return out;
}
