import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../lib/errors.ts";
import { openGguf } from "../../lib/formats/gguf.ts";
import { GGML_TYPES, type GgufArray, type GgufValue } from "../../lib/formats/gguf-types.ts";
import { writeGguf } from "../../lib/formats/gguf-write.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { expectError, f32, processorTime, temporaryFile, temporaryFolder, text, u32, u64 } from "./helpers.ts";

interface Parts {
  magic?: string;
  version?: number;
  tensorCount?: bigint | number;
  keyCount?: bigint | number;
  keys?: Buffer[];
  tensors?: Buffer[];
  data?: Buffer;
}

/** A GGUF file from its parts; counts follow the parts unless given. */
function gguf({ magic = "GGUF", version = 3, keys = [], tensors = [], data, ...counts }: Parts = {}): Buffer {
  const head = Buffer.concat([
    Buffer.from(magic),
    u32(version),
    u64(counts.tensorCount ?? tensors.length),
    u64(counts.keyCount ?? keys.length),
    ...keys,
    ...tensors,
  ]);
  if (data === undefined) return head;
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), data]);
}

const key = (name: string, type: number, ...body: Buffer[]) => Buffer.concat([text(name), u32(type), ...body]);
const tensor = (name: string, dims: (bigint | number)[], type = 0, offset: bigint | number = 0) =>
  Buffer.concat([text(name), u32(dims.length), ...dims.map((d) => u64(d)), u32(type), u64(offset)]);
const array = (of: number, length: bigint | number, ...body: Buffer[]) =>
  Buffer.concat([u32(of), u64(length), ...body]);

describe("reading", () => {
  test("every value type", () => {
    const double = Buffer.alloc(8);
    double.writeDoubleLE(0.1);
    const file = gguf({
      keys: [
        key("u8", 0, Buffer.from([200])),
        key("i8", 1, Buffer.from([200])),
        key("u16", 2, Buffer.from([1, 2])),
        key("i16", 3, Buffer.from([255, 255])),
        key("u32", 4, u32(4e9)),
        key("i32", 5, u32(4294967295)),
        key("f32", 6, f32(0.5)),
        key("bool", 7, Buffer.from([1])),
        key("string", 8, text("ünï")),
        key("u64", 10, u64(2n ** 64n - 1n)),
        key("i64", 11, u64(2n ** 64n - 2n)),
        key("f64", 12, double),
        key("strings", 9, array(8, 2, text("a"), text(""))),
        key("floats", 9, array(6, 2, f32(1, 2))),
        key("bools", 9, array(7, 2, Buffer.from([1, 0]))),
        key("longs", 9, array(10, 1, u64(7))),
        key("nested", 9, array(9, 2, array(4, 1, u32(3)), array(8, 1, text("x")))),
        key("none", 9, array(8, 0)),
      ],
    });
    const opened = openGguf(temporaryFile(file));
    const values = Object.fromEntries([...opened.metadata.values].map(([name, { value }]) => [name, value]));
    expect(values).toEqual({
      u8: 200,
      i8: -56,
      u16: 513,
      i16: -1,
      u32: 4e9,
      i32: -1,
      f32: 0.5,
      bool: true,
      string: "ünï",
      u64: 2n ** 64n - 1n,
      i64: -2n,
      f64: 0.1,
      strings: ["a", ""],
      floats: Float32Array.of(1, 2),
      bools: [true, false],
      longs: BigUint64Array.of(7n),
      nested: [
        { type: "array", of: "u32", value: Uint32Array.of(3) },
        { type: "array", of: "string", value: ["x"] },
      ],
      none: [],
    });
    opened.file.close();
  });

  test("version 2, tensors of rank 1 and 2, alignment", () => {
    const file = gguf({
      version: 2,
      keys: [key("general.alignment", 4, u32(64))],
      tensors: [tensor("v", [3]), tensor("m", [2, 3], 1, 64)],
    });
    const start = Math.ceil(file.length / 64) * 64;
    const bytes = Buffer.concat([
      file,
      Buffer.alloc(start - file.length),
      f32(1, 2, 3),
      Buffer.alloc(52),
      Buffer.alloc(12),
    ]);
    const opened = openGguf(temporaryFile(bytes));
    expect(opened).toMatchObject({ version: 2, alignment: 64 });
    expect(opened.entries.get("v")).toMatchObject({ shape: [3], offset: start, bytes: 12, dtype: "f32" });
    expect(opened.entries.get("m")).toMatchObject({ shape: [3, 2], offset: start + 64, bytes: 12, dtype: "f16" });
    opened.file.close();
  });

  test("a quantised tensor has its size; one of a type that is not computed with is UNSUPPORTED when asked for", async () => {
    const tensors = [tensor("q", [512, 2], 12), tensor("i", [256, 1], 16, 576)];
    const weights = await openWeights(temporaryFile(gguf({ tensors, data: Buffer.alloc(576 + 66) })));
    expect(weights.info("q")).toMatchObject({ storedDtype: "Q4_K", dtype: "q4_k", shape: [2, 512], bytes: 576 });
    expect(weights.tensor("q")).toMatchObject({ dtype: "q4_k", bytes: 576 });
    await expectError(() => weights.tensor("i"), "UNSUPPORTED", /"i": IQ2_XXS cannot be computed with/);
    weights.close();
  });

  test("block sizes are those of ggml", () => {
    // Bits per weight as ggml's documentation lists them.
    const bits: Record<string, number> = {
      Q4_0: 4.5,
      Q4_1: 5,
      Q5_0: 5.5,
      Q5_1: 6,
      Q8_0: 8.5,
      Q2_K: 2.625,
      Q3_K: 3.4375,
    };
    Object.assign(bits, { Q4_K: 4.5, Q5_K: 5.5, Q6_K: 6.5625, IQ2_XXS: 2.0625, IQ2_XS: 2.3125, IQ3_XXS: 3.0625 });
    Object.assign(bits, { IQ1_S: 1.5625, IQ4_NL: 4.5, IQ3_S: 3.4375, IQ2_S: 2.5625, IQ4_XS: 4.25, IQ1_M: 1.75 });
    Object.assign(bits, { TQ1_0: 1.6875, TQ2_0: 2.0625, MXFP4: 4.25, BF16: 16, F64: 64 });
    for (const { name, blockElements, blockBytes } of GGML_TYPES.values()) {
      if (name in bits) expect((blockBytes * 8) / blockElements, name).toBe(bits[name]);
    }
  });

  test("a vocabulary of 262,144 tokens with merges is read within a second", () => {
    const count = 262_144;
    const strings = (prefix: string) => Buffer.concat(Array.from({ length: count }, (_, i) => text(`${prefix}${i}`)));
    const file = gguf({
      keys: [
        key("tokenizer.ggml.tokens", 9, array(8, count, strings("token"))),
        key("tokenizer.ggml.merges", 9, array(8, count, strings("me rge"))),
        key("tokenizer.ggml.scores", 9, array(6, count, Buffer.alloc(4 * count))),
      ],
    });
    const path = temporaryFile(file);
    const start = processorTime();
    const opened = openGguf(path);
    const milliseconds = processorTime() - start;
    expect(opened.metadata.strings("tokenizer.ggml.tokens")![count - 1]).toBe(`token${count - 1}`);
    expect(opened.metadata.numbers("tokenizer.ggml.scores")).toHaveLength(count);
    opened.file.close();
    expect(milliseconds).toBeLessThan(1000);
  });

  test("a value of another type than expected names the key", async () => {
    const opened = openGguf(temporaryFile(gguf({ keys: [key("a", 8, text("x")), key("big", 10, u64(2n ** 60n))] })));
    await expectError(() => opened.metadata.number("a"), "INVALID_FILE", /a: expected a number, got string/);
    await expectError(() => opened.metadata.number("big"), "INVALID_FILE", /big: expected a number, got u64/);
    await expectError(() => opened.metadata.requireString("none"), "INVALID_FILE", /none: expected in the metadata/);
    await expectError(() => opened.metadata.strings("a"), "INVALID_FILE", /a: expected an array of strings/);
    opened.file.close();
  });
});

const data = Buffer.alloc(64);
const huge = 2n ** 64n - 1n;
const bad: [string, Buffer, RegExp][] = [
  ["empty", Buffer.alloc(0), /magic: expected 4 bytes/],
  ["wrong magic", gguf({ magic: "GGUG" }), /magic: expected "GGUF"/],
  ["magic only", Buffer.from("GGUF"), /version: expected 4 bytes/],
  ["version 0", gguf({ version: 0 }), /version: expected 2 or 3, got 0/],
  ["version 4", gguf({ version: 4 }), /version: expected 2 or 3, got 4/],
  ["tensor count 2^64 - 1", gguf({ tensorCount: huge }), /tensor count: expected at most 131072/],
  ["tensor count without tensors", gguf({ tensorCount: 5 }), /tensor 0: name: expected 8 bytes/],
  ["metadata count 2^63", gguf({ keyCount: 2n ** 63n }), /metadata count: expected at most 65536/],
  ["metadata count without keys", gguf({ keyCount: 5 }), /key 0: expected 8 bytes/],
  ["key length 2^64 - 1", gguf({ keyCount: 1, keys: [u64(huge)] }), /key 0: expected a string of at most 65535/],
  [
    "key longer than the file",
    gguf({ keyCount: 1, keys: [u64(60_000), Buffer.from("abc")] }),
    /key 0: expected 60000 bytes/,
  ],
  ["duplicate key", gguf({ keys: [key("a", 4, u32(1)), key("a", 4, u32(1))] }), /duplicate key "a"/],
  ["value type 13", gguf({ keys: [key("a", 13)] }), /a: type: expected 0 to 12, got 13/],
  ["value type 2^32 - 1", gguf({ keys: [key("a", 4294967295)] }), /a: type: expected/],
  ["value cut", gguf({ keys: [key("a", 10, Buffer.alloc(3))] }), /a: expected 8 bytes/],
  ["boolean 2", gguf({ keys: [key("a", 7, Buffer.from([2]))] }), /expected a boolean 0 or 1, got 2/],
  ["string length 2^64 - 1", gguf({ keys: [key("a", 8, u64(huge))] }), /a: expected a string of at most/],
  ["string length 2^63", gguf({ keys: [key("a", 8, u64(2n ** 63n))] }), /a: expected a string of at most/],
  ["string longer than the file", gguf({ keys: [key("a", 8, u64(1000), Buffer.alloc(10))] }), /a: expected 1000 bytes/],
  ["array of type 13", gguf({ keys: [key("a", 9, array(13, 1))] }), /a: type: expected 0 to 12/],
  ["array length 2^64 - 1 of bytes", gguf({ keys: [key("a", 9, array(0, huge))] }), /array length: expected at most 0/],
  ["array length 2^61 of u64", gguf({ keys: [key("a", 9, array(10, 2n ** 61n))] }), /array length: expected at most 0/],
  [
    "array length 2^62 of f32",
    gguf({ keys: [key("a", 9, array(6, 2n ** 62n, data))] }),
    /array length: expected at most 16/,
  ],
  [
    "array of strings longer than the file",
    gguf({ keys: [key("a", 9, array(8, 9, data))] }),
    /array length: expected at most 8/,
  ],
  ["boolean array with a 7", gguf({ keys: [key("a", 9, array(7, 1, Buffer.from([7])))] }), /boolean 0 or 1, got 7/],
  [
    "arrays nested 5 deep",
    gguf({ keys: [key("a", 9, array(9, 1, array(9, 1, array(9, 1, array(9, 1, array(4, 0))))))] }),
    /nested at most 4 deep/,
  ],
  [
    "100,000 nested arrays",
    gguf({ keys: [key("a", 9, array(9, 100_000, Buffer.alloc(1_200_000)))] }),
    /at most 65536 nested arrays/,
  ],
  [
    "5,000,000 strings",
    gguf({ keys: [key("a", 9, array(8, 5_000_000, Buffer.alloc(40_000_000)))] }),
    /at most 4194304 strings/,
  ],
  [
    "100,000 booleans",
    gguf({ keys: [key("a", 9, array(7, 100_000, Buffer.alloc(100_000)))] }),
    /at most 65536 booleans/,
  ],
  ["alignment 0", gguf({ keys: [key("general.alignment", 4, u32(0))] }), /alignment: expected a power of two/],
  ["alignment 33", gguf({ keys: [key("general.alignment", 4, u32(33))] }), /alignment: expected a power of two/],
  ["alignment 2^31", gguf({ keys: [key("general.alignment", 4, u32(2 ** 31))] }), /alignment: expected a power of two/],
  ["alignment a string", gguf({ keys: [key("general.alignment", 8, text("x"))] }), /alignment: expected a number/],
  [
    "tensor name 2^64 - 1 long",
    gguf({ tensorCount: 1, tensors: [u64(huge)] }),
    /tensor 0: name: expected a string of at most 256/,
  ],
  ["tensor name 257 long", gguf({ tensors: [tensor("x".repeat(257), [1])], data }), /at most 256 bytes, got 257/],
  ["rank 0", gguf({ tensors: [tensor("t", [])], data }), /expected 1 to 4 dimensions, got 0/],
  ["rank 5", gguf({ tensors: [tensor("t", [1, 1, 1, 1, 1])], data }), /expected 1 to 4 dimensions, got 5/],
  [
    "rank 2^32 - 1",
    gguf({ tensorCount: 1, tensors: [Buffer.concat([text("t"), u32(4294967295)])], data }),
    /dimensions, got/,
  ],
  ["dimension 0", gguf({ tensors: [tensor("t", [0])], data }), /dimension 0: expected at least 1/],
  ["dimension 2^63", gguf({ tensors: [tensor("t", [2n ** 63n])], data }), /dimension 0: expected at least 1 and less/],
  [
    "dimensions that overflow 64 bits",
    gguf({ tensors: [tensor("t", [2n ** 32n, 2n ** 32n])], data }),
    /to end within the file/,
  ],
  [
    "dimensions that wrap to a small size",
    gguf({ tensors: [tensor("t", [2n ** 33n, 2n ** 31n, 4])], data }),
    /to end within the file/,
  ],
  ["larger than the file", gguf({ tensors: [tensor("t", [17])], data }), /F32 \[17\] at \d+: expected to end within/],
  ["offset beyond the file", gguf({ tensors: [tensor("t", [1], 0, 96)], data }), /expected to end within the file/],
  [
    "offset 2^64 - 32",
    gguf({ tensors: [tensor("t", [1], 0, 2n ** 64n - 32n)], data }),
    /offset: expected within the file/,
  ],
  ["offset not aligned", gguf({ tensors: [tensor("t", [1], 0, 4)], data }), /offset: expected a multiple of 32, got 4/],
  ["overlap", gguf({ tensors: [tensor("a", [9]), tensor("b", [1], 0, 32)], data }), /"b": offset: expected at least/],
  ["same bytes twice", gguf({ tensors: [tensor("a", [1]), tensor("b", [1])], data }), /"b": offset: expected at least/],
  ["duplicate tensor", gguf({ tensors: [tensor("a", [1]), tensor("a", [1], 0, 32)], data }), /"a": expected once/],
  [
    "row not a multiple of the block",
    gguf({ tensors: [tensor("q", [33], 2)], data }),
    /rows of a multiple of 32 for Q4_0/,
  ],
  ["key empty, twice", gguf({ keys: [key("", 4, u32(1)), key("", 4, u32(1))] }), /duplicate key ""/],
  [
    "two keys that are the same once their bytes are text",
    gguf({
      keys: [0xff, 0xfe].map((byte) => Buffer.concat([u64(1), Buffer.from([byte]), u32(4), u32(1)])),
    }),
    /duplicate key/,
  ],
  [
    "a string of an array longer than the file",
    gguf({ keys: [key("a", 9, array(8, 2, text("x"), u64(1000), data))] }),
    /a: expected 1000 bytes/,
  ],
  [
    "a nested array cut",
    gguf({ keys: [key("a", 9, array(9, 1, u32(4), u64(100), u32(1)))] }),
    /array length: expected/,
  ],
  [
    "dimensions cut",
    gguf({ tensorCount: 1, tensors: [Buffer.concat([text("t"), u32(3), u64(1)])] }),
    /dimension 1: expected 8 bytes/,
  ],
  [
    "offset cut",
    gguf({ tensorCount: 1, tensors: [Buffer.concat([text("t"), u32(1), u64(1), u32(0), u32(0)])] }),
    /offset: expected 8 bytes/,
  ],
  [
    "blocks that overflow 64 bits",
    gguf({ tensors: [tensor("q", [256, 2n ** 50n], 14)], data }),
    /to end within the file/,
  ],
  [
    "offset aligned to less than the file's alignment",
    gguf({ keys: [key("general.alignment", 4, u32(64))], tensors: [tensor("t", [1], 0, 32)], data }),
    /offset: expected a multiple of 64, got 32/,
  ],
  [
    "alignment beyond the file",
    gguf({ keys: [key("general.alignment", 4, u32(1 << 20))], tensors: [tensor("t", [1])], data }),
    /expected to end within the file/,
  ],
  ["alignment 2^63", gguf({ keys: [key("general.alignment", 10, u64(2n ** 63n))] }), /alignment: expected a number/],
  ["no data at all", gguf({ tensors: [tensor("t", [1])] }), /expected to end within the file/],
];

describe("bad files give INVALID_FILE", () => {
  test.each(bad)("%s", async (_name, bytes, message) => {
    const path = temporaryFile(bytes);
    await expectError(() => openGguf(path), "INVALID_FILE", message);
  });

  test.each([
    ["version 1", gguf({ version: 1 }), /version: expected 2 or 3, got 1/],
    ["big endian", gguf({ version: 3 << 24 }), /big-endian/],
    ["removed type 4", gguf({ tensors: [tensor("t", [32], 4)], data }), /ggml type 4 is not known/],
    ["type 2^32 - 1", gguf({ tensors: [tensor("t", [32], 4294967295)], data }), /is not known/],
  ])("UNSUPPORTED: %s", async (_name, bytes, message) => {
    await expectError(() => openGguf(temporaryFile(bytes)), "UNSUPPORTED", message);
  });

  test("a file split over several", async () => {
    const bytes = gguf({ keys: [key("split.count", 2, Buffer.from([3, 0]))] });
    await expectError(() => openWeights(temporaryFile(bytes)), "UNSUPPORTED", /split over 3 files/);
  });

  const whole = gguf({
    keys: [
      key("general.architecture", 8, text("llama")),
      key("flags", 9, array(7, 2, Buffer.from([1, 0]))),
      key("nested", 9, array(9, 1, array(8, 1, text("x")))),
      key("n", 4, u32(7)),
    ],
    tensors: [tensor("a", [4, 2]), tensor("b", [3], 1, 32)],
    data: Buffer.alloc(38),
  });

  test("cut at every byte", () => {
    openGguf(temporaryFile(whole)).file.close();
    for (let length = 0; length < whole.length; length++) {
      let code: unknown = "opened";
      try {
        openGguf(temporaryFile(whole.subarray(0, length)));
      } catch (error) {
        code = error instanceof HeddleError ? error.code : error;
      }
      expect(code, `${length} of ${whole.length} bytes`).toBe("INVALID_FILE");
    }
  });

  test("any byte changed gives a file or a HeddleError", () => {
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const bytes = Buffer.from(whole);
        bytes[at] = byte;
        try {
          openGguf(temporaryFile(bytes)).file.close();
        } catch (error) {
          expect(error).toBeInstanceOf(HeddleError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

const scalars: fc.Arbitrary<GgufValue> = fc.oneof(
  fc.record({ type: fc.constant("u8" as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ type: fc.constant("i16" as const), value: fc.integer({ min: -32768, max: 32767 }) }),
  fc.record({ type: fc.constant("u32" as const), value: fc.integer({ min: 0, max: 4294967295 }) }),
  fc.record({ type: fc.constant("f32" as const), value: fc.float({ noNaN: true }) }),
  fc.record({ type: fc.constant("f64" as const), value: fc.double({ noNaN: true }) }),
  fc.record({ type: fc.constant("u64" as const), value: fc.bigInt({ min: 0n, max: huge }) }),
  fc.record({ type: fc.constant("i64" as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
  fc.record({ type: fc.constant("bool" as const), value: fc.boolean() }),
  fc.record({ type: fc.constant("string" as const), value: fc.string({ unit: "binary" }) }),
);
const plainArrays: fc.Arbitrary<GgufArray> = fc.oneof(
  fc.array(fc.string({ unit: "binary" })).map((value): GgufArray => ({ type: "array", of: "string", value })),
  fc.array(fc.boolean()).map((value): GgufArray => ({ type: "array", of: "bool", value })),
  fc.float32Array().map((value): GgufArray => ({ type: "array", of: "f32", value })),
  fc.int16Array().map((value): GgufArray => ({ type: "array", of: "i16", value })),
  fc.bigInt64Array().map((value): GgufArray => ({ type: "array", of: "i64", value })),
);
const arrays = fc.oneof(
  plainArrays,
  fc.array(plainArrays, { maxLength: 4 }).map((value): GgufArray => ({ type: "array", of: "array", value })),
);

test("what is written is read back", async () => {
  const path = join(temporaryFolder(), "x.gguf");
  const metadata = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.oneof(scalars, arrays)), {
    selector: ([name]) => name,
  });
  const tensors = fc.uniqueArray(
    fc.tuple(
      fc.string({ minLength: 1, maxLength: 20 }),
      fc.constantFrom("f32" as const, "f16" as const, "bf16" as const),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    ),
    { selector: ([name]) => name, maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(metadata, tensors, async (pairs, table) => {
      const written = table.map(([name, dtype, shape], n) => {
        const size = shape.reduce((a, b) => a * b, 1) * (dtype === "f32" ? 4 : 2);
        return { name, dtype, shape, bytes: new Uint8Array(size).map((_, i) => i + n) };
      });
      await writeGguf(path, { metadata: new Map(pairs), tensors: written });
      const opened = openGguf(path);
      const values = new Map(opened.metadata.values);
      expect(values.get("general.alignment")).toEqual({ type: "u32", value: 32 });
      values.delete("general.alignment");
      expect([...values]).toEqual(pairs.filter(([name]) => name !== "general.alignment"));
      for (const { name, dtype, shape, bytes } of written) {
        const entry = opened.entries.get(name)!;
        expect(entry).toMatchObject({ dtype, shape });
        expect(entry.offset % 32).toBe(0);
        expect(new Uint8Array(opened.file.bytes(entry.offset, entry.bytes))).toEqual(bytes);
      }
      opened.file.close();
    }),
    { numRuns: 200 },
  );
});

test("values that do not fit are refused", async () => {
  const path = join(temporaryFolder(), "x.gguf");
  const write = (value: GgufValue) => writeGguf(path, { metadata: new Map([["k", value]]), tensors: [] });
  await expectError(
    () => write({ type: "u8", value: 256 }),
    "INVALID_ARGUMENT",
    /metadata k: expected a value that fits u8/,
  );
  await expectError(() => write({ type: "u64", value: -1n }), "INVALID_ARGUMENT", /fits u64, got -1/);
  const name = "x".repeat(64);
  const tensors = [{ name, dtype: "f32", shape: [1], bytes: new Uint8Array(4) } as const];
  await expectError(() => writeGguf(path, { metadata: new Map(), tensors }), "INVALID_ARGUMENT", /at most 63 bytes/);
});
