import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { HeddleErrorCode } from "../../lib/core/errors.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { openSafetensors } from "../../lib/formats/safetensors/safetensors.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { expectError, f32, safetensors, temporaryFile, temporaryFolder, u64 } from "./helpers.ts";
import { saveWeights, writeSafetensors } from "./write-weights.ts";

const one = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
const nested = (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;

describe("reading safetensors", () => {
  test("returns tensors, dtypes and metadata", () => {
    const header = {
      __metadata__: { format: "pt", note: 'é "quoted" \\ \u0001' },
      a: { dtype: "F32", shape: [1, 2], data_offsets: [0, 8] },
      "b\n": { dtype: "F8_E5M2", shape: [3], data_offsets: [8, 11] },
      empty: { dtype: "BF16", shape: [0, 4], data_offsets: [11, 11] },
      scalar: { dtype: "U8", shape: [], data_offsets: [11, 12] },
    };
    const opened = openSafetensors(temporaryFile(safetensors(header, Buffer.concat([f32(1.5, -2), Buffer.alloc(4)]))));
    expect([...opened.entries.keys()]).toEqual(["a", "b\n", "empty", "scalar"]);
    expect(Object.fromEntries(opened.metadata)).toEqual(header.__metadata__);
    const a = opened.entries.get("a")!;
    expect([...new Float32Array(opened.file.bytes(a.offset, a.bytes))]).toEqual([1.5, -2]);
    expect(opened.entries.get("b\n")).toMatchObject({ storedDtype: "F8_E5M2", bytes: 3 });
    expect(opened.entries.get("b\n")!.dtype).toBeUndefined();
    opened.file.close();
  });

  test("lists tensors of unsupported dtypes, and rejects them only when read", async () => {
    const weights = await openWeights(
      temporaryFile(safetensors({ q: { dtype: "F8_E5M2", shape: [2], data_offsets: [0, 2] } }, Buffer.alloc(2))),
    );
    expect(weights.info("q").storedDtype).toBe("F8_E5M2");
    await expectError(() => weights.tensor("q"), "UNSUPPORTED", /"q": F8_E5M2/);
    await expectError(() => weights.tensor("qq"), "NOT_FOUND", /"qq" is missing \(nearest: "q"\)/);
    weights.close();
  });
});

const bad: [string, Buffer, RegExp][] = [
  ["empty file", Buffer.alloc(0), /not a safetensors file: got an empty file/],
  ["seven bytes", Buffer.alloc(7), /ends at byte 7 of at least 8, within the header's length$/],
  ["header length zero", u64(0), /header: expected JSON/],
  [
    "header longer than the file",
    safetensors({ a: one }, f32(1, 2), 1000n),
    /ends at byte \d+ of at least 1008, within the header$/,
  ],
  ["header over 100 MB", safetensors("{}", Buffer.alloc(0), 100_000_001n), /at most 100000000 bytes, got 100000001/],
  ["header length 2^64 - 1", safetensors("{}", Buffer.alloc(0), 2n ** 64n - 1n), /got 18446744073709551615/],
  ["header is not JSON", safetensors("{]"), /expected JSON/],
  ["header is an array", safetensors("[]"), /not a safetensors file: expected a header that begins with \{/],
  ["header is a string", safetensors('"x"'), /not a safetensors file/],
  ["truncated header", safetensors('{"a":{"dtype":"F32"'), /expected JSON/],
  ["bytes after the header's JSON object", safetensors("{}{}"), /unexpected bytes/],
  ["arrays nested 5000 deep", safetensors(nested(5000)), /nested more than 8 deep/],
  [
    "duplicate tensor",
    safetensors(`{"a":${JSON.stringify(one)},"a":${JSON.stringify(one)}}`, f32(1, 2)),
    /duplicate key "a"/,
  ],
  [
    "duplicate tensor after unescaping",
    safetensors(`{"a":${JSON.stringify(one)},"\\u0061":{}}`, f32(1, 2)),
    /duplicate key "a"/,
  ],
  [
    "duplicate field",
    safetensors('{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}'),
    /duplicate key "dtype"/,
  ],
  ["unknown field", safetensors({ a: { ...one, extra: 1 } }, f32(1, 2)), /unknown key "extra"/],
  ["unknown dtype", safetensors({ a: { ...one, dtype: "F31" } }, f32(1, 2)), /dtype: expected one of F32.*got "F31"/],
  [
    "dtype named like an Object method",
    safetensors({ a: { ...one, dtype: "constructor" } }, f32(1, 2)),
    /dtype: expected one of/,
  ],
  ["dtype missing", safetensors({ a: { shape: [2], data_offsets: [0, 8] } }, f32(1, 2)), /dtype: expected one of/],
  ["shape missing", safetensors({ a: { dtype: "F32", data_offsets: [0, 8] } }, f32(1, 2)), /shape: expected/],
  ["negative dimension", safetensors({ a: { ...one, shape: [-2] } }, f32(1, 2)), /shape: expected/],
  ["fractional dimension", safetensors({ a: { ...one, shape: [1.5] } }, f32(1, 2)), /shape: expected/],
  ["dimension as a string", safetensors({ a: { ...one, shape: ["2"] } }, f32(1, 2)), /shape: expected/],
  ["rank 17", safetensors({ a: { ...one, shape: Array(17).fill(1) } }, f32(1, 2)), /shape: expected at most 16/],
  [
    "overflowing dimensions",
    safetensors({ a: { ...one, shape: [2 ** 40, 2 ** 40, 0] } }, f32(1, 2)),
    /expected NaN bytes/,
  ],
  [
    "shape larger than the bytes",
    safetensors({ a: { ...one, shape: [3] } }, f32(1, 2)),
    /expected 12 bytes for F32 \[3\], got 8/,
  ],
  ["offsets reversed", safetensors({ a: { ...one, data_offsets: [8, 0] } }, f32(1, 2)), /begin ≤ end/],
  ["one offset", safetensors({ a: { ...one, data_offsets: [0] } }, f32(1, 2)), /two whole numbers/],
  [
    "offset beyond the file",
    safetensors({ a: { ...one, data_offsets: [0, 16], shape: [4] } }, f32(1, 2)),
    /ends at byte \d+ of \d+$/,
  ],
  [
    "offset 2^63",
    safetensors(
      '{"a":{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,9223372036854775808]}}',
      f32(1, 2),
    ),
    /two whole numbers/,
  ],
  ["gap before the first tensor", safetensors({ a: { ...one, data_offsets: [4, 12] } }, f32(1, 2, 3)), /begin at 0/],
  ["overlap", safetensors({ a: one, b: { ...one, data_offsets: [4, 12] } }, f32(1, 2, 3)), /begin at 8/],
  ["two tensors at the same offsets", safetensors({ a: one, b: one }, f32(1, 2)), /begin at 8/],
  ["bytes after the last tensor", safetensors({ a: one }, f32(1, 2, 3)), /end with the last tensor/],
  [
    "NaN as a dimension",
    safetensors('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', f32(1, 2)),
    /expected JSON/,
  ],
  [
    "infinity as a dimension",
    safetensors('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}', f32(1, 2)),
    /shape: expected/,
  ],
  [
    "a dimension of a thousand digits",
    safetensors(`{"a":{"dtype":"F32","shape":[${"9".repeat(1000)}],"data_offsets":[0,8]}}`, f32(1, 2)),
    /malformed number|expected JSON/,
  ],
  [
    "the same name twice, with an escape and in UTF-8",
    safetensors(`{"ü":${JSON.stringify(one)},"\\u00fc":${JSON.stringify(one)}}`, f32(1, 2)),
    /duplicate key "ü"/,
  ],
  ["a name that ends within an escape", safetensors('{"\\u00'), /expected JSON/],
  ["a byte-order mark before the header", safetensors("\ufeff{}"), /header that begins with \{/],
  ["a trailing comma", safetensors(`{"a":${JSON.stringify(one)},}`, f32(1, 2)), /expected JSON/],
  [
    "a shape of one and a half bytes",
    safetensors({ a: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, Buffer.alloc(1)),
    /expected 1\.5 bytes/,
  ],
  [
    "metadata values that are not strings",
    safetensors({ __metadata__: { a: 1 } }),
    /__metadata__\."a": expected a string/,
  ],
  ["metadata is an array", safetensors({ __metadata__: [] }), /__metadata__: expected an object/],
  ["tensor entry is a number", safetensors({ a: 1 }), /tensor "a": expected an object/],
  ["a control character in a name", safetensors('{"a\u0000":1}'), /control character/],
  [
    "a number with a leading zero",
    safetensors('{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}', f32(1, 2)),
    /malformed number/,
  ],
];

describe("invalid safetensors files", () => {
  test.each(bad)("are rejected: %s", async (_name, bytes, message) => {
    await expectError(() => openSafetensors(temporaryFile(bytes)), "INVALID_FILE", message);
  });

  test.each([
    ["with 90 MB of numbers", () => `{"a":[${"1,".repeat(45e6)}1]}`, /more than 2097152 values/],
    ["with a string of 90 MB", () => `{"${"a".repeat(90e6)}":1}`, /string of more than 8388608 bytes/],
    [
      "with two million keys",
      () => `{${Array.from({ length: 2e6 }, (_, i) => `"${i}":0`).join(",")}}`,
      /object of more than 131073 keys/,
    ],
  ])("are rejected within a second if they have a header %s", async (_name, json, message) => {
    const path = temporaryFile(safetensors(json()));
    await expectError(() => openSafetensors(path), "INVALID_FILE", message);
    rmSync(path);
  });

  test("are rejected if truncated at any byte", () => {
    const whole = safetensors({ a: one, b: { dtype: "U8", shape: [3], data_offsets: [8, 11] } }, Buffer.alloc(11, 7));
    openSafetensors(temporaryFile(whole)).file.close();
    for (let length = 0; length < whole.length; length++) {
      const code = codeOf(() => openSafetensors(temporaryFile(whole.subarray(0, length))));
      expect(code, `${length} of ${whole.length} bytes`).toBe("INVALID_FILE");
    }
  });

  test("safetensors files with one changed byte can be read or give INVALID_FILE", () => {
    const whole = safetensors({ a: one, b: { dtype: "U8", shape: [3], data_offsets: [8, 11] } }, Buffer.alloc(11, 7));
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const bytes = Buffer.from(whole);
        bytes[at] = byte;
        const code = codeOf(() => openSafetensors(temporaryFile(bytes)).file.close());
        expect([undefined, "INVALID_FILE"]).toContain(code);
      }),
      { numRuns: 500 },
    );
  });

  test("are rejected if they are a folder, are missing or have a NUL byte in their path", async () => {
    await expectError(() => openSafetensors(temporaryFolder()), "INVALID_FILE", /regular file, got a folder/);
    await expectError(() => openSafetensors(join(temporaryFolder(), "none")), "NOT_FOUND", /none: cannot be opened/);
    await expectError(() => openSafetensors("a\0b"), "INVALID_ARGUMENT", /path/);
  });
});

function codeOf(action: () => unknown): HeddleErrorCode | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof HeddleError) return error.code;
    throw error;
  }
  return undefined;
}

describe("shards", () => {
  function folder(
    map: unknown,
    shards: Record<string, Buffer> = { "model-1.safetensors": safetensors({ a: one }, f32(1, 2)) },
  ) {
    const path = temporaryFolder();
    for (const [name, bytes] of Object.entries(shards)) writeFileSync(join(path, name), bytes);
    writeFileSync(join(path, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
    return path;
  }

  test("are opened as one model, also through symbolic links", async () => {
    const path = folder({ a: "model-1.safetensors", b: "link.safetensors" });
    const other = temporaryFile(safetensors({ b: one }, f32(3, 4)));
    symlinkSync(other, join(path, "link.safetensors"));
    const weights = await openWeights(path);
    expect(weights.names()).toEqual(["a", "b"]);
    const b = weights.tensor("b");
    expect([...new Float32Array(b.file.bytes(b.offset, b.bytes))]).toEqual([3, 4]);
    weights.close();
    await expectError(() => b.file.bytes(0, 1), "DISPOSED", /close/);
  });

  test.each([
    ["a parent folder", { a: "../model-1.safetensors" }, /plain file name, got "\.\.\/model/],
    ["an absolute path", { a: "/etc/passwd" }, /plain file name/],
    ["a backslash", { a: "..\\x" }, /plain file name/],
    ["two dots", { a: ".." }, /plain file name/],
    ["a number", { a: 1 }, /plain file name, got number/],
    ["an empty name", { a: "" }, /plain file name/],
    ["a tensor that its shard lacks", { z: "model-1.safetensors" }, /"z": expected in model-1/],
    ["a missing weight map", null, /weight_map: expected an object/],
  ])("are rejected with an invalid index: %s", async (_name, map, message) => {
    const path = folder(map);
    await expectError(() => openWeights(path), "INVALID_FILE", message);
  });

  test("are rejected if one is missing", async () => {
    const path = folder({ a: "model-2.safetensors" });
    await expectError(() => openWeights(path), "NOT_FOUND", /model-2/);
  });

  test("are rejected if the folder has pytorch_model.bin in their place", async () => {
    const path = temporaryFolder();
    writeFileSync(join(path, "pytorch_model.bin"), "x");
    await expectError(() => openWeights(path), "UNSUPPORTED", /pytorch_model.bin/);
  });
});

const dtypes = { f32: 4, f16: 2, bf16: 2, i32: 4, i64: 8, u8: 1 } as const;
const arbitraryTensors = fc
  .uniqueArray(
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 20, unit: "binary" }),
      dtype: fc.constantFrom(...(Object.keys(dtypes) as (keyof typeof dtypes)[])),
      shape: fc.array(fc.nat(5), { maxLength: 4 }),
      fill: fc.nat(255),
    }),
    { selector: ({ name }) => name, maxLength: 12 },
  )
  .map((list): TensorData[] =>
    list.map(({ name, dtype, shape, fill }) => {
      const bytes = new Uint8Array(shape.reduce((a, b) => a * b, 1) * dtypes[dtype]).map((_, i) => (i + fill) & 255);
      return { name, dtype, shape, bytes };
    }),
  );

describe("writing safetensors", () => {
  test("round-trips tensors with aligned data", async () => {
    const path = join(temporaryFolder(), "model.safetensors");
    await fc.assert(
      fc.asyncProperty(arbitraryTensors, fc.dictionary(fc.string(), fc.string()), async (tensors, metadata) => {
        await writeSafetensors(path, tensors, { metadata });
        const opened = openSafetensors(path);
        expect(opened.metadata).toEqual(new Map(Object.entries(metadata)));
        expect([...opened.entries.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort());
        for (const { name, dtype, shape, bytes } of tensors) {
          const entry = opened.entries.get(name)!;
          expect(entry).toMatchObject({ dtype, shape });
          expect(entry.offset % dtypes[dtype as keyof typeof dtypes]).toBe(0);
          expect(new Uint8Array(opened.file.bytes(entry.offset, entry.bytes))).toEqual(bytes);
        }
        opened.file.close();
      }),
      { numRuns: 100 },
    );
    expect(readdirSync(join(path, ".."))).toEqual(["model.safetensors"]);
  });

  test("accepts bytes asynchronously and in pieces", async () => {
    const path = join(temporaryFolder(), "x.safetensors");
    async function* pieces() {
      for (let i = 0; i < 4; i++) yield new Uint8Array(f32(i));
    }
    await writeSafetensors(path, [
      { name: "a", dtype: "f32", shape: [4], bytes: pieces },
      { name: "b", dtype: "u8", shape: [2], bytes: async () => new Uint8Array([7, 8]) },
    ]);
    const { file, entries } = openSafetensors(path);
    const a = entries.get("a")!;
    expect([...new Float32Array(file.bytes(a.offset, a.bytes))]).toEqual([0, 1, 2, 3]);
    const b = entries.get("b")!;
    expect(b).toMatchObject({ storedDtype: "U8", shape: [2] });
    expect([...new Uint8Array(file.bytes(b.offset, b.bytes))]).toEqual([7, 8]);
    file.close();
  });

  test("keeps the old file and leaves no temp files if a write fails", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "m.safetensors");
    await writeSafetensors(path, [{ name: "a", dtype: "u8", shape: [1], bytes: new Uint8Array([1]) }]);
    const short = { name: "a", dtype: "f32", shape: [2], bytes: new Uint8Array(4) } as const;
    await expectError(
      () => writeSafetensors(path, [short]),
      "INVALID_ARGUMENT",
      /tensor a: bytes: expected 8 bytes, got 4/,
    );
    const twice = { name: "a", dtype: "u8", shape: [0], bytes: new Uint8Array() } as const;
    await expectError(() => writeSafetensors(path, [twice, twice]), "INVALID_ARGUMENT", /each name once/);
    const aborted = { signal: AbortSignal.abort() };
    await expectError(() => writeSafetensors(path, [twice], aborted), "ABORTED", /aborted/);
    expect(readdirSync(folder)).toEqual(["m.safetensors"]);
    const { entries, file } = openSafetensors(path);
    expect(entries.get("a")!.bytes).toBe(1);
    file.close();
  });

  test("splits weights above the size limit into shards, which a later single file replaces", async () => {
    const folder = temporaryFolder();
    const tensor = (name: string, size: number): TensorData => ({
      name,
      dtype: "u8",
      shape: [size],
      bytes: new Uint8Array(size).fill(size),
    });
    const tensors = [tensor("a", 60), tensor("b", 30), tensor("c", 20), tensor("d", 200)];
    const progress: number[] = [];
    const saved = await saveWeights(folder, tensors, {
      maxShardBytes: 100,
      onProgress: ({ bytes }) => progress.push(bytes),
    });
    expect(saved.files).toEqual([
      "model-00001-of-00003.safetensors",
      "model-00002-of-00003.safetensors",
      "model-00003-of-00003.safetensors",
      "model.safetensors.index.json",
    ]);
    expect(progress).toEqual([60, 90, 110, 310]);
    const weights = await openWeights(folder);
    expect(weights.names()).toEqual(["a", "b", "c", "d"]);
    const d = weights.tensor("d");
    expect(new Uint8Array(d.file.bytes(d.offset, d.bytes))).toEqual(new Uint8Array(200).fill(200));
    weights.close();

    mkdirSync(join(folder, "other"));
    await saveWeights(folder, tensors);
    expect(readdirSync(folder).sort()).toEqual(["model.safetensors", "other"]);
  });
});
