// The compiled vocabulary next to a tokenizer.json gives the same tokenizer, and is rebuilt if it does not match.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import { cachePath } from "../../../lib/tokenizer/files/vocabulary-cache.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { published } from "../files/published.ts";
import { generator, randomText } from "../generated.ts";
import { byteLevelJson, sentencePieceJson } from "../samples.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-cache-"));
afterAll(() => rmSync(folder, { recursive: true }));
let made = 0;
const place = (json: unknown) => {
  const path = join(folder, `${made++}.json`);
  writeFileSync(path, typeof json === "string" ? json : JSON.stringify(json));
  return path;
};
const merges: [string, string][] = [
  ["a", "b"],
  ["ab", "c"],
  ["Ġ", "ab"],
  ["Ã", "©"],
];
const sample = byteLevelJson(merges);

describe("vocabulary cache", () => {
  it("is opt-in", async () => {
    const path = place(sample);
    await Tokenizer.load(path);
    expect(existsSync(cachePath(path))).toBe(false);
  });

  it.each([
    ["a byte-level vocabulary", sample],
    [
      "a SentencePiece vocabulary",
      sentencePieceJson(
        ["▁", "a", "b", "é", "ab", "▁ab"],
        [
          ["a", "b"],
          ["▁", "ab"],
        ],
      ),
    ],
  ])("gives the same tokenizer as the file: %s", async (_, json) => {
    const path = place(json);
    const first = await Tokenizer.load(path, { cache: true });
    const written = statSync(cachePath(path));
    const again = await Tokenizer.load(path, { cache: true });
    expect(statSync(cachePath(path)).mtimeMs).toBe(written.mtimeMs); // not rewritten
    const random = generator(5);
    for (let i = 0; i < 300; i++) {
      const text = randomText(random);
      expect(again.encode(text)).toEqual(first.encode(text));
      expect(again.decode(again.encode(text))).toBe(first.decode(first.encode(text)));
    }
    expect(again.files()).toEqual(first.files());
    expect(again.tokenToId("ab")).toBe(first.tokenToId("ab")!);
    expect(again.idToToken(3)).toBe(first.idToToken(3));
  });

  it("is rebuilt if the file's content changes, even with an unchanged date", async () => {
    const path = place(sample);
    await Tokenizer.load(path, { cache: true });
    const before = readFileSync(cachePath(path));
    writeFileSync(path, JSON.stringify(byteLevelJson([["b", "c"]])));
    utimesSync(path, statSync(cachePath(path)).atime, statSync(cachePath(path)).mtime);
    const changed = await Tokenizer.load(path, { cache: true });
    expect(changed.tokenToId("bc")).toBeDefined();
    expect(changed.tokenToId("ab")).toBeUndefined();
    expect(readFileSync(cachePath(path)).equals(before)).toBe(false);
  });

  it("is ignored if a byte is missing or changed", async () => {
    const path = place(sample);
    await Tokenizer.load(path, { cache: true });
    const source = readFileSync(path);
    const whole = readFileSync(cachePath(path));
    expect(binding.readCompiledVocabulary(whole, source)).toBeDefined();
    for (let size = 0; size < whole.length; size++) {
      expect(binding.readCompiledVocabulary(whole.subarray(0, size), source)).toBeUndefined();
    }
    for (let at = 0; at < whole.length; at++) {
      const other = Buffer.from(whole);
      other[at]! ^= 1 << (at % 8);
      expect(binding.readCompiledVocabulary(other, source)).toBeUndefined();
    }
    expect(binding.readCompiledVocabulary(Buffer.concat([whole, Buffer.of(0)]), source)).toBeUndefined();
    expect(binding.readCompiledVocabulary(whole, source.subarray(1))).toBeUndefined();
  });

  it("is rewritten if it is invalid, and loading works without it in a read-only folder", async () => {
    const path = place(sample);
    writeFileSync(cachePath(path), "rubbish");
    const loaded = await Tokenizer.load(path, { cache: true });
    expect(loaded.tokenToId("abc")).toBeDefined();
    expect(readFileSync(cachePath(path)).subarray(0, 8).toString()).toBe("heddle.v");
    rmSync(cachePath(path));
    chmodSync(folder, 0o500);
    try {
      await expect(Tokenizer.load(path, { cache: true })).resolves.toBeInstanceOf(Tokenizer);
    } finally {
      chmodSync(folder, 0o700);
    }
  });

  it("is ignored if it is random bytes", () => {
    const source = Buffer.from(JSON.stringify(sample));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(binding.readCompiledVocabulary(bytes, source)).toBeUndefined();
      }),
    );
  });

  it("is not written for a WordLevel model, which has no compiled form", async () => {
    const path = place({
      ...sample,
      model: { type: "WordLevel", vocab: { a: 0, "[UNK]": 1 }, unk_token: "[UNK]" },
      pre_tokenizer: { type: "Whitespace" },
    });
    await Tokenizer.load(path, { cache: true });
    expect(existsSync(cachePath(path))).toBe(false);
  });

  for (const { name, path } of published) {
    it.skipIf(path === undefined)(`gives the same tokenizer as the file: ${name}`, async () => {
      const copy = place(readFileSync(path!, "utf8"));
      const first = await Tokenizer.load(copy, { cache: true });
      const source = readFileSync(copy);
      expect(binding.readCompiledVocabulary(readFileSync(cachePath(copy)), source)).toBeDefined();
      const again = await Tokenizer.load(copy, { cache: true });
      const random = generator(11);
      for (let i = 0; i < 2000; i++) {
        const text = randomText(random);
        expect(again.encode(text)).toEqual(first.encode(text));
      }
      expect(again.files()["tokenizer.json"] === first.files()["tokenizer.json"]).toBe(true);
    });
  }
});
