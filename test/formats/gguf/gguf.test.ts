import { describe, expect, test } from "vitest";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import { GGML_TYPES } from "../../../lib/formats/gguf/gguf-types.ts";
import { openWeights } from "../../../lib/formats/weights.ts";
import { expectError, f32, processorTime, temporaryFile, text, u32, u64 } from "../helpers.ts";
import { array, gguf, key, tensor } from "./gguf-bytes.ts";

describe("reading GGUF", () => {
  test("supports every value type", async () => {
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
    const opened = await openGguf(temporaryFile(file));
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

  test("supports version 2, tensors of rank 1 and 2, and alignment", async () => {
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
    const opened = await openGguf(temporaryFile(bytes));
    expect(opened).toMatchObject({ version: 2, alignment: 64 });
    expect(opened.entries.get("v")).toMatchObject({ shape: [3], offset: start, bytes: 12, dtype: "f32" });
    expect(opened.entries.get("m")).toMatchObject({ shape: [3, 2], offset: start + 64, bytes: 12, dtype: "f16" });
    opened.file.close();
  });

  test("returns quantized tensors, and rejects unsupported types only when a tensor is read", async () => {
    const tensors = [tensor("q", [512, 2], 12), tensor("i", [256, 1], 16, 576)];
    const weights = await openWeights(temporaryFile(gguf({ tensors, data: Buffer.alloc(576 + 66) })));
    expect(weights.info("q")).toMatchObject({ storedDtype: "Q4_K", dtype: "q4_k", shape: [2, 512], bytes: 576 });
    expect(weights.tensor("q")).toMatchObject({ dtype: "q4_k", bytes: 576 });
    await expectError(() => weights.tensor("i"), "UNSUPPORTED", /"i": IQ2_XXS is not supported/);
    weights.close();
  });

  test("uses ggml's block sizes", () => {
    // Bits per weight from ggml's documentation, by the number of elements in a block.
    const bits: Record<number, Record<string, number>> = {
      1: { F64: 64, F32: 32, F16: 16, BF16: 16, I64: 64, I32: 32, I16: 16, I8: 8 },
      32: { Q4_0: 4.5, Q4_1: 5, Q5_0: 5.5, Q5_1: 6, Q8_0: 8.5, Q8_1: 9, IQ4_NL: 4.5, MXFP4: 4.25 },
      64: { NVFP4: 4.5 },
      256: {
        ...{ Q2_K: 2.625, Q3_K: 3.4375, Q4_K: 4.5, Q5_K: 5.5, Q6_K: 6.5625, Q8_K: 9.125, IQ1_S: 1.5625, IQ1_M: 1.75 },
        ...{ IQ2_XXS: 2.0625, IQ2_XS: 2.3125, IQ2_S: 2.5625, IQ3_XXS: 3.0625, IQ3_S: 3.4375, IQ4_XS: 4.25 },
        ...{ TQ1_0: 1.6875, TQ2_0: 2.0625 },
      },
    };
    const found: typeof bits = {};
    for (const { name, blockElements, blockBytes } of GGML_TYPES.values())
      found[blockElements] = { ...found[blockElements], [name]: (blockBytes * 8) / blockElements };
    expect(found).toEqual(bits);
  });

  test("reads a vocabulary of 262,144 tokens with merges within a second", async () => {
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
    const opened = await openGguf(path);
    const milliseconds = processorTime() - start;
    expect(opened.metadata.strings("tokenizer.ggml.tokens")![count - 1]).toBe(`token${count - 1}`);
    expect(opened.metadata.numbers("tokenizer.ggml.scores")).toHaveLength(count);
    opened.file.close();
    expect(milliseconds).toBeLessThan(1000);
  });

  test("rejects a value of an unexpected type and names its key", async () => {
    const opened = await openGguf(
      temporaryFile(gguf({ keys: [key("a", 8, text("x")), key("big", 10, u64(2n ** 60n))] })),
    );
    await expectError(() => opened.metadata.number("a"), "INVALID_FILE", /a: expected a number, got string/);
    await expectError(() => opened.metadata.number("big"), "INVALID_FILE", /big: expected a number, got u64/);
    await expectError(() => opened.metadata.requireString("none"), "INVALID_FILE", /none: expected in the metadata/);
    await expectError(() => opened.metadata.strings("a"), "INVALID_FILE", /a: expected an array of strings/);
    opened.file.close();
  });
});
