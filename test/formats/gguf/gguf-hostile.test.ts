import { closeSync, openSync, truncateSync, writeSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../../lib/core/errors.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import { openWeights } from "../../../lib/formats/weights.ts";
import { expectError, temporaryFile, text, u32, u64 } from "../helpers.ts";
import { array, gguf, key, tensor } from "./gguf-bytes.ts";

const data = Buffer.alloc(64);
const huge = 2n ** 64n - 1n;
const bad: [string, Buffer, RegExp][] = [
  ["empty", Buffer.alloc(0), /not a GGUF file: expected it to begin with "GGUF"/],
  ["wrong magic", gguf({ magic: "GGUG" }), /not a GGUF file: expected it to begin with "GGUF"/],
  ["magic only", Buffer.from("GGUF"), /ends at byte 4 of at least 8, within version$/],
  ["version 0", gguf({ version: 0 }), /version: expected 2 or 3, got 0/],
  ["version 4", gguf({ version: 4 }), /version: expected 2 or 3, got 4/],
  ["tensor count 2^64 - 1", gguf({ tensorCount: huge }), /tensor count: expected at most 131072/],
  ["tensor count without tensors", gguf({ tensorCount: 5 }), /ends at byte 24 of at least 32, within tensor 0: name$/],
  ["metadata count 2^63", gguf({ keyCount: 2n ** 63n }), /metadata count: expected at most 65536/],
  ["metadata count without keys", gguf({ keyCount: 5 }), /ends at byte 24 of at least 32, within key 0$/],
  ["key length 2^64 - 1", gguf({ keyCount: 1, keys: [u64(huge)] }), /key 0: expected a string of at most 65535/],
  [
    "key longer than the file",
    gguf({ keyCount: 1, keys: [u64(60_000), Buffer.from("abc")] }),
    /ends at byte 35 of at least 60032, within key 0$/,
  ],
  ["line break in a key", gguf({ keys: [key("a\nb", 99, u32(1))] }), /: "a\\nb": type: expected 0 to 12, got 99$/],
  ["duplicate key", gguf({ keys: [key("a", 4, u32(1)), key("a", 4, u32(1))] }), /duplicate key "a"/],
  ["value type 13", gguf({ keys: [key("a", 13)] }), /a: type: expected 0 to 12, got 13/],
  ["value type 2^32 - 1", gguf({ keys: [key("a", 4294967295)] }), /a: type: expected/],
  ["truncated value", gguf({ keys: [key("a", 10, Buffer.alloc(3))] }), /ends at byte 40 of at least 45, within a$/],
  ["boolean 2", gguf({ keys: [key("a", 7, Buffer.from([2]))] }), /expected a boolean 0 or 1, got 2/],
  ["string length 2^64 - 1", gguf({ keys: [key("a", 8, u64(huge))] }), /a: expected a string of at most/],
  ["string length 2^63", gguf({ keys: [key("a", 8, u64(2n ** 63n))] }), /a: expected a string of at most/],
  [
    "string longer than the file",
    gguf({ keys: [key("a", 8, u64(1000), Buffer.alloc(10))] }),
    /ends at byte \d+ of at least \d+, within a$/,
  ],
  ["array of type 13", gguf({ keys: [key("a", 9, array(13, 1))] }), /a: type: expected 0 to 12/],
  [
    "array length 2^64 - 1 of bytes",
    gguf({ keys: [key("a", 9, array(0, huge))] }),
    /array length: expected at most 9007199254740991/,
  ],
  [
    "array length 2^61 of u64",
    gguf({ keys: [key("a", 9, array(10, 2n ** 61n))] }),
    /array length: expected at most 9007199254740991/,
  ],
  [
    "array length 2^62 of f32",
    gguf({ keys: [key("a", 9, array(6, 2n ** 62n, data))] }),
    /array length: expected at most 9007199254740991/,
  ],
  [
    "array of more strings than the file holds",
    gguf({ keys: [key("a", 9, array(8, 9, data))] }),
    /ends at byte 113 of at least 121, within a$/,
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
  [
    "70,000,000 bytes of numbers",
    gguf({ keys: [key("a", 9, array(0, 70_000_000, Buffer.alloc(70_000_000)))] }),
    /at most 67108864 bytes of numbers/,
  ],
  ["alignment 0", gguf({ keys: [key("general.alignment", 4, u32(0))] }), /alignment: expected a power of two/],
  ["alignment 33", gguf({ keys: [key("general.alignment", 4, u32(33))] }), /alignment: expected a power of two/],
  ["alignment 2^31", gguf({ keys: [key("general.alignment", 4, u32(2 ** 31))] }), /alignment: expected a power of two/],
  ["a text as alignment", gguf({ keys: [key("general.alignment", 8, text("x"))] }), /alignment: expected a number/],
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
    /expected fewer than 2\^53 bytes/,
  ],
  [
    "dimensions that wrap to a small size",
    gguf({ tensors: [tensor("t", [2n ** 33n, 2n ** 31n, 4])], data }),
    /expected fewer than 2\^53 bytes/,
  ],
  ["tensor larger than the file", gguf({ tensors: [tensor("t", [17])], data }), /ends at byte 128 of 132$/],
  [
    "gap before the first tensor",
    gguf({ tensors: [tensor("t", [1], 0, 96)], data }),
    /"t": offset: expected 0, .*, got 96/,
  ],
  [
    "gap between tensors",
    gguf({ tensors: [tensor("a", [1]), tensor("b", [1], 0, 64)], data: Buffer.alloc(128) }),
    /"b": offset: expected 32, the padded end of the previous tensor, got 64$/,
  ],
  [
    "tensors in another order than the table",
    gguf({ tensors: [tensor("b", [1], 0, 32), tensor("a", [1])], data }),
    /"b": offset: expected 0, .*, got 32/,
  ],
  [
    "offset 2^64 - 32",
    gguf({ tensors: [tensor("t", [1], 0, 2n ** 64n - 32n)], data }),
    /offset: expected 0, .*, got 18446744073709551584$/,
  ],
  ["offset not aligned", gguf({ tensors: [tensor("t", [1], 0, 4)], data }), /offset: expected 0, .*, got 4$/],
  [
    "overlap",
    gguf({ tensors: [tensor("a", [9]), tensor("b", [1], 0, 32)], data }),
    /"b": offset: expected 64, .*, got 32$/,
  ],
  [
    "two tensors at the same offset",
    gguf({ tensors: [tensor("a", [1]), tensor("b", [1])], data }),
    /"b": offset: expected 32, .*, got 0$/,
  ],
  ["duplicate tensor", gguf({ tensors: [tensor("a", [1]), tensor("a", [1], 0, 32)], data }), /"a": expected once/],
  [
    "row not a multiple of the block",
    gguf({ tensors: [tensor("q", [33], 2)], data }),
    /rows of a multiple of 32 elements for Q4_0/,
  ],
  ["two empty keys", gguf({ keys: [key("", 4, u32(1)), key("", 4, u32(1))] }), /duplicate key ""/],
  [
    "two keys that decode to the same text",
    gguf({
      keys: [0xff, 0xfe].map((byte) => Buffer.concat([u64(1), Buffer.from([byte]), u32(4), u32(1)])),
    }),
    /duplicate key/,
  ],
  [
    "an array with a string that is longer than the file",
    gguf({ keys: [key("a", 9, array(8, 2, text("x"), u64(1000), data))] }),
    /ends at byte \d+ of at least \d+, within a$/,
  ],
  [
    "truncated nested array",
    gguf({ keys: [key("a", 9, array(9, 1, u32(4), u64(100), u32(1)))] }),
    /ends at byte \d+ of at least \d+, within a$/,
  ],
  [
    "truncated dimensions",
    gguf({ tensorCount: 1, tensors: [Buffer.concat([text("t"), u32(3), u64(1)])] }),
    /ends at byte \d+ of at least \d+, within tensor "t": dimension 1$/,
  ],
  [
    "truncated offset",
    gguf({ tensorCount: 1, tensors: [Buffer.concat([text("t"), u32(1), u64(1), u32(0), u32(0)])] }),
    /ends at byte \d+ of at least \d+, within tensor "t": offset$/,
  ],
  [
    "blocks of more than 2^53 bytes",
    gguf({ tensors: [tensor("q", [256, 2n ** 50n], 14)], data }),
    /expected fewer than 2\^53 bytes/,
  ],
  [
    "offset aligned to less than the file's alignment",
    gguf({ keys: [key("general.alignment", 4, u32(64))], tensors: [tensor("t", [1], 0, 32)], data }),
    /offset: expected 0, .*, got 32$/,
  ],
  [
    "alignment beyond the file",
    gguf({ keys: [key("general.alignment", 4, u32(1 << 20))], tensors: [tensor("t", [1])], data }),
    /ends at byte \d+ of \d+$/,
  ],
  ["alignment 2^63", gguf({ keys: [key("general.alignment", 10, u64(2n ** 63n))] }), /alignment: expected a number/],
  ["no data at all", gguf({ tensors: [tensor("t", [1])] }), /ends at byte \d+ of \d+$/],
];

describe("invalid GGUF files", () => {
  test.each(bad)("are rejected: %s", async (_name, bytes, message) => {
    const path = temporaryFile(bytes);
    await expectError(() => openGguf(path), "INVALID_FILE", message);
  });

  test("can be opened if a tensor has an unsupported type, and give UNSUPPORTED when it is read", async () => {
    const bytes = gguf({ tensors: [tensor("t", [256], 21)], data: Buffer.alloc(128) });
    const weights = await openWeights(temporaryFile(bytes));
    expect(weights.info("t").storedDtype).toBe("IQ3_S");
    const message = /"t": IQ3_S is not supported \(expected F32, F16, BF16, Q8_0, .*, IQ4_XS, MXFP4\)$/;
    await expectError(() => weights.tensor("t"), "UNSUPPORTED", message);
    weights.close();
  });

  test.each([
    ["version 1", gguf({ version: 1 }), /version: expected 2 or 3, got 1/],
    ["big endian", gguf({ version: 3 << 24 }), /big-endian/],
    ["removed type 4", gguf({ tensors: [tensor("t", [32], 4)], data }), /ggml type 4 is not known/],
    ["type 2^32 - 1", gguf({ tensors: [tensor("t", [32], 4294967295)], data }), /is not known/],
  ])("give UNSUPPORTED: %s", async (_name, bytes, message) => {
    await expectError(() => openGguf(temporaryFile(bytes)), "UNSUPPORTED", message);
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

  test("are rejected if they are sparse files with strings longer than any vocabulary", async () => {
    const [count, bytes] = [9, 64 * 1024 * 1024];
    const head = gguf({ keyCount: 1, keys: [key("a", 9, array(8, count))] });
    const path = temporaryFile(head);
    truncateSync(path, head.length + count * (8 + bytes));
    const file = openSync(path, "r+");
    for (let i = 0; i < count; i++) writeSync(file, u64(bytes), 0, 8, head.length + i * (8 + bytes));
    closeSync(file);
    await expect(openGguf(path)).rejects.toThrow(
      /a: expected at most 536870912 bytes of text in the file's head, got more/,
    );
  });

  test("are rejected if truncated at any byte", async () => {
    (await openGguf(temporaryFile(whole))).file.close();
    for (let length = 0; length < whole.length; length++) {
      let code: unknown = "opened";
      try {
        await openGguf(temporaryFile(whole.subarray(0, length)));
      } catch (error) {
        code = error instanceof HeddleError ? error.code : error;
      }
      expect(code, `${length} of ${whole.length} bytes`).toBe("INVALID_FILE");
    }
  });

  test("GGUF files with one changed byte can be read or give a HeddleError", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), async (at, byte) => {
        const bytes = Buffer.from(whole);
        bytes[at] = byte;
        try {
          (await openGguf(temporaryFile(bytes))).file.close();
        } catch (error) {
          expect(error).toBeInstanceOf(HeddleError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
