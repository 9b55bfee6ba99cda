// Limits on the memory that a file may use. The tests replace the heap limit that Node reports.
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test, vi } from "vitest";
import type { DocumentFile } from "../../lib/data/documents/document-file.ts";
import { GroupReader } from "../../lib/data/groups.ts";
import { ParquetTable } from "../../lib/data/parquet/parquet.ts";
import { readRows } from "../../lib/data/rows.ts";
import { documentsOf } from "../../lib/eval/index.ts";
import { VoteFile } from "../../lib/rank/vote-file.ts";
import { expectError } from "../formats/helpers.ts";
import { temporaryFolder } from "./helpers.ts";

const heap = vi.hoisted(() => ({ heap_size_limit: 4e9 }));
vi.mock("node:v8", () => ({ getHeapStatistics: () => heap }));

const { write } = temporaryFolder();

async function withHeap<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  heap.heap_size_limit = bytes;
  try {
    return await work();
  } finally {
    heap.heap_size_limit = 4e9;
  }
}

describe("memory limits", () => {
  test("a JSON row must fit into the heap", async () => {
    const path = write("rows.jsonl", `{"text": "short"}\n{"text": "${"long ".repeat(100)}"}\n`);
    const read = async () => {
      const rows = [];
      for await (const { value } of readRows(path)) rows.push(value);
      return rows;
    };
    expect(await read()).toHaveLength(2);
    await withHeap(10_000, async () => {
      await expectError(read, "INVALID_FILE", /rows\.jsonl:2: expected a row of at most 250 characters, .* got 512/);
      const documents = async () => {
        for await (const _ of documentsOf(path));
      };
      await expectError(documents, "INVALID_FILE", /rows\.jsonl:2: expected a row of at most 250 char/);
      await expectError(() => VoteFile.open(path), "INVALID_FILE", /rows\.jsonl:2: expected a row of at most 250 char/);
    });
  });

  test("a Parquet footer and the columns of a row group must fit into the heap", async () => {
    const columnData = [
      { name: "text", data: Array.from({ length: 2000 }, (_, i) => `text ${i}`), type: "STRING" } as const,
    ];
    const path = write("texts.parquet", Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 2000 })));
    const read = async () => {
      const table = await ParquetTable.open(path);
      return (await table.column(table.groups[0]!, "text")).length;
    };
    expect(await read()).toBe(2000);
    await withHeap(2000, () => expectError(read, "INVALID_FILE", /metadata that take more than 1000 bytes of memory/));
    await withHeap(200_000, () =>
      expectError(read, "INVALID_FILE", /a row group needs more than half of the heap limit/),
    );
  });

  test("files are split into at most about a million parts, whatever their size", () => {
    const asked: number[] = [];
    const file = (size: number): DocumentFile => ({
      path: "a.txt",
      size,
      parts(shardBytes) {
        asked.push(shardBytes);
        return [];
      },
      close() {},
    });
    new GroupReader([file(1000)], { shuffleBytes: 1 });
    new GroupReader([file(2 ** 40)], { shuffleBytes: 1 });
    new GroupReader([file(2 ** 40)], {});
    new GroupReader([file(2 ** 45)], {});
    expect(asked).toEqual([1, 2 ** 20, 2 ** 22, 2 ** 25]);
    expect(() => new GroupReader([file(2 ** 46), file(1)], {})).toThrow(/files: expected at most 70368744177664 bytes/);
  });
});
