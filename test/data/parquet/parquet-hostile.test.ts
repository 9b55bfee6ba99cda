// Small files that would crash or hang a naive reader. Each is rejected quickly.
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, test } from "vitest";
import { ParquetTable } from "../../../lib/data/parquet/parquet.ts";
import { checkStruct } from "../../../lib/data/parquet/thrift.ts";
import { expectError, processorTime } from "../../formats/helpers.ts";
import { temporaryFolder } from "../helpers.ts";
import {
  binary,
  dataPage,
  type Element,
  element,
  i32,
  i64,
  list,
  parquetFile,
  parquetTable,
  struct,
  type Thrift,
  varint,
} from "./parquet-bytes.ts";

const { write } = temporaryFolder();

async function rowsOf(bytes: Buffer): Promise<unknown[]> {
  const table = await ParquetTable.open(write("hostile.parquet", bytes));
  const rows = [];
  for (const group of table.groups) for await (const row of table.rows(group)) rows.push(row);
  return rows;
}
const refuses = (bytes: Buffer, message: RegExp) => expectError(() => rowsOf(bytes), "INVALID_FILE", message);

const texts: Element = { name: "text", type: 6, repetition: 1, converted: 0 };
const numbers: Element = { name: "number", type: 1, repetition: 0 };
/** Levels of a version 1 page: length, then a run of one value. */
const levels = (count: number, value = 1) => {
  const run = Buffer.from([...varint(2 * count), value]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(run.length);
  return Buffer.concat([length, run]);
};
const text = (value: string) => Buffer.concat([Buffer.from([value.length, 0, 0, 0]), Buffer.from(value)]);
const one = (pages: Buffer, more = {}) =>
  parquetTable({ schema: [texts], path: ["text"], type: 6, values: 3, pages, ...more });

test("the files of the test helpers are valid Parquet", async () => {
  const body = Buffer.concat([levels(3), ...["a", "bc", ""].map(text)]);
  expect(await rowsOf(one(dataPage(3, 0, body)))).toEqual([{ text: "a" }, { text: "bc" }, { text: "" }]);
});

describe("rejects a footer", () => {
  const column = (meta: Record<number, Thrift>) => struct({ 2: i64(4), 3: struct(meta) });
  const schema = list(12, [element({ name: "root", children: 1 }), element(texts)]);
  const footer = (fields: Record<number, Thrift>) =>
    parquetFile(struct({ 1: i32(1), 2: schema, 3: i64(0), 4: list(12, []), ...fields }).bytes);

  it("a footer with nested lists that are longer than the file or nested too deep is rejected", async () => {
    const bomb = Array.from({ length: 30 }, () => [0xf9, 0xff, 0xff, 0xff, 0x0f]).flat();
    await refuses(parquetFile([0x19, ...bomb, 0, 0]), /a list of length 33554431 in \d+ bytes/);
    const nested = Array.from({ length: 40 }, () => 0x19);
    await refuses(parquetFile([...nested, 0, 0]), /nested more than 32 deep/);
    await refuses(parquetFile(Array.from({ length: 40 }, () => 0x1c)), /nested more than 32 deep/);
  });

  it("a footer with strings and lists of negative length or beyond its end is rejected", async () => {
    await refuses(
      footer({ 6: { type: 8, bytes: [0xff, 0xff, 0xff, 0xff, 0x0f] } }),
      /a text of length 4294967295 in 1 bytes/,
    );
    await refuses(footer({ 6: { type: 8, bytes: varint(1000) } }), /a text of length 1000 in 1 bytes/);
    await refuses(footer({ 5: list(12, [], 1000) }), /a list of length 1000 in 1 bytes/);
    await refuses(footer({ 6: { type: 11, bytes: [0] } }), /a value of type 11/);
    await refuses(parquetFile([0x15]), /is cut off within a value/);
  });

  it("a footer with a varint of a hundred thousand bytes is rejected", async () => {
    await refuses(
      footer({ 7: { type: 6, bytes: [...new Array(100_000).fill(0x80), 0] } }),
      /a number of more than 10 bytes/,
    );
  });

  it("a footer whose structs need more memory than allowed is rejected", () => {
    const structs = list(12, new Array(100_000).fill(struct({})));
    const bytes = Uint8Array.from(struct({ 4: structs }).bytes);
    expect(checkStruct(bytes, 0, 2 ** 30).end).toBe(bytes.length);
    expect(() => checkStruct(bytes, 0, 2 ** 24)).toThrow(/take more than 16777216 bytes of memory/);
  });

  it("a footer with a schema whose column counts are negative, too large or nested too deep is rejected", async () => {
    const back = list(12, [element({ name: "root", children: 1 }), element({ name: "text", children: -1 })]);
    await refuses(footer({ 2: back }), /a schema with -1 columns in text/);
    await refuses(footer({ 2: list(12, [element({ name: "root", children: 9 })]) }), /fewer columns than it declares/);
    const deep = Array.from({ length: 5000 }, () => element({ name: "a", children: 1 }));
    await refuses(footer({ 2: list(12, [...deep, element(texts)]) }), /more than 64 nested columns/);
  });

  it("a footer that claims a size of gigabytes is rejected", async () => {
    const bytes = footer({});
    bytes.writeUInt32LE(0xffffffff, bytes.length - 8);
    await refuses(bytes, /metadata of 4294967295 bytes, more than/);
  });

  it("a footer with a column that lacks required fields is rejected, but unused statistics of 200,000 bytes are ignored", async () => {
    const statistics = struct({ 1: binary(Buffer.alloc(200_000, 1)) });
    const decimal: Element = { name: "text", type: 7, length: 8, repetition: 0, converted: 5 };
    const bytes = one(dataPage(0, 0, Buffer.alloc(0)), { schema: [decimal], type: 7, values: 0, statistics });
    const start = processorTime();
    expect(await rowsOf(bytes)).toEqual([]);
    expect(processorTime() - start).toBeLessThan(1000);
    await refuses(
      footer({ 4: list(12, [struct({ 1: list(12, [column({ 1: i32(6) })]), 3: i64(1) })]) }),
      /a column without a path/,
    );
  });
});

describe("rejects a page", () => {
  it("a page with a run of levels or values far longer than the page is rejected", async () => {
    await refuses(one(dataPage(3, 0, levels(2 ** 30))), /a run of 1073741824 values where 3 are left/);
    const packed = Buffer.from([5, 0, 0, 0, ...varint(2 ** 28 + 1), 1]);
    await refuses(one(dataPage(3, 0, packed)), /a run of 1073741824 values where 3 are left/);
    const indices = Buffer.concat([levels(3), Buffer.from([1, ...varint(2 ** 30), 0])]);
    await refuses(one(dataPage(3, 8, indices)), /a run of 536870912 values where 3 are left/);
    await refuses(one(dataPage(3, 8, Buffer.concat([levels(3), Buffer.from([200, 6, 0])]))), /values of 200 bits/);
  });

  it("a page with delta blocks of a negative or zero number of parts is rejected", async () => {
    const whole = (pages: Buffer) => parquetTable({ schema: [numbers], path: ["number"], type: 1, values: 3, pages });
    const back = [...varint(128), 0xff, 0xff, 0xff, 0xff, 0x0f, 3, 0, 0, 0, 0, 0];
    await refuses(whole(dataPage(3, 5, Buffer.from(back))), /blocks of 128 differences in -1 parts/);
    await refuses(whole(dataPage(3, 5, Buffer.from([128, 1, 0, 3, 0]))), /in 0 parts/);
    const lengths = Buffer.concat([levels(3), Buffer.from(back)]);
    await refuses(one(dataPage(3, 6, lengths)), /in -1 parts/);
    await refuses(one(dataPage(3, 7, lengths)), /in -1 parts/);
    const wide = [...varint(128), 4, 3, 0, 0, 200, 0, 0, 0];
    await refuses(whole(dataPage(3, 5, Buffer.from(wide))), /differences of 200 bits/);
    const long = [...varint(128), 4, 3, ...new Array(50_000).fill(0x80), 0];
    await refuses(whole(dataPage(3, 5, Buffer.from(long))), /a number of more than 10 bytes/);
  });

  it("a page whose header has two value counts is rejected", async () => {
    const first = struct({ 1: i32(3), 2: i32(0), 3: i32(3), 4: i32(3) });
    const second = struct({ 1: i32(2 ** 31 - 1), 2: i32(0), 3: i32(3), 4: i32(0), 5: i32(0), 6: i32(0) });
    const header = (kind: number) => struct({ 1: i32(kind), 2: i32(0), 3: i32(0), 5: first, 8: second });
    await refuses(one(Buffer.from(header(3).bytes)), /a page's values outside 0 to 16777216/);
    await refuses(one(Buffer.from(header(1).bytes)), /a page's kind in the column text: 1/);
  });

  it("a page whose Zstandard data expands far beyond its stated size is rejected", async () => {
    const block = (size: number, isLast = false) => {
      const header = (size << 3) | 2 | Number(isLast); // a run of one byte
      return [header & 255, (header >> 8) & 255, header >> 16, 7];
    };
    const frame = (blocks: number[]) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, ...blocks]);
    const page = (packed: Buffer) => one(dataPage(3, 0, packed, 100), { codec: 6, unpacked: 200 });
    const bomb = Array.from({ length: 20_000 }, () => block(2 ** 17)).flat();
    await refuses(page(frame([...bomb, ...block(1, true)])), /Zstandard data of more than 100 bytes/);
    await refuses(
      page(frame([...block(2 ** 20), ...block(1, true)])),
      /an invalid Zstandard block \(type 1, 1048576 bytes\)/,
    );
    const empty = Array.from({ length: 20_000 }, () => block(0)).flat();
    await refuses(page(frame([...empty, ...block(1, true)])), /too many Zstandard blocks \(20001 for 100 bytes\)/);
  });

  it("a page with fewer bytes than its values need is rejected, although another page follows", async () => {
    const following = dataPage(2, 0, Buffer.concat([text("of the"), text("next page")]));
    const required: Element = { ...texts, repetition: 0 };
    const two = (encoding: number, body: readonly number[]) =>
      one(Buffer.concat([dataPage(2, encoding, Buffer.from(body)), following]), { schema: [required], values: 4 });
    /** Two delta-encoded lengths. */
    const deltas = (first: number, second: number) =>
      [[128, 1, 4, 2], varint(2 * first), varint(2 * (second - first)), [0, 0, 0, 0]].flat();
    const [a, b] = [0x61, 0x62];
    const valid = [two(0, [1, 0, 0, 0, a, 1, 0, 0, 0, b]), two(6, [...deltas(1, 1), a, b])];
    for (const bytes of [...valid, two(7, [...deltas(0, 0), ...deltas(1, 1), a, b])])
      expect(await rowsOf(bytes)).toEqual(["a", "b", "of the", "next page"].map((value) => ({ text: value })));
    const isCut = /a page that is cut off within its values/;
    await refuses(two(0, [1, 0, 0, 0, a, 9, 0, 0, 0, b]), isCut);
    await refuses(two(6, [...deltas(1, 9), a, b]), isCut);
    await refuses(two(7, [...deltas(0, 0), ...deltas(1, 9), a, b]), isCut);
    await refuses(two(7, [...deltas(0, 2), ...deltas(1, 1), a, b]), /a prefix of 2 bytes, after a text of 1/);
    const pages = Buffer.concat([dataPage(2, 0, Buffer.from([1, 0, 0, 0])), dataPage(1, 0, Buffer.from([2, 0, 0, 0]))]);
    await refuses(one(pages, { schema: [numbers], path: ["number"], type: 1 }), isCut);
    // Other bytes of Node's buffer pool must not become text.
    const packed = Buffer.from([1, 0, 0, 0, a, 9, 0, 0, 0, b]);
    const page = dataPage(2, 0, gzipSync(packed), packed.length);
    await refuses(one(page, { schema: [required], values: 2, codec: 2 }), isCut);
  });

  it("a page with indices beyond the dictionary is rejected", async () => {
    const words = Buffer.concat([text("x"), text("y")]);
    const own = struct({ 1: i32(2), 2: i32(0) });
    const header = struct({ 1: i32(2), 2: i32(words.length), 3: i32(words.length), 7: own });
    const required: Element = { ...texts, repetition: 0 };
    const indexed = (index: number) =>
      one(Buffer.concat([Buffer.from(header.bytes), words, dataPage(3, 8, Buffer.from([8, 6, index]))]), {
        schema: [required],
      });
    expect(await rowsOf(indexed(1))).toEqual(Array(3).fill({ text: "y" }));
    await refuses(indexed(2), /the index 2 in a dictionary of 2/);
  });

  it("a page whose deeply nested lists would expand to gigabytes is rejected", async () => {
    const depth = 40;
    const path = Array.from({ length: depth }, (_, i) => `l${i}`);
    const groups: Element[] = path.map((name) => ({ name, repetition: 2, children: 1 }));
    const count = 2 ** 20;
    const body = Buffer.concat([levels(count, 0), levels(count, depth), Buffer.from([0])]);
    const bytes = parquetTable({
      schema: [...groups, { ...numbers }],
      path: [...path, "number"],
      type: 1,
      values: count,
      pages: dataPage(count, 8, body),
    });
    await refuses(bytes, /a row group needs more than half of the heap limit/);
  });

  it("a page with decimals or UUIDs of 100,000 bytes is rejected", async () => {
    const long = Buffer.concat([Buffer.from([0xa0, 0x86, 1, 0]), Buffer.alloc(100_000, 1)]);
    const decimal: Element = { name: "text", type: 6, repetition: 0, converted: 5 };
    const body = dataPage(1, 0, long);
    await refuses(one(body, { schema: [decimal], values: 1 }), /a decimal of 100000 bytes/);
    const uuid: Element = { name: "text", type: 6, repetition: 0, logical: struct({ 14: struct({}) }) };
    await refuses(one(body, { schema: [uuid], values: 1 }), /a UUID of 100000 bytes/);
  });
});

test("a VARIANT column is unsupported, since its parts may overlap", async () => {
  const variant: Element = { name: "text", repetition: 0, children: 1, logical: struct({ 16: struct({}) }) };
  const value: Element = { name: "value", type: 6, repetition: 0 };
  const bytes = one(dataPage(1, 0, text("x")), { schema: [variant, value], path: ["text", "value"], values: 1 });
  await expectError(() => rowsOf(bytes), "UNSUPPORTED", /hostile\.parquet: the column "text" is of the type VARIANT/);
});

describe("a page that expands beyond the limit", () => {
  const size = 160 << 20;
  const packed = () => one(dataPage(3, 0, gzipSync(Buffer.alloc(size)), size), { codec: 2, unpacked: 1000 });
  const variable = "HEDDLE_PARQUET_COLUMN_BYTES";
  afterEach(() => {
    delete process.env[variable];
  });

  it("is rejected before it is decompressed, and the message names the limit and how to raise it", async () => {
    const bytes = packed();
    expect(bytes.length).toBeLessThan(300_000);
    const before = process.memoryUsage.rss();
    await refuses(bytes, /more than 134217728 unpacked bytes in the column text .*HEDDLE_PARQUET_COLUMN_BYTES/);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20);
  });

  it("is decompressed if the environment variable raises the limit, and a small page is rejected if the variable lowers it", async () => {
    const small = one(dataPage(3, 0, Buffer.concat([levels(3), ...["a", "bc", ""].map(text)])));
    process.env[variable] = "10";
    await refuses(small, /more than 10 unpacked bytes/);
    process.env[variable] = "1000";
    expect(await rowsOf(small)).toHaveLength(3);
    process.env[variable] = String(256 << 20);
    // It is decompressed, and rejected because of its content.
    await expect(rowsOf(packed())).rejects.toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(/a page that is cut off within its values$/),
    });
    process.env[variable] = "many";
    await expectError(() => rowsOf(small), "INVALID_ARGUMENT", /HEDDLE_PARQUET_COLUMN_BYTES: expected a whole number/);
  });
});
