import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import type { GgufArray, GgufValue } from "../../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { expectError, temporaryFolder } from "../helpers.ts";

const scalars: fc.Arbitrary<GgufValue> = fc.oneof(
  fc.record({ type: fc.constant("u8" as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ type: fc.constant("i16" as const), value: fc.integer({ min: -32768, max: 32767 }) }),
  fc.record({ type: fc.constant("u32" as const), value: fc.integer({ min: 0, max: 4294967295 }) }),
  fc.record({ type: fc.constant("f32" as const), value: fc.float({ noNaN: true }) }),
  fc.record({ type: fc.constant("f64" as const), value: fc.double({ noNaN: true }) }),
  fc.record({ type: fc.constant("u64" as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
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

test("round-trips metadata and tensors", async () => {
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
      const opened = await openGguf(path);
      const values = new Map(opened.metadata.values);
      expect(values.get("general.alignment")).toEqual({ type: "u32", value: 32 });
      values.delete("general.alignment");
      expect([...values]).toEqual(pairs.filter(([name]) => name !== "general.alignment"));
      expect(opened.entries.size).toBe(written.length);
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

test("rejects metadata values out of range and tensor names of more than 63 bytes", async () => {
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
