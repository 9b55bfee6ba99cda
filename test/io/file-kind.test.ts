// Errors for files whose content does not match their name, or that are truncated.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import { openSafetensors } from "../../lib/formats/safetensors/safetensors.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError, temporaryFile, temporaryFolder } from "../formats/helpers.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const OTHER: [string, string | Uint8Array, RegExp][] = [
  ["a Markdown text", "# Notes\nnothing here", /got a text that begins with "# Notes"$/],
  ["an HTML page", "<!DOCTYPE html><html>…</html>", /got a text that begins with "<!DOCTYPE html>/],
  ["JSON", '{"a": [1, 2]}', /got a text that begins with "\{\\"a\\": \[1, 2\]\}"$/],
  [
    "a Git LFS pointer",
    "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 12345678\n",
    /got a Git LFS pointer instead of the file/,
  ],
  ["numbers", Uint8Array.from({ length: 64 }, (_, i) => 255 - i), /got bytes that begin with ff fe fd fc fb fa f9 f8$/],
  ["zeros", new Uint8Array(100), /got bytes that begin with 00 00/],
  [
    "a PyTorch zip archive",
    Buffer.from("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00", "latin1"),
    /got bytes that begin with 50 4b 03 04/,
  ],
  ["a brace at byte 8", "abcdefgh{aaaa", /got a text that begins with "abcdefgh\{aaaa"$/],
  ["nothing", new Uint8Array(), /got an empty file$/],
];

describe("a file with the wrong type for its name", () => {
  test.each(OTHER)("is reported with its actual type: %s", async (_name, bytes, got) => {
    const named = { "x.gguf": "a GGUF file", "x.safetensors": "a safetensors file", x: "a GGUF or safetensors file" };
    for (const [name, kind] of Object.entries(named)) {
      const path = temporaryFile(bytes, name);
      const message = new RegExp(`${name}: not ${kind}: ${got.source}`);
      await expectError(() => openWeights(path), "INVALID_FILE", message);
      await expectError(() => openModelFiles(path), "INVALID_FILE", message);
      if (name === "x.gguf") await expectError(() => Tokenizer.load(path), "INVALID_FILE", message);
    }
    await expectError(() => openGguf(temporaryFile(bytes)), "INVALID_FILE", /not a GGUF file/);
    await expectError(() => openSafetensors(temporaryFile(bytes)), "INVALID_FILE", /not a safetensors file|header/);
  });
});

describe("a truncated file", () => {
  const whole = temporaryFolder();
  beforeAll(async () => {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    await model.save(whole);
    await convertModel(whole, join(whole, "x.gguf"));
  });

  test.each(["x.gguf", "model.safetensors"])(
    "is reported with its actual and expected length: %s, truncated at any byte",
    async (name) => {
      const bytes = readFileSync(join(whole, name));
      const { entries, file } =
        name === "x.gguf" ? await openGguf(join(whole, name)) : openSafetensors(join(whole, name));
      file.close();
      const data = Math.min(...[...entries.values()].map(({ offset }) => offset));
      const end = Math.max(...[...entries.values()].map((entry) => entry.offset + entry.bytes));
      for (let length = 4; length < end; length += length < data ? 97 : 4099) {
        const path = temporaryFile(bytes.subarray(0, length), name);
        const found = await openWeights(path).catch((error: Error) => error);
        const said = /: the file ends at byte (\d+) of (at least )?(\d+)(, within .+)?$/.exec((found as Error).message);
        expect(said, `${length} bytes: ${(found as Error).message}`).not.toBeNull();
        const [, got, least, needed] = said!;
        expect(Number(got)).toBe(length);
        if (length >= data) expect({ least, needed: Number(needed) }).toEqual({ least: undefined, needed: end });
        else {
          expect(Number(needed)).toBeGreaterThan(length);
          expect(Number(needed)).toBeLessThanOrEqual(bytes.length);
        }
      }
    },
  );
});

test("a missing path is rejected by the reader of weights", async () => {
  for (const path of ["./models/llama", "/models/llama", "llama", `${temporaryFolder()}/llama`])
    await expectError(() => openWeights(path), "NOT_FOUND", /cannot be opened: no such file or folder$/);
});
