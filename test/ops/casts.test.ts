// Multithreaded cast kernels of the active instruction set give the same bytes as plain loops.
import { createHash } from "node:crypto";
import { truncateSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { NativeLaneHandle } from "../../lib/binding/graph.ts";
import { binding } from "../../lib/binding/index.ts";
import { DTYPES } from "../../lib/graph/dtype.ts";
import { openDevice, Tensor } from "../../lib/graph/index.ts";
import { bytesFor, castOnLane, elementsOf } from "../../lib/graph/lane-cast.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { expectError, temporaryFile } from "../formats/helpers.ts";
import { generator } from "./harness.ts";

const device = openDevice({ device: "cpu" });
const { lane } = device;
const floating = ["f32", "bf16", "f16"] as const;
const written = ["q8_0", "q4_0", "q5_0", "q4_k", "q6_k"] as const;
type Type = (typeof floating)[number] | (typeof written)[number];

const bytesOf = (numbers: Float32Array | Uint16Array) => new Uint8Array(numbers.buffer, 0, numbers.byteLength);
const plainly = (bytes: Uint8Array, from: Type, to: Type, addend = 0) =>
  binding.castElements(bytes, DTYPES[from], DTYPES[to], addend);

/** Results and overflow counts of the kernels. */
async function cast(bytes: Uint8Array, from: Type, to: Type, addend = 0) {
  const out = new ArrayBuffer(bytesFor(to, elementsOf(from, bytes.length)));
  const found = await castOnLane(lane, bytes, { from, to, addend }, out);
  return { ...found, bytes: out };
}

const bell = (random: () => number) => random() + random() + random() + random() - 2;
const signed = (random: () => number) => (random() < 0.5 ? 0 : -0);
const bits = new Uint32Array(1);
const ofBits = new Float32Array(bits.buffer);
/** Any value that blocks can hold, with uniform exponents. */
function anyNumber(random: () => number): number {
  do bits[0] = random() * 2 ** 32;
  while (!(Math.abs(ofBits[0]!) <= 450_000));
  return ofBits[0]!;
}

const kinds: Record<string, (random: () => number, i: number) => number> = {
  "around zero": (random) => bell(random) / 32,
  large: (random) => bell(random) * 2 ** 17,
  "up to the largest value that blocks can hold": (random) => (random() * 2 - 1) * 450_000, // still below 458,528 after rounding to bf16
  "below the smallest f16 scale": (random) => bell(random) / 2 ** 22,
  subnormal: (random) => bell(random) / 2 ** 130,
  "subnormal and negative": () => -(2 ** -140),
  "zeros of both signs": signed,
  "mostly zeros": (random) => (random() < 0.97 ? signed(random) : bell(random)),
  positive: (random) => 3 + bell(random) / 8,
  negative: (random) => -3 - bell(random) / 8,
  equal: () => 2.5,
  "equal values in a group": (_, i) => ((i >> 5) % 7 === 0 ? 0.25 : -0.5),
  ties: (random) => (Math.floor(random() * 33) - 15.5) / 8,
  integers: (random) => Math.round(bell(random) * 8),
  "groups of very different magnitudes": (random, i) => bell(random) * 2 ** (((i >> 4) % 40) - 28),
  "values of very different magnitudes": (random) => bell(random) * 2 ** (Math.floor(random() * 40) - 28),
  "any exponent": anyNumber,
};

/** Returns `count` random values of one kind. */
function numbersOf(kind: string, count: number, seed: number): Float32Array {
  const random = generator(seed);
  return Float32Array.from({ length: count }, (_, i) => kinds[kind]!(random, i));
}

describe.each(Object.keys(kinds))("casts of values (%s)", (kind) => {
  test.each(written)("equal those of the plain loops, to %s", async (to) => {
    // Kernels take 512 values at once. Some counts are multiples of 512, and others have a remainder.
    for (const from of floating)
      for (const [seed, count] of [8192, 32 * 35, 256 * 3, to === "q4_k" || to === "q6_k" ? 256 : 32].entries()) {
        if ((to === "q4_k" || to === "q6_k") && count % 256) continue;
        const source = new Uint8Array(plainly(bytesOf(numbersOf(kind, count, seed)), "f32", from).bytes);
        const infinite = from === "f16" && kind !== "around zero" && plainly(source, "f16", "f32").bytes;
        // Blocks reject infinities, see below.
        if (infinite && new Float32Array(infinite).some((v) => !Number.isFinite(v))) continue;
        const want = plainly(source, from, to).bytes;
        const got = await cast(source, from, to);
        expect(Buffer.compare(Buffer.from(got.bytes), Buffer.from(want)), `${from}, ${count} numbers`).toBe(0);
      }
  });
});

/** Recorded digests of the plain loops' results. */
const PINNED = {
  q8_0: "7b42b8ec559aa547",
  q4_0: "26a3021e8a51b348",
  q5_0: "24d0ca06963e16f8",
  q4_k: "952d716d10f5ec3a",
  q6_k: "0a2ccc0acfe16334",
};

test("the bytes of quantized blocks equal the recorded digests", () => {
  const random = generator(11);
  const numbers = Float32Array.from({ length: 256 * 64 }, (_, i) => bell(random) * 2 ** (((i >> 5) % 24) - 16));
  numbers.fill(0, 1024, 1536);
  numbers.fill(0.75, 1536, 2048);
  const hashes = written.map((to) => {
    const made = Buffer.from(plainly(bytesOf(numbers), "f32", to).bytes);
    return [to, createHash("sha256").update(made).digest("hex").slice(0, 16)];
  });
  expect(Object.fromEntries(hashes)).toEqual(PINNED);
});

describe("casts between float types", () => {
  const all = bytesOf(Uint16Array.from({ length: 65536 }, (_, i) => i));
  const powers = Float32Array.from({ length: 70000 }, (_, i) => (i % 3 ? -1 : 1) * 1.0009 ** (i - 35000));
  const wide = bytesOf(powers);
  // NaN with and without a payload, infinities and zeros of both signs, at the start, in the middle and at the end.
  const special = [0x7fc00000, 0xffc12345, 0x7f800001, 0x7f800000, 0xff800000, 0, 0x80000000];
  const withSpecial = wide.slice();
  for (const at of [0, 33_333, powers.length - special.length])
    withSpecial.set(new Uint8Array(Uint32Array.from(special).buffer), at * 4);

  test.each(floating.flatMap((from) => floating.map((to) => [from, to] as const)))(
    "equal those of the plain loops, as do the counts of overflows and non-finite values: %s → %s",
    async (from, to) => {
      for (const addend of [0, 1])
        for (const source of from === "f32" ? [wide, withSpecial] : [all]) {
          const want = plainly(source, from, to, addend);
          const got = await cast(source, from, to, addend);
          // Copies keep the bits of NaN.
          const bytes = from === to && addend === 0 ? source : Buffer.from(want.bytes);
          expect(Buffer.compare(Buffer.from(got.bytes), bytes)).toBe(0);
          expect(got.overflows).toBe(want.overflows);
          const numbers = new Float32Array(plainly(source, from, "f32").bytes);
          expect(got.notFinite).toBe(numbers.reduce((n, v) => n + (Number.isFinite(v) ? 0 : 1), 0));
        }
    },
  );

  test("count the values that round to infinity as overflows", async () => {
    const edge = (limit: number) => [limit, -limit, limit * (1 - 2 ** -24)];
    const numbers = bytesOf(Float32Array.from([65520, 2 ** 128 - 2 ** 119].flatMap(edge)));
    for (const [to, overflows] of [["f16", 5] as const, ["bf16", 2] as const]) {
      expect((await cast(numbers, "f32", to)).overflows, to).toBe(overflows);
      expect(plainly(numbers, "f32", to).overflows, to).toBe(overflows);
    }
  });
});

test("values out of range for blocks are rejected at any position", async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -458529])
    for (const at of [0, 5000, 40_959]) {
      const numbers = new Float32Array(40_960);
      numbers[at] = bad;
      for (const to of written)
        await expectError(
          () => cast(bytesOf(numbers), "f32", to),
          "NUMERICAL",
          /quantize: expected magnitudes of at most/,
        );
    }
});

test("sources and targets may start at any offset", async () => {
  const numbers = bytesOf(numbersOf("around zero", 20_000 * 32, 3));
  const shifted = new Uint8Array(numbers.length + 1);
  shifted.set(numbers, 1);
  const want = Buffer.from(plainly(numbers, "f32", "q8_0").bytes);
  const got = await cast(shifted.subarray(1), "f32", "q8_0");
  expect(Buffer.compare(Buffer.from(got.bytes), want)).toBe(0);

  const file = mapFile(temporaryFile(shifted));
  const tensor = Tensor.zeros(device, "q8_0", [2, 20_000 * 32]);
  const part = { data: file, offset: 1, bytes: numbers.length };
  await castOnLane(lane, part, { from: "f32", to: "q8_0" }, tensor.native, want.length);
  file.close();
  const made = Buffer.from((await tensor.read()).buffer);
  expect(made.subarray(0, want.length).every((byte) => byte === 0)).toBe(true);
  expect(Buffer.compare(made.subarray(want.length), want)).toBe(0);
  tensor.dispose();
});

test("blocks can be dequantized and copied", async () => {
  for (const from of written) {
    const blocks = new Uint8Array(plainly(bytesOf(numbersOf("positive", 256 * 70, 5)), "f32", from).bytes);
    for (const to of ["f32", "f16", "bf16"] as const) {
      const got = await cast(blocks, from, to);
      expect(Buffer.compare(Buffer.from(got.bytes), Buffer.from(plainly(blocks, from, to).bytes))).toBe(0);
    }
    expect(new Uint8Array((await cast(blocks, from, from)).bytes)).toEqual(blocks);
  }
});

test("a cast with an addend writes only the target's blocks, and is rejected for read-only types", async () => {
  for (const { name: type, elements, bytes, writable } of binding.blockTypes()) {
    const blocks = new Uint8Array((2048 / elements) * bytes);
    const beyond = 4096;
    const out = new ArrayBuffer(blocks.length + beyond);
    const made = castOnLane(lane, blocks, { from: type as Type, to: type as Type, addend: 1 }, out);
    if (!writable) await expectError(() => made, "UNSUPPORTED", /expected a type that can be written/);
    else {
      await made;
      const want = Buffer.from(plainly(blocks, type as Type, type as Type, 1).bytes);
      expect(Buffer.compare(Buffer.from(out, 0, blocks.length), want), type).toBe(0);
    }
    expect(
      new Uint8Array(out, blocks.length).every((byte) => byte === 0),
      type,
    ).toBe(true);
  }
});

test("abort signals are checked every few million elements", async () => {
  const source = new Uint8Array(9 * 2 ** 22); // three chunks
  const controller = new AbortController();
  let turns = 0;
  const watched = {
    cast: (...given: Parameters<NativeLaneHandle["cast"]>) => {
      if (++turns === 2) controller.abort();
      return lane.cast(...given);
    },
  } as NativeLaneHandle;
  const out = new ArrayBuffer(source.length * 2);
  const how = { from: "bf16", to: "f32", signal: controller.signal } as const;
  await expectError(() => castOnLane(watched, source, how, out), "ABORTED", /aborted/);
  expect(turns).toBe(2);
});

test("invalid arguments are rejected before anything is written", async () => {
  const { f32, q8_0, q3_k, i32 } = DTYPES;
  const source = new Uint8Array(4096);
  const out = new ArrayBuffer(4096);
  const wrong = (given: Parameters<NativeLaneHandle["cast"]>, message: RegExp, code = "INVALID_ARGUMENT" as const) =>
    expectError(async () => lane.cast(...given), code, message);
  await wrong(
    [source, 0, f32, q8_0, 0, 2048, out, 0],
    /cast: source: expected a range within 4096 bytes, got 8192 bytes at 0/,
  );
  await wrong(
    [source, 4, f32, f32, 0, 1024, out, 0],
    /cast: source: expected a range within 4096 bytes, got 4096 bytes at 4/,
  );
  await wrong(
    [source, 0, f32, f32, 0, 1024, out, 4],
    /cast: target: expected a range within 4096 bytes, got 4096 bytes at 4/,
  );
  await wrong([source, 0, f32, f32, 0, 512, out, 2], /at: expected a multiple of 4/);
  await wrong([source, 0, f32, q8_0, 0, 33, out, 0], /cast: target: expected a multiple of 32 elements/);
  await wrong([source, 0, i32, f32, 0, 32, out, 0], /cast: from: expected the number of a floating/);
  await wrong([source, 0, f32, f32, 0, -1, out, 0], /count: expected an integer/);
  await wrong([{} as never, 0, f32, f32, 0, 1, out, 0], /file: expected a MappedFile/);
  await wrong([source, 0, f32, f32, 0, 1, {} as never, 0], /target: expected a NativeTensor/);
  await wrong([source, 0, f32, q3_k, 0, 256, out, 0], /expected a type that can be written/, "UNSUPPORTED" as never);
  expect(new Uint8Array(out).every((byte) => byte === 0)).toBe(true);

  const path = temporaryFile(source);
  const file = mapFile(path);
  const mapped = Tensor.mapped(device, "f32", [1024], file, 0);
  await wrong([source, 0, f32, f32, 0, 1, mapped.native, 0], /cast: expected a writable tensor/);
  await wrong([file, 4000, f32, f32, 0, 100, out, 0], /expected a range within 4096 bytes/);
  truncateSync(path, 100);
  await wrong([file, 0, f32, f32, 0, 1024, out, 0], /truncated/, "IO" as never);
  mapped.dispose();
  file.close();
});
