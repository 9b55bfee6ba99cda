// Lists of old writers: the repeated column itself holds the values, without a group around each element. Long rows are read in slices.
import { describe, expect, it } from "vitest";
import { ParquetTable } from "../../../lib/data/parquet/parquet.ts";
import { temporaryFolder } from "../helpers.ts";
import { dataPage, type Element, parquetTable, varint } from "./parquet-bytes.ts";

const { write } = temporaryFolder();

/** Levels of a version 1 page: length, then runs of [count, level]. */
function levels(runs: readonly (readonly [count: number, level: number])[]): Buffer {
  const bytes = Buffer.from(
    runs.filter(([count]) => count > 0).flatMap(([count, level]) => [...varint(2 * count), level]),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A page of lists of 32-bit integers. `definition` is the definition level of a value. That of an empty list is one lower. */
function page(rows: readonly (readonly number[])[], definition: number): { values: number; pages: Buffer } {
  const entries = rows.map((row) => Math.max(1, row.length));
  const body = Buffer.concat([
    levels(entries.flatMap((count) => [[1, 0] as const, [count - 1, 1] as const])),
    levels(rows.map((row, i) => [entries[i]!, row.length > 0 ? definition : definition - 1] as const)),
    Buffer.from(Int32Array.from(rows.flat()).buffer),
  ]);
  const values = entries.reduce((sum, count) => sum + count, 0);
  return { values, pages: dataPage(values, 0, body) };
}

async function rowsOf(bytes: Buffer): Promise<unknown[]> {
  const table = await ParquetTable.open(write("old.parquet", bytes));
  const rows: unknown[] = [];
  for (const group of table.groups) for await (const row of table.rows(group)) rows.push(row.x);
  return rows;
}

const rows = [
  [5, 6],
  Array.from({ length: 40_000 }, (_, i) => i),
  [7],
  [],
  Array.from({ length: 40_001 }, (_, i) => 3 * i),
];
const list: Element = { name: "x", repetition: 1, children: 1, converted: 3 };

describe("lists of old writers", () => {
  it.each([
    ["a repeated column", { schema: [{ name: "x", type: 1, repetition: 2 }], path: ["x"], definition: 1 }],
    [
      "a repeated column in a list",
      { schema: [list, { name: "array", type: 1, repetition: 2 }], path: ["x", "array"], definition: 2 },
    ],
  ])("are read whole even if a row has more entries than a slice: %s", async (_, { schema, path, definition }) => {
    const bytes = parquetTable({ schema, path, type: 1, rows: rows.length, ...page(rows, definition) });
    expect(await rowsOf(bytes)).toEqual(rows);
  });
});
