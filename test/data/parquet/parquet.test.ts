import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { parquetMetadata } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, it } from "vitest";
import { openCorpus } from "../../../lib/data/corpus.ts";
import { ParquetTable } from "../../../lib/data/parquet/parquet.ts";
import { readRows } from "../../../lib/data/rows.ts";
import { leastOf, longestTurn, saysTurns } from "../../helpers/clock.ts";
import { byteTokenizer, temporaryFolder } from "../helpers.ts";

const { write, folder } = temporaryFolder();
const documents = Array.from({ length: 250 }, (_, i) => `Zeile ${i} ${"mehr davon ".repeat(i % 6)}é ende.`);
type Columns = Parameters<typeof parquetWriteBuffer>[0]["columnData"];

function table(
  name: string,
  columnData: Columns,
  more: Partial<Parameters<typeof parquetWriteBuffer>[0]> = {},
): string {
  return write(name, Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 64, ...more })));
}
const texts = (name: string, more = {}) =>
  table(
    name,
    [
      { name: "id", data: documents.map((_, i) => BigInt(i)), type: "INT64" },
      { name: "body", data: documents, type: "STRING" },
    ],
    more,
  );
const base = { tokenizer: byteTokenizer, maxSeqLength: 32, batchSize: 2, textField: "body" };

async function documentsOf(files: string, more = {}): Promise<string[]> {
  using corpus = await openCorpus({ ...base, files, ...more });
  const ids: number[] = [];
  for await (const batch of corpus.pass()) ids.push(...batch.targets.filter((id) => id >= 0));
  return byteTokenizer
    .decode([256, ...ids])
    .split(">")
    .slice(0, -1)
    .map((one) => one.slice(1));
}

describe("parquet", () => {
  it("reads one document per row of a text column, uncompressed or with Snappy or gzip", async () => {
    expect(await documentsOf(texts("snappy.parquet"))).toEqual(documents);
    expect(await documentsOf(texts("plain.parquet", { codec: "UNCOMPRESSED" }))).toEqual(documents);
    const compressors = { GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)) };
    expect(await documentsOf(texts("gzip.parquet", { codec: "GZIP", compressors }))).toEqual(documents);
    const { groups } = await ParquetTable.open(`${folder}/snappy.parquet`);
    expect(groups).toEqual(
      [0, 64, 128, 192].map((firstRow, index) => ({ index, firstRow, rows: Math.min(64, 250 - firstRow) })),
    );
  });

  it("shuffles and splits documents, and resumes at any batch", async () => {
    const options = { ...base, files: texts("groups.parquet"), seed: 5, shuffleBytes: 1000 };
    using corpus = await openCorpus(options);
    const states: string[] = [];
    const batches = [];
    for (let i = 0; i < 400; i++) {
      states.push(JSON.stringify(corpus.state()));
      batches.push(await corpus.next());
    }
    for (const at of [0, 3, 150, 390]) {
      using resumed = await openCorpus(options);
      resumed.restore(JSON.parse(states[at]!));
      for (let i = at; i < at + 5; i++) expect(await resumed.next()).toEqual(batches[i]);
    }
    const seen = byteTokenizer
      .decode(batches.flatMap((b) => [...b.tokens]))
      .split(">")
      .slice(0, 250)
      .map((document) => document.slice(1));
    expect(seen).not.toEqual(documents);
    expect([...seen].sort()).toEqual([...documents].sort());
    const split = async (side: "train" | "eval") => documentsOf(options.files, { split: side, evalFraction: 0.2 });
    const [train, held] = [await split("train"), await split("eval")];
    expect(held.length).toBeGreaterThan(20);
    expect([...train, ...held].sort()).toEqual([...documents].sort());
  });

  it("yields rows with integers as numbers, without null fields, and with row numbers", async () => {
    const path = table(
      "rows.parquet",
      [
        { name: "prompt", data: ["one", "two", "three"], type: "STRING" },
        { name: "completion", data: ["1", null, "3"], type: "STRING" },
        { name: "label", data: [1n, 2n, 3n], type: "INT64" },
      ],
      { rowGroupSize: 2 },
    );
    const rows = [];
    for await (const row of readRows(path)) rows.push(row);
    expect(rows.map((row) => row.value)).toEqual([
      { prompt: "one", completion: "1", label: 1 },
      { prompt: "two", label: 2 },
      { prompt: "three", completion: "3", label: 3 },
    ]);
    expect(rows.map((row) => row.where)).toEqual([1, 2, 3].map((n) => `${path}: row ${n}`));
  });

  it("rejects a missing column, text or file, and names it", async () => {
    const rejects = (files: string, code: string, message: RegExp, more = {}) =>
      expect(documentsOf(files, more)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    await rejects(
      texts("column.parquet"),
      "INVALID_FILE",
      /column\.parquet: expected the text column "text", got the columns id, body/,
      { textField: "text" },
    );
    const holes = table("holes.parquet", [{ name: "body", data: ["a", null, "b"], type: "STRING" }]);
    await rejects(holes, "INVALID_FILE", /holes\.parquet: row 2: expected a text in the column "body", got null/);
    const numbers = table("numbers.parquet", [{ name: "body", data: [1, 2], type: "INT32" }]);
    await rejects(numbers, "INVALID_FILE", /row 1: expected a text in the column "body", got 1/);
    await rejects(`${folder}/none.parquet`, "NOT_FOUND", /none\.parquet/);
    await rejects(
      write("short.parquet", "PAR1"),
      "INVALID_FILE",
      /short\.parquet: the file ends at byte 4 without its footer and PAR1: it is truncated$/,
    );
    await rejects(
      write("text.parquet", "not a table at all, whatever its name"),
      "INVALID_FILE",
      /text\.parquet: not a Parquet file: expected it to begin with PAR1$/,
    );
  });

  it("rejects pages with a negative size, an unpacked size of gigabytes, an unknown type or too many values", async () => {
    const whole = readFileSync(texts("pages.parquet", { codec: "UNCOMPRESSED", statistics: false }));
    const { row_groups } = parquetMetadata(new Uint8Array(whole).buffer);
    // A page header is a Thrift struct of zigzag varints, each after a field byte: the type, the unpacked and packed sizes, and a nested
    // struct that begins with the number of values.
    const type = Number(row_groups[0]!.columns[1]!.meta_data!.data_page_offset) + 1;
    const endOf = (varint: number) => varint + whole.subarray(varint).findIndex((byte) => byte < 128) + 1;
    const unpacked = endOf(type) + 1;
    const packed = endOf(unpacked) + 1;
    const values = endOf(packed) + 2;
    for (const [at, bytes, message] of [
      [unpacked, [0xff, 0xff, 0xff, 0xff, 0x0f], "a page's unpacked bytes outside 0 to 9007199254740991"],
      [unpacked, [0xfe, 0xff, 0xff, 0xff, 0x0f], "more than 134217728 unpacked bytes in the column body"],
      [packed, [0xff, 0xff, 0xff, 0xff, 0x0f], "a page's bytes outside 0 to"],
      [type, [0x14], "a page's kind outside 0 to 3"],
      [values, [0xfe, 0x03], "more values than 64 in the column body: 255"],
    ] as const) {
      const broken = Buffer.concat([whole.subarray(0, at), Buffer.from(bytes), whole.subarray(endOf(at))]);
      await expect(documentsOf(write("lies.parquet", broken))).rejects.toMatchObject({
        code: "INVALID_FILE",
        message: expect.stringContaining(message),
      });
    }
  });

  it("reads a truncated or damaged file, or rejects it with INVALID_FILE or IO", async () => {
    const whole = readFileSync(texts("fuzzed.parquet"));
    const attempt = (bytes: Buffer) =>
      documentsOf(write("broken.parquet", bytes)).catch((error) => {
        expect(["INVALID_FILE", "IO"], String(error.stack)).toContain(error.code);
      });
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length), async (length) => void (await attempt(whole.subarray(0, length)))),
      { numRuns: 40 },
    );
    // At least half of the damage is in the footer, which holds sizes and offsets.
    const places = fc.oneof(fc.nat(whole.length - 1), fc.integer({ min: whole.length - 600, max: whole.length - 1 }));
    await fc.assert(
      fc.asyncProperty(places, fc.integer({ min: 0, max: 255 }), async (at, value) => {
        const bytes = Buffer.from(whole);
        bytes[at] = value;
        await attempt(bytes);
      }),
      { numRuns: 120, examples: [[4435, 51]] }, // this byte turns the metadata of a column into a boolean
    );
  });
});

it("decompressing a large row group does not block the event loop", async () => {
  const long = Array.from({ length: 40_000 }, (_, i) => `${i} ${"ein langer Text ".repeat(40)}`);
  const nested = long.map((text) => ({ messages: [{ role: "user", content: text.slice(0, 60) }] }));
  const path = table(
    "large.parquet",
    [
      { name: "body", data: long, type: "STRING" },
      { name: "row", data: nested, type: "JSON" },
    ],
    { rowGroupSize: 40_000, pageSize: 2 ** 18 },
  );
  const large = await ParquetTable.open(path);
  expect(large.groups).toHaveLength(1);
  await large.column(large.groups[0]!, "body"); // warm-up, so that the code is compiled
  const worstShare = async () => {
    let worst = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
    }, 1);
    const begun = performance.now();
    const found = await large.column(large.groups[0]!, "body");
    const rows = [];
    for await (const row of large.rows(large.groups[0]!)) rows.push(row);
    const took = performance.now() - begun;
    clearInterval(timer);
    expect(found).toEqual(long);
    expect(rows.at(-1)).toEqual({ body: long.at(-1), row: nested.at(-1) });
    return worst / took;
  };
  // Without yields to the event loop there would be a single wait of nearly the whole time.
  expect(await leastOf(1 / 3, worstShare)).toBeLessThan(1 / 3);
});

describe("a page of very many values", () => {
  const count = 300_000;
  const every = <T>(of: (i: number) => T) => Array.from({ length: count }, (_, i) => of(i));
  const nulls = <T>(step: number, of: (i: number) => T) => every((i) => (i % step === 0 ? null : of(i)));
  const list = { name: "list", data: every((i) => (i % 3 === 0 ? [] : [`a${i}`, `b${i % 50}`])) };
  const schema: NonNullable<Parameters<typeof parquetWriteBuffer>[0]["schema"]> = [
    { name: "root", num_children: 1 },
    { name: "list", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", repetition_type: "OPTIONAL", type: "BYTE_ARRAY", converted_type: "UTF8" },
  ];
  type Cases = [string, Columns[number], Partial<Parameters<typeof parquetWriteBuffer>[0]>?][];
  const cases: Cases = [
    ["strings", { name: "x", data: nulls(7, (i) => `text ${i}`), type: "STRING", nullable: true }],
    ["doubles", { name: "x", data: nulls(5, (i) => i / 3), type: "DOUBLE", nullable: true }],
    ["booleans", { name: "x", data: every((i) => i % 3 === 0), type: "BOOLEAN" }],
    ["repeated strings", { name: "x", data: nulls(4, (i) => `t${(i * 31) % 100}`), type: "STRING", nullable: true }],
    ["40 MB of strings", { name: "x", data: every((i) => `${i} `.repeat(20)), type: "STRING" }],
    [
      "40 MB of uncompressed strings",
      { name: "x", data: every((i) => `${i} `.repeat(20)), type: "STRING" },
      { codec: "UNCOMPRESSED" },
    ],
    [
      "int32 deltas",
      {
        name: "x",
        data: nulls(6, (i) => (i * 7919) % 1000),
        type: "INT32",
        encoding: "DELTA_BINARY_PACKED",
        nullable: true,
      },
    ],
    [
      "int64 deltas",
      {
        name: "x",
        data: every((i) => ((BigInt(i) * 104_729n) % 1_000_003n) - 2n ** 40n),
        type: "INT64",
        encoding: "DELTA_BINARY_PACKED",
      },
    ],
    [
      "strings after their lengths",
      { name: "x", data: every((i) => `text ${i}`), type: "STRING", encoding: "DELTA_LENGTH_BYTE_ARRAY" },
    ],
    [
      "strings as differences",
      { name: "x", data: every((i) => `some text ${i}`), type: "STRING", encoding: "DELTA_BYTE_ARRAY" },
    ],
    [
      "doubles split into bytes",
      { name: "x", data: every((i) => i / 7), type: "DOUBLE", encoding: "BYTE_STREAM_SPLIT" },
    ],
    ["lists", list, { schema }],
  ];
  it.each(cases)("is decoded without blocking the event loop: %s", async (name, column, more = {}) => {
    const path = table(`${name}.parquet`, [column], { rowGroupSize: count, pageSize: 2 ** 30, ...more });
    const large = await ParquetTable.open(path);
    const read = () => large.column(large.groups[0]!, column.name);
    expect(await read()).toEqual(column.data);
    if (saysTurns) expect(await leastOf(50, () => longestTurn(read))).toBeLessThan(50);
  });
});
