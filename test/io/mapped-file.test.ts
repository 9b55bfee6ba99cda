import { execFileSync } from "node:child_process";
import { renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import { castBytes } from "../../lib/formats/native-cast.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { expectError, temporaryFile, temporaryFolder } from "../formats/helpers.ts";

describe("mapFile", () => {
  test("reads ranges within the file only", async () => {
    const file = mapFile(temporaryFile("0123456789"));
    expect(file.size).toBe(10);
    expect(Buffer.from(file.bytes(3, 4)).toString()).toBe("3456");
    expect(file.bytes(10, 0).byteLength).toBe(0);
    await expectError(() => file.bytes(8, 3), "INVALID_ARGUMENT", /range within 10 bytes, got 3 bytes at 8/);
    await expectError(() => file.bytes(11, 0), "INVALID_ARGUMENT", /within 10 bytes/);
    await expectError(
      () => file.bytes(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
      "INVALID_ARGUMENT",
      /within 10/,
    );
    for (const bad of [-1, 0.5, Number.NaN, 2 ** 60, "3", undefined] as number[]) {
      await expectError(
        () => file.bytes(bad, 1),
        "INVALID_ARGUMENT",
        /offset: expected an integer from 0 to 9007199254740991/,
      );
      await expectError(
        () => file.bytes(0, bad),
        "INVALID_ARGUMENT",
        /length: expected an integer from 0 to 9007199254740991/,
      );
    }
    file.close();
    file.close();
    await expectError(() => file.bytes(0, 1), "DISPOSED", /after close/);
    await expectError(() => file.size, "DISPOSED", /after close/);
  });

  test("supports an empty file", () => {
    const file = mapFile(temporaryFile(""));
    expect(file.size).toBe(0);
    expect(file.bytes(0, 0).byteLength).toBe(0);
    file.close();
  });

  test("rejects missing files, folders, pipes and empty names", async () => {
    const folder = temporaryFolder();
    await expectError(() => mapFile(join(folder, "none")), "NOT_FOUND", /cannot be opened/);
    await expectError(() => mapFile(folder), "INVALID_FILE", /got a folder/);
    await expectError(() => mapFile(""), "INVALID_ARGUMENT", /path: expected a file name/);
    if (process.platform === "linux") {
      const pipe = join(folder, "pipe");
      execFileSync("mkfifo", [pipe]);
      await expectError(() => mapFile(pipe), "INVALID_FILE", /got a device/);
    }
  });

  test("reports a file that shrinks, and keeps reading one that is replaced by rename", async () => {
    const path = temporaryFile(Buffer.alloc(100_000, 7));
    const file = mapFile(path);
    const replacement = temporaryFile("new");
    renameSync(replacement, path);
    expect(new Uint8Array(file.bytes(99_999, 1))[0]).toBe(7);
    file.check();
    file.close();

    const other = temporaryFile(Buffer.alloc(100_000, 7));
    const shrinking = mapFile(other);
    truncateSync(other, 10);
    await expectError(() => shrinking.bytes(50_000, 10), "IO", /expected 100000 bytes, got a file truncated to 10$/);
    await expectError(() => shrinking.check(), "IO", /truncated to 10$/);
    expect(new Uint8Array(shrinking.bytes(0, 10))).toEqual(new Uint8Array(10).fill(7));
    writeFileSync(other, Buffer.alloc(100_000));
    shrinking.check();
    shrinking.close();
  });

  test("throws if a method is called on another object", () => {
    const prototype = binding.MappedFile.prototype;
    expect(() => prototype.bytes.call({} as never, 0, 0)).toThrow();
    expect(() => prototype.close.call(Object.create(prototype))).toThrow();
    expect(() => prototype.check.call(null as never)).toThrow();
  });

  test("reads beyond 4 GiB of a sparse file", () => {
    const path = temporaryFile("start");
    const at = 5 * 2 ** 30;
    truncateSync(path, at + 3);
    const file = mapFile(path);
    expect(file.size).toBe(at + 3);
    expect(new Uint8Array(file.bytes(at, 3))).toEqual(new Uint8Array(3));
    file.close();
  });
});

describe("castBytes", () => {
  const bits = (array: Uint16Array | Float32Array) => new Uint8Array(array.buffer);

  test("rounds f32 to f16 to nearest even, with subnormals, infinities and NaN", () => {
    const from = Float32Array.of(
      1,
      -0,
      65504,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      2 ** -24,
      2 ** -25,
      -(2 ** -14),
      Infinity,
      Number.NaN,
    );
    const to = new Uint16Array(castBytes(bits(from), "f32", "f16", "t").buffer);
    expect([...to.subarray(0, 9)]).toEqual([0x3c00, 0x8000, 0x7bff, 0x3c00, 0x3c02, 1, 0, 0x8400, 0x7c00]);
    expect(to[9]! & 0x7fff).toBeGreaterThan(0x7c00);
  });

  test("round-trips every f16 except NaN through f32", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((value) => (value & 0x7fff) <= 0x7c00);
    const wide = castBytes(bits(all), "f16", "f32", "t");
    expect(Buffer.compare(castBytes(wide, "f32", "f16", "t"), bits(all))).toBe(0);
  });

  test("rejects values that overflow f16, and does not count infinities among them", async () => {
    const from = bits(Float32Array.of(65520, -1e30, Infinity));
    await expectError(
      () => castBytes(from, "f32", "f16", "w"),
      "NUMERICAL",
      /w: expected values within the range of f16, got 2/,
    );
    expect(castBytes(from, "f32", "bf16", "w").length).toBe(6);
  });

  test("adds an addend, and rejects partial elements", async () => {
    const one = castBytes(bits(Float32Array.of(1.5)), "f32", "f32", "t", -1);
    expect(new Float32Array(one.buffer)[0]).toBe(0.5);
    await expectError(
      () => castBytes(new Uint8Array(3), "f32", "f16", "t"),
      "INVALID_ARGUMENT",
      /multiple of 4 bytes, got 3/,
    );
    await expectError(() => binding.castElements([] as never, 0, 1, 0), "INVALID_ARGUMENT", /Uint8Array/);
    await expectError(
      () => binding.castElements(new Uint8Array(4), 99, 1, 0),
      "INVALID_ARGUMENT",
      /castElements: from/,
    );
  });
});
