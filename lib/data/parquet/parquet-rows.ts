// Makes rows from a page's values: adds the nulls, and the lists of nested columns.
import type { DataReader, DecodedArray, PageHeader } from "hyparquet";
import type { LeafColumn } from "./parquet-page.ts";
import type { Values } from "./parquet-values.ts";

/** Number of list entries that are assembled at a time. */
const SLICE_ENTRIES = 1024;
/** A slice is extended to the end of its last row, up to this number of entries. A row that ends later is assembled in several slices. */
const LONG_ROW = 1 << 14;

/** A page after decompression. */
export interface Page {
  reader: DataReader;
  header: PageHeader;
  values: Values;
}

/** Takes the values of a page in slices. `finish` makes the remaining rows, and may pause after each step. */
interface Rows {
  push(values: DecodedArray): void;
  finish(): Generator<void, void, undefined>;
}

/** Returns an object that makes a data page's rows and appends them to `out`. */
export async function rowsOf(page: Page, column: LeafColumn, out: unknown[]): Promise<Rows> {
  const levels = await readLevels(page, column);
  if (column.isFlat) return new FlatRows(levels.definition, out);
  const { assembleLists } = await import("hyparquet/src/assemble.js");
  return new NestedRows(levels, column, out, assembleLists);
}

/** Rows of a column without lists and structs. */
class FlatRows implements Rows {
  private row = 0;
  private readonly levels: Uint8Array | undefined;
  private readonly out: unknown[];

  /** @param levels 1 for each value and 0 for each null; undefined if there are no nulls */
  constructor(levels: Uint8Array | undefined, out: unknown[]) {
    this.levels = levels;
    this.out = out;
  }

  push(values: DecodedArray): void {
    const { levels, out } = this;
    for (const value of values) {
      if (levels) for (; levels[this.row] === 0; this.row++) out.push(null);
      out.push(value);
      this.row++;
    }
  }

  *finish(): Generator<void, void, undefined> {
    for (; this.levels && this.row < this.levels.length; this.row++) {
      this.out.push(null);
      if (this.row % SLICE_ENTRIES === 0) yield;
    }
  }
}

type AssembleLists = typeof import("hyparquet/src/assemble.js").assembleLists;

/** Rows of a nested column. A page may begin with the rest of the last row in `out`. */
class NestedRows implements Rows {
  private readonly all: unknown[] = [];
  private readonly levels: PageLevels;
  private readonly column: LeafColumn;
  private readonly out: unknown[];
  private readonly assemble: AssembleLists;

  constructor(levels: PageLevels, column: LeafColumn, out: unknown[], assemble: AssembleLists) {
    this.levels = levels;
    this.column = column;
    this.out = out;
    this.assemble = assemble;
  }

  push(values: DecodedArray): void {
    for (const value of values) this.all.push(value);
  }

  *finish(): Generator<void, void, undefined> {
    const { all, out, column } = this;
    const schemaPath = pathOf(column);
    const { definition, repetition } = this.levels;
    const deepest = column.levels.definition;
    const count = (definition ?? repetition ?? all).length;
    for (let [at, taken] = [0, 0]; at < count; ) {
      const end = this.endOf(at, count);
      const defined = definition ? Array.from(definition.subarray(at, end)) : new Array<number>(end - at).fill(deepest);
      const repeated = repetition ? Array.from(repetition.subarray(at, end)) : [];
      const present = defined.reduce((sum, level) => sum + (level === deepest ? 1 : 0), 0);
      const values = all.slice(taken, taken + present);
      if (deepest === 0 && !repetition) for (const value of values) out.push(value);
      else this.assemble(out, defined, repeated, values, schemaPath);
      [at, taken] = [end, taken + present];
      yield;
    }
  }

  /** Returns the end of the slice that begins at `at`. It is the end of a row, unless the slice would then exceed LONG_ROW entries. */
  private endOf(at: number, count: number): number {
    const { repetition } = this.levels;
    let end = Math.min(count, at + SLICE_ENTRIES);
    if (!repetition) return end;
    while (end < count && repetition[end] !== 0 && end - at < LONG_ROW) end++;
    return end;
  }
}

/**
 * Returns the schema path of a column's values. Old writers store a list as a repeated leaf. Such a path gets another, required level
 * below the leaf, because otherwise `assembleLists` could not continue a row in the next slice.
 */
function pathOf({ decoder: { schemaPath } }: LeafColumn): typeof schemaPath {
  const leaf = schemaPath.at(-1)!;
  if (leaf.element.repetition_type !== "REPEATED") return schemaPath;
  return [...schemaPath, { ...leaf, element: { ...leaf.element, repetition_type: "REQUIRED" } }];
}

/**
 * The definition and repetition level of each value and null of a page. A field is undefined if the column has no such
 * levels. `definition` is also undefined if the page has no nulls.
 */
interface PageLevels {
  definition: Uint8Array | undefined;
  repetition: Uint8Array | undefined;
}

async function readLevels({ reader, header, values }: Page, { levels }: LeafColumn): Promise<PageLevels> {
  const { data_page_header: first, data_page_header_v2: second } = header;
  const count = (second ?? first)!.num_values;
  const { readRleBitPackedHybrid } = await import("hyparquet/src/encoding.js");
  const read = (highest: number, length: number | undefined): Uint8Array | undefined => {
    if (highest === 0) return undefined;
    const begin = reader.offset;
    const read = new Uint8Array(count);
    if (count > 0) readRleBitPackedHybrid(reader, 32 - Math.clz32(highest), read, length);
    if (length !== undefined) reader.offset = begin + length;
    return read;
  };
  reader.offset = 0;
  const repetition = read(levels.repetition, second?.repetition_levels_byte_length);
  if (second) reader.offset = second.repetition_levels_byte_length;
  if (count === values.count) return { repetition, definition: undefined };
  return { repetition, definition: read(levels.definition, second?.definition_levels_byte_length) };
}
