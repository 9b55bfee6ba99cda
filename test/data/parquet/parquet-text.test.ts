// Parquet strings with invalid UTF-8 are rejected with row and column, like those of other formats.
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { openCorpus } from "../../../lib/data/corpus.ts";
import { ParquetTable } from "../../../lib/data/parquet/parquet.ts";
import { readRows } from "../../../lib/data/rows.ts";
import { expectError } from "../../formats/helpers.ts";
import { byteTokenizer, temporaryFolder } from "../helpers.ts";

const { write } = temporaryFolder();
type Columns = Parameters<typeof parquetWriteBuffer>[0]["columnData"];

/** A placeholder, which `table` replaces by invalid UTF-8: é in Latin-1 between two spaces. */
const MARK = "@#@";

/** Writes a table in row groups of two rows. Replaces each MARK by invalid UTF-8. */
function table(
  name: string,
  columnData: Columns,
  more: Partial<Parameters<typeof parquetWriteBuffer>[0]> = {},
): string {
  const options = { codec: "UNCOMPRESSED" as const, statistics: false, rowGroupSize: 2, ...more };
  const bytes = Buffer.from(parquetWriteBuffer({ columnData, ...options }));
  let at = bytes.indexOf(MARK);
  expect(at).toBeGreaterThan(0);
  for (; at >= 0; at = bytes.indexOf(MARK, at)) bytes.set([0x20, 0xe9, 0x20], at);
  return write(name, bytes);
}

async function valuesOf(path: string): Promise<unknown[]> {
  const values = [];
  for await (const { value } of readRows(path)) values.push(value);
  return values;
}

const good = ["eins é", "zwei", "drei", "vier", "fünf", "sechs"];
const bad = [...good.slice(0, 4), `caf${MARK}`, "sechs"];
const refusal = (column: string, row: number) =>
  new RegExp(`row ${row}: expected UTF-8 in the column "${column}", got invalid bytes`);

describe("invalid UTF-8", () => {
  test.each([
    ["in a plain column", bad],
    ["in a dictionary", bad.map((_, i) => (i === 4 ? `caf${MARK}` : "always the same"))],
    ["in a column with nulls", bad.map((text, i) => (i % 2 ? null : text))],
  ])("is rejected %s", async (_, data) => {
    const path = table("texts.parquet", [
      { name: "id", data: [1, 2, 3, 4, 5, 6], type: "INT32" },
      { name: "body", data, type: "STRING" },
    ]);
    await expectError(() => valuesOf(path), "INVALID_FILE", refusal("body", 5));
    const texts = await ParquetTable.open(path);
    await expectError(() => texts.column(texts.groups[2]!, "body"), "INVALID_FILE", refusal("body", 5));
    expect(await texts.column(texts.groups[0]!, "body")).toEqual(data.slice(0, 2));
    expect(await texts.column(texts.groups[2]!, "id")).toEqual([5, 6]);
  });

  test("is rejected in a corpus", async () => {
    const files = table("corpus.parquet", [{ name: "text", data: bad, type: "STRING" }]);
    using corpus = await openCorpus({ tokenizer: byteTokenizer, maxSeqLength: 32, batchSize: 2, files });
    const read = async () => {
      for await (const _ of corpus.pass());
    };
    await expectError(read, "INVALID_FILE", refusal("text", 5));
  });

  test("is rejected within lists and in JSON columns", async () => {
    const lists = table("lists.parquet", [{ name: "words", data: bad.map((text) => [text, "und"]) }], {
      schema: [
        { name: "root", num_children: 1 },
        { name: "words", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "BYTE_ARRAY", repetition_type: "OPTIONAL", converted_type: "UTF8" },
      ],
    });
    await expectError(() => valuesOf(lists), "INVALID_FILE", refusal("words", 5));
    const json = table("json.parquet", [{ name: "data", data: bad.map((text) => ({ text })), type: "JSON" }]);
    await expectError(() => valuesOf(json), "INVALID_FILE", refusal("data", 5));
  });
});

test("a byte column gives strings for valid UTF-8 and bytes otherwise, which a corpus rejects", async () => {
  const data = bad.map((text) => new Uint8Array(Buffer.from(text)));
  const path = table("bytes.parquet", [{ name: "text", data, type: "BYTE_ARRAY" }]);
  const bytes = [...Buffer.from("caf"), 0x20, 0xe9, 0x20];
  expect(await valuesOf(path)).toEqual(bad.map((text, i) => ({ text: i === 4 ? bytes : text })));
  using corpus = await openCorpus({ tokenizer: byteTokenizer, maxSeqLength: 32, batchSize: 2, files: path });
  const read = async () => {
    for await (const _ of corpus.pass());
  };
  await expectError(read, "INVALID_FILE", /row 5: expected a text in the column "text", got a Uint8Array/);
});
