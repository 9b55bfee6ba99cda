// Casts of strided views, of fp8, and of MXFP4 with separate scales. The references are plain loops and casts of contiguous copies.
import { truncateSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { NativeCastSource, NativeLaneHandle } from "../../lib/binding/graph.ts";
import { binding } from "../../lib/binding/index.ts";
import { BLOCK_TYPES, DTYPES } from "../../lib/graph/dtype.ts";
import { type FloatDType, isQuantized, openDevice, type QuantizedDType, Tensor } from "../../lib/graph/index.ts";
import { bytesFor, castOnLane, countOf, type ElementView, type StoredElements } from "../../lib/graph/lane-cast.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { expectError, temporaryFile } from "../formats/helpers.ts";
import { generator } from "./harness.ts";

type Type = FloatDType | QuantizedDType;
const { lane } = openDevice({ device: "cpu" });
const floating = ["f32", "bf16", "f16"] as const;
const all = Object.keys(DTYPES).filter((type) => floating.includes(type as never) || isQuantized(type)) as Type[];
const targets = [...floating, "q8_0", "q4_0", "q4_k", "q6_k"] as const;

const plainly = (bytes: Uint8Array, from: Type, to: Type, addend = 0) =>
  binding.castElements(bytes, DTYPES[from], DTYPES[to], addend).bytes;

/** Floats of a type, or blocks with small scales. */
function elementsOf(type: Type, count: number, seed: number): Uint8Array {
  const random = generator(seed);
  const numbers = Float32Array.from({ length: count }, () => random() * 4 - 2);
  const bytes = new Uint8Array(numbers.buffer);
  if (!isQuantized(type)) return new Uint8Array(plainly(bytes, "f32", type));
  const out = Uint8Array.from({ length: bytesFor(type, count) }, () => random() * 256);
  // Without bit 6 of every byte, f16 scales are below 2 and finite at any position.
  for (let i = 0; i < out.length; i++) out[i]! &= 0xbf;
  return out;
}

/** Copies the view's elements one by one; blocks are copied whole. */
function viewed(bytes: Uint8Array, type: Type, { sizes, strides, start = 0 }: ElementView): Uint8Array {
  const block = isQuantized(type) ? BLOCK_TYPES[type] : { elements: 1, bytes: bytesFor(type, 1) };
  const parts: Uint8Array[] = [];
  const walk = (d: number, at: number) => {
    if (d === sizes.length) {
      if (at % block.elements === 0)
        parts.push(bytes.subarray((at / block.elements) * block.bytes).subarray(0, block.bytes));
      return;
    }
    for (let i = 0; i < sizes[d]!; i++) walk(d + 1, at + i * strides[d]!);
  };
  walk(0, start);
  return Buffer.concat(parts);
}

async function made(source: StoredElements, from: Type, to: Type, addend = 0): Promise<Buffer> {
  const out = new ArrayBuffer(bytesFor(to, countOf(source, from)));
  await castOnLane(lane, source, { from, to, addend }, out);
  return Buffer.from(out);
}

/** The source in an array and in a file, each at an odd offset. */
async function placed(bytes: Uint8Array, check: (source: StoredElements) => Promise<void>): Promise<void> {
  const shifted = new Uint8Array(bytes.length + 9);
  shifted.set(bytes, 3);
  await check({ data: shifted, offset: 3, bytes: bytes.length });
  const file = mapFile(temporaryFile(shifted));
  await check({ data: file, offset: 3, bytes: bytes.length });
  file.close();
}

const transposed = (rows: number, columns: number): ElementView => ({ sizes: [columns, rows], strides: [1, columns] });
const apart: Record<string, { count: number; view: ElementView }> = {
  "a transposed matrix": { count: 768 * 300, view: transposed(768, 300) },
  "a transposed matrix of few rows": { count: 3 * 70_000, view: transposed(3, 70_000) },
  "a transposed matrix of few columns": { count: 70_000 * 3, view: transposed(70_000, 3) },
  "a single row": { count: 999, view: transposed(1, 999) },
  "every second column of stacked matrices": {
    count: 4 * 70 * 130,
    view: { sizes: [4, 65, 70], strides: [70 * 130, 2, 130], start: 1 },
  },
  "rows interleaved from two matrices": {
    count: 2 * 3 * 80 * 40,
    view: { sizes: [3, 40, 80, 2], strides: [80 * 40, 1, 40, 3 * 80 * 40] },
  },
  "every third element": { count: 30_000, view: { sizes: [10_000], strides: [3], start: 2 } },
  "the same element repeated": { count: 8, view: { sizes: [40, 600], strides: [0, 0], start: 5 } },
  "a contiguous part": { count: 700, view: { sizes: [2, 3, 100], strides: [300, 100, 1], start: 70 } },
};

describe("strided views of floats", () => {
  test.each(Object.keys(apart))("are cast correctly: %s", async (name) => {
    const { count, view } = apart[name]!;
    for (const from of floating) {
      const bytes = elementsOf(from, count, 7);
      const want = viewed(bytes, from, view);
      await placed(bytes, async (source) => {
        for (const to of floating) {
          const got = await made({ ...source, view }, from, to, 0.5);
          expect(Buffer.compare(got, Buffer.from(plainly(want, from, to, 0.5))), `${from} → ${to}`).toBe(0);
        }
        expect(Buffer.compare(await made({ ...source, view }, from, from), want), from).toBe(0);
      });
    }
  });

  test("a transposed matrix can be quantized, also in part", async () => {
    const [rows, columns] = [768, 70];
    const view = transposed(rows, columns);
    for (const from of floating) {
      const bytes = elementsOf(from, rows * columns, 5);
      const source = { data: bytes, offset: 0, bytes: bytes.length, view };
      for (const to of targets) {
        const want = Buffer.from(plainly(viewed(bytes, from, view), from, to));
        expect(Buffer.compare(await made(source, from, to), want), to).toBe(0);
        for (const [first, count] of [
          [0, 256],
          [512, 768],
          [768 * 3 + 256, 768 * 65],
          [768 * 69 + 512, 256],
        ] as const) {
          const out = new ArrayBuffer(bytesFor(to, count));
          await castOnLane(lane, source, { from, to }, out, 0, { first, count });
          const part = want.subarray(bytesFor(to, first), bytesFor(to, first + count));
          expect(Buffer.compare(Buffer.from(out), part), `${to} ${first}`).toBe(0);
        }
      }
    }
  });

  test("any range of elements of stacked transposed matrices can be cast, whether longer or shorter than a tile", async () => {
    for (const sizes of [
      [3, 70, 600],
      [2, 130, 5],
      [5, 3, 300],
    ] as const) {
      const [matrices, rows, columns] = sizes;
      const all = matrices * rows * columns;
      const bytes = elementsOf("f32", all, 11);
      const view = { sizes, strides: [rows * columns, 1, rows] };
      const want = viewed(bytes, "f32", view);
      const random = generator(6);
      const lengths = [1, 2, columns - 1, columns + 1, 3 * columns, 66 * columns];
      for (let turn = 0; turn < 60; turn++) {
        const count = Math.min(all, lengths[turn % lengths.length]!);
        const near = Math.floor(random() * matrices * rows) * columns + Math.floor(random() * 5) - 2;
        const first = Math.max(0, Math.min(all - count, near));
        const out = new ArrayBuffer(count * 4);
        const source = { data: bytes, offset: 0, bytes: bytes.length, view };
        await castOnLane(lane, source, { from: "f32", to: "f32" }, out, 0, { first, count });
        const part = want.subarray(first * 4, (first + count) * 4);
        expect(Buffer.compare(Buffer.from(out), part), `${sizes} ${first} ${count}`).toBe(0);
      }
    }
  });

  test("a small part of a view of 2³⁶ or more elements is cast without visiting the others", async () => {
    const data = Uint8Array.from({ length: 64 }, (_, i) => i);
    for (const [sizes, strides] of [
      [
        [2 ** 36, 3],
        [0, 2],
      ],
      [
        [3, 2 ** 40],
        [0, 0],
      ],
      [
        [2 ** 20, 2 ** 20],
        [0, 0],
      ],
    ] as const) {
      const source = { data, offset: 0, bytes: 64, view: { sizes, strides } };
      const first = sizes[1] - 1;
      const out = new ArrayBuffer(8);
      await castOnLane(lane, source, { from: "f32", to: "f32" }, out, 0, { first, count: 2 });
      const at = (sizes[1] - 1) * strides[1] * 4;
      expect([...new Uint8Array(out)]).toEqual([...data.subarray(at, at + 4), ...data.subarray(0, 4)]);
    }
  });

  test("NaN and overflows are counted at any position", async () => {
    const numbers = new Float32Array(500 * 90);
    numbers.set([Number.NaN, 1e6, Number.POSITIVE_INFINITY, -1e6], 44_000);
    const data = new Uint8Array(numbers.buffer);
    const source = { data, offset: 0, bytes: data.length, view: transposed(500, 90) };
    const out = new ArrayBuffer(500 * 90 * 2);
    expect(await castOnLane(lane, source, { from: "f32", to: "f16" }, out)).toEqual({ overflows: 2, notFinite: 2 });
  });
});

test.each(all)("head rows are permuted as for RoPE: %s", async (from) => {
  const [heads, half, columns] = [5, 3, 768];
  const view = {
    sizes: [heads, half, 2, columns],
    strides: [2 * half * columns, columns, half * columns, 1],
  };
  const bytes = elementsOf(from, heads * half * 2 * columns, 3);
  const want = viewed(bytes, from, view);
  await placed(bytes, async (source) => {
    expect(Buffer.compare(await made({ ...source, view }, from, from), want)).toBe(0);
    for (const to of floating)
      expect(Buffer.compare(await made({ ...source, view }, from, to), Buffer.from(plainly(want, from, to))), to).toBe(
        0,
      );
  });
});

describe("fp8", () => {
  const [rows, columns] = [300, 200];
  const random = generator(9);
  const bytes = Uint8Array.from({ length: rows * columns }, () => random() * 0x7f + (random() < 0.5 ? 0 : 0x80));
  const scales = Float32Array.from({ length: 3 * 2 }, () => random() * 3);
  const number = (byte: number) => {
    const [exponent, fraction] = [(byte >> 3) & 15, byte & 7];
    const magnitude = exponent ? (8 + fraction) * 2 ** (exponent - 10) : fraction * 2 ** -9;
    return (byte & 0x7f) === 0x7f ? Number.NaN : byte & 0x80 ? -magnitude : magnitude;
  };
  const products = Float32Array.from(bytes, (byte, i) => {
    const block = Math.floor(i / columns / 128) * 2 + Math.floor((i % columns) / 128);
    return Math.fround(scales[block]!) * number(byte);
  });
  const wide = new Uint8Array(products.buffer);

  test("is dequantized exactly or rounded to bf16", async () => {
    await placed(bytes, async (source) => {
      const fp8 = { scales, columns };
      expect(Buffer.compare(await made({ ...source, fp8 }, "f32", "f32"), wide)).toBe(0);
      const rounded = new Uint8Array(plainly(wide, "f32", "bf16"));
      for (const to of floating)
        expect(
          Buffer.compare(await made({ ...source, fp8 }, "bf16", to), Buffer.from(plainly(rounded, "bf16", to))),
        ).toBe(0);
    });
  });

  test("can be permuted as for RoPE, also in part", async () => {
    const view = { sizes: [3, 50, 2, columns], strides: [100 * columns, columns, 50 * columns, 1] };
    const source = { data: bytes, offset: 0, bytes: bytes.length, fp8: { scales, columns }, view };
    const want = Buffer.from(plainly(viewed(wide, "f32", view), "f32", "q8_0"));
    expect(Buffer.compare(await made(source, "f32", "q8_0"), want)).toBe(0);
    const out = new ArrayBuffer(bytesFor("q8_0", 3200));
    await castOnLane(lane, source, { from: "f32", to: "q8_0" }, out, 0, { first: 6400, count: 3200 });
    expect(Buffer.compare(Buffer.from(out), want.subarray(bytesFor("q8_0", 6400), bytesFor("q8_0", 9600)))).toBe(0);
  });

  test("keeps NaN, and counts products that are finite in f32 but overflow bf16", async () => {
    const data = Uint8Array.of(0x7f, 0x7e, 0x7d, 0xff, 0, 0xfe);
    const scale = Math.fround(7.59e35);
    // 448 times the scale is above the midpoint of bf16's largest number and infinity; 416 times the scale is below it.
    expect(448 * scale).toBeLessThan(2 ** 128 - 2 ** 104);
    expect(448 * scale).toBeGreaterThan(2 ** 128 - 2 ** 119);
    const out = new Uint16Array(data.length);
    const cast = (bytes: Uint8Array, to: Uint16Array) => {
      const fp8 = { scales: Float32Array.of(scale), columns: bytes.length };
      const source = { data: bytes, offset: 0, bytes: bytes.length, fp8 };
      return castOnLane(lane, source, { from: "bf16", to: "bf16" }, to.buffer as ArrayBuffer);
    };
    expect((await cast(data, out)).overflows).toBe(2);
    expect([...out].map((bits) => bits & 0x7fff).filter((bits) => bits > 0x7f80)).toHaveLength(2);
    expect([out[1], out[5]]).toEqual([0x7f80, 0xff80]);
    expect(out[2]! & 0x7fff).toBeLessThan(0x7f80);
    expect(out[4]).toBe(0);
    const finite = data.filter((byte) => (byte & 0x7f) < 0x7e);
    expect(await cast(finite, out)).toEqual({ overflows: 0, notFinite: 0 });
    expect(await cast(Uint8Array.of(0x7f, 0xff), out)).toEqual({ overflows: 0, notFinite: 2 });
  });
});

test("fp8 products that overflow f32 are counted as overflows, but products with an infinite scale are not", async () => {
  const data = Uint8Array.of(0x7e, 0x38, 0xfe, 0x7f);
  const found = (scale: number) => {
    const source = { data, offset: 0, bytes: 4, fp8: { scales: Float32Array.of(scale), columns: 4 } };
    return castOnLane(lane, source, { from: "f32", to: "f32" }, new ArrayBuffer(16));
  };
  expect(await found(3e36)).toMatchObject({ overflows: 2 });
  expect(await found(-3e36)).toMatchObject({ overflows: 2 });
  expect(await found(7e35)).toMatchObject({ overflows: 0, notFinite: 1 });
  expect(await found(Number.POSITIVE_INFINITY)).toMatchObject({ overflows: 0, notFinite: 4 });
});

test("MXFP4 with separate scales is converted to ggml blocks, also for every second row", async () => {
  const [experts, outputs, groups] = [3, 10, 24];
  const random = generator(4);
  const halves = Uint8Array.from({ length: experts * outputs * groups * 16 }, () => random() * 256);
  const scales = Uint8Array.from({ length: experts * outputs * groups }, () => 120 + random() * 10);
  const nibble = (block: number, element: number) => (halves[block * 16 + (element >> 1)]! >> (4 * (element & 1))) & 15;
  const want: number[] = [];
  for (let e = 0; e < experts; e++)
    for (let r = 1; r < outputs; r += 2)
      for (let g = 0; g < groups; g++) {
        const block = (e * outputs + r) * groups + g;
        want.push(scales[block]!);
        for (let j = 0; j < 16; j++) want.push(nibble(block, j) | (nibble(block, j + 16) << 4));
      }
  const inputs = groups * 32;
  const view = { sizes: [experts, outputs / 2, inputs], strides: [outputs * inputs, 2 * inputs, 1], start: inputs };
  const beside = mapFile(temporaryFile(Buffer.concat([Buffer.alloc(5), scales])));
  await placed(halves, async (source) => {
    for (const mxfp4 of [
      { data: scales, offset: 0 },
      { data: beside, offset: 5 },
    ]) {
      const blocks = await made({ ...source, mxfp4, view }, "mxfp4", "mxfp4");
      expect(Buffer.compare(blocks, Buffer.from(want))).toBe(0);
      const numbers = Buffer.from(plainly(Uint8Array.from(want), "mxfp4", "f32"));
      expect(Buffer.compare(await made({ ...source, mxfp4, view }, "mxfp4", "f32"), numbers)).toBe(0);
    }
  });
  beside.close();
});

test("invalid sources, views and scales are rejected before any byte is written", async () => {
  const source = new Uint8Array(4096);
  const out = new ArrayBuffer(8192);
  const { f32, f16, q8_0, q4_k, mxfp4, bf16 } = DTYPES;
  const wrong = (
    how: object,
    message: RegExp,
    { from = f32, to = f32, count = 256, data = source as unknown } = {},
  ) => {
    const given = { elements: 1024, first: 0, ...how } as NativeCastSource;
    const call: Parameters<NativeLaneHandle["cast"]> = [data as Uint8Array, 0, from, to, 0, count, out, 0, given];
    return expectError(async () => lane.cast(...call), "INVALID_ARGUMENT", message);
  };
  await wrong({ elements: 1025 }, /cast: source: expected a range within 4096 bytes, got 4100 bytes at 0/);
  await wrong({ elements: 2 ** 60 }, /elements: expected an integer/);
  await wrong({ elements: 512, first: 257 }, /cast: expected a range within 512 elements, got 256 elements at 257/);
  await wrong({ first: 2 ** 46, elements: 2 ** 46 }, /expected a range within/);
  const view = (sizes: unknown, strides: unknown, start: unknown = 0) => ({ sizes, strides, start });
  await wrong(view([32, 32], [33, 1]), /expected a view within 1024 elements/);
  await wrong(view([32, 32], [32, 1], 1), /expected a view within 1024 elements/);
  await wrong(view([2, 2], [2 ** 46, 1]), /expected a view within 1024 elements/);
  await wrong(view([2 ** 46, 2 ** 46], [0, 0]), /expected a view within 1024 elements/);
  await wrong(view([2 ** 40, 2 ** 40], [2 ** 40, 2 ** 40]), /expected a view within 1024 elements/);
  await wrong(view([0, 4], [2 ** 46, 2 ** 46]), /expected a range within 0 elements/);
  await wrong(view([32], [-1]), /strides: expected an integer/);
  await wrong(view([Number.NaN], [1]), /sizes: expected an integer/);
  await wrong(view([2.5], [1]), /sizes: expected an integer/);
  await wrong(view([32], [1, 1]), /strides: expected 1 numbers, got 2/);
  await wrong(view([1, 1, 1, 1, 256], [1, 1, 1, 1, 1]), /sizes: expected 1 to 4 numbers, got 5/);
  await wrong(view([], []), /sizes: expected 1 to 4 numbers, got 0/);
  await wrong(view("32", [1]), /sizes: expected an array/);
  await wrong(view([32, 32], [32, 1], -1), /start: expected an integer/);
  await wrong(view([16, 64], [1, 16]), /cast: rows: expected a multiple of 256 elements for q4_k/, { to: q4_k });
  await wrong(view([32, 32], [1, 32]), /contiguous rows of quantized elements/, { from: q8_0 });
  await wrong(view([2, 32], [33, 1]), /cast: strides: expected a multiple of 32/, { from: q8_0, count: 64 });
  await wrong(view([2, 32], [64, 1], 8), /cast: start: expected a multiple of 32/, { from: q8_0, count: 64 });
  await wrong(view([2, 16], [32, 1]), /cast: rows: expected a multiple of 32/, { from: q8_0, count: 32 });
  await wrong({ first: 8 }, /cast: first: expected a multiple of 32/, { to: q8_0 });
  const scales = new Float32Array(1);
  await wrong({ scales, columns: 0 }, /columns: expected a divisor of 1024, got 0/);
  await wrong({ scales, columns: 1000 }, /columns: expected a divisor of 1024, got 1000/);
  await wrong({ scales, columns: 1024 }, /scales: expected 8 numbers, got 4 bytes/);
  await wrong({ scales: undefined, columns: 128 }, /scales: expected a typed array/);
  await wrong({ scales, columns: 128 }, /from: expected f32 or bf16 for 8-bit floats with scales, got f16/, {
    from: f16,
  });
  await wrong({ scales, columns: 128, elements: 2 ** 46 }, /scales: expected/, { from: bf16 });
  const crossing = view([128, 8], [1, 128]);
  await wrong({ scales, columns: 128, ...crossing }, /contiguous rows of quantized elements/);
  const apart = { scaleSource: new Uint8Array(31), scaleOffset: 0 };
  await wrong(apart, /from: expected mxfp4, got f32/);
  await wrong(apart, /cast: source: expected a range within 31 bytes, got 32 bytes at 0/, { from: mxfp4 });
  await wrong({ ...apart, scaleOffset: -1 }, /scaleOffset: expected an integer/, { from: mxfp4 });
  await wrong({ ...apart, scaleSource: {} }, /file: expected a MappedFile/, { from: mxfp4 });
  await wrong({}, /file: expected a MappedFile/, { data: {} });
  expect(new Uint8Array(out).every((byte) => byte === 0)).toBe(true);
});

test("a file that has become shorter is an IO error, whether read or mapped", async () => {
  const path = temporaryFile(new Uint8Array(1 << 20));
  const file = mapFile(path);
  truncateSync(path, 4096);
  const out = new ArrayBuffer(1 << 20);
  const source = { data: file, offset: 0, bytes: 1 << 20 };
  for (const view of [transposed(512, 512), { sizes: [512, 512], strides: [512, 1] }])
    await expectError(() => castOnLane(lane, { ...source, view }, { from: "f32", to: "f32" }, out), "IO", /truncated/);
  file.close();
});

test("an empty view gives an empty result", async () => {
  const tensor = Tensor.zeros(openDevice({ device: "cpu" }), "f32", [0]);
  const source = { data: new Uint8Array(8), offset: 0, bytes: 8, view: { sizes: [0, 2], strides: [1, 1] } };
  expect(await castOnLane(lane, source, { from: "f32", to: "f32" }, tensor.native)).toEqual({
    overflows: 0,
    notFinite: 0,
  });
  tensor.dispose();
});
