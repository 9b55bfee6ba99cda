import { closeSync, openSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { contentSample } from "../../lib/data/content-sample.ts";
import { openCorpus } from "../../lib/data/corpus.ts";
import { openMixture } from "../../lib/data/mixture.ts";
import { byteTokenizer, temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const options = { tokenizer: byteTokenizer, maxSeqLength: 8, batchSize: 2, seed: 1 };
const text = Array.from({ length: 40 }, (_, i) => `document ${i} ends`).join("\n\n");

describe("the content sample of a corpus", () => {
  it("rejects a saved position if contents differ, whatever the dates, and accepts a position without a sample", async () => {
    const path = write("corpus.txt", text);
    const state = await (async () => {
      using corpus = await openCorpus({ ...options, files: path });
      await corpus.next();
      return corpus.state();
    })();
    utimesSync(path, 1, 1);
    using same = await openCorpus({ ...options, files: path });
    same.restore(state);
    writeFileSync(path, text.replace("document 20 ends", "document 20 dies"));
    using other = await openCorpus({ ...options, files: path });
    expect(() => other.restore(state)).toThrow(
      /^state.contents: the files have the same sizes as those of the position, but other contents: expected hash \w{16}, got /,
    );
    const { contents: _, ...old } = state;
    other.restore(old);
    const mixture = { ...options, parts: [{ files: path }, { files: write("more.txt", text) }] };
    using mixed = await openMixture(mixture);
    const place = mixed.state();
    writeFileSync(path, text);
    using changed = await openMixture(mixture);
    expect(() => changed.restore(place)).toThrow(/^state.contents: /);
  });

  it("covers windows of large files, with their first and last byte, and all of small files", async () => {
    const size = 40 * 2 ** 20;
    const path = join(folder, "large.bin");
    const file = openSync(path, "w+");
    const put = (at: number, value: number) => void writeSync(file, Buffer.of(value), 0, 1, at);
    put(size - 1, 0);
    const whole = await contentSample([path]);
    for (const at of [0, size - 1, 4095]) {
      put(at, 7);
      expect(await contentSample([path])).not.toBe(whole);
      put(at, 0);
    }
    expect(await contentSample([path])).toBe(whole);
    put(100_000, 7); // between two windows
    expect(await contentSample([path])).toBe(whole);
    closeSync(file);
    const small = write("small.bin", Buffer.alloc(2 ** 20));
    const before = await contentSample([small]);
    const bytes = Buffer.alloc(2 ** 20);
    bytes[654_321] = 1;
    writeFileSync(small, bytes);
    expect(await contentSample([small])).not.toBe(before);
    expect(await contentSample([small, path])).not.toBe(await contentSample([path, small]));
    expect(await contentSample([write("empty.bin", "")])).toMatch(/^\w{16}$/);
    await expect(contentSample([join(folder, "none")])).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
