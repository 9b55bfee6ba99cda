// Variants of encode and decode: reused buffers, batches of ids, byte offsets, dropout.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { families, generator, randomText } from "./generated.ts";
import { byteLevelJson, fromJson, sentencePieceJson } from "./samples.ts";

const words = "the cat's hat, 日本語 naïve 🎉 ".repeat(3);

async function trained(): Promise<Tokenizer> {
  return Tokenizer.train(["the cat sat on the mat and that hat ".repeat(50)], { vocabSize: 300 });
}

describe("encodeInto", () => {
  it("fills the caller's array and returns the number of ids", async () => {
    const tokenizer = await trained();
    const output = new Uint32Array(40_000).fill(7);
    for (const text of ["", "the cat", words, words.repeat(200)]) {
      const ids = tokenizer.encode(text);
      expect(tokenizer.encodeInto(text, output)).toBe(ids.length);
      expect(output.subarray(0, ids.length)).toEqual(ids);
      const small = new Uint32Array(3);
      expect(tokenizer.encodeInto(text, small)).toBe(ids.length);
      expect(small.subarray(0, Math.min(3, ids.length))).toEqual(ids.subarray(0, 3));
    }
    expect(output.at(-1)).toBe(7);
    expect(() => tokenizer.encodeInto("a", [] as never)).toThrow("output");
  });
});

describe("short results", () => {
  it("are not changed by later calls, a transfer or writes to another result", async () => {
    const tokenizer = await trained();
    const random = generator(21);
    const kept = Array.from({ length: 3000 }, () => {
      const text = randomText(random).slice(0, 160);
      return { text, ids: tokenizer.encode(text) };
    });
    const output = new Uint32Array(4096);
    for (const { text, ids } of kept) {
      const count = tokenizer.encodeInto(text, output);
      expect([...ids]).toEqual([...output.subarray(0, count)]);
    }
    // Later results share memory; the first few do not.
    const { ids } = kept.find((one) => one.ids.length > 1 && one.ids.buffer.byteLength > one.ids.byteLength)!;
    try {
      structuredClone(ids, { transfer: [ids.buffer as ArrayBuffer] }); // Node 20 copies the array, later versions throw
    } catch {}
    for (const { text, ids } of kept) expect(ids.length).toBe(tokenizer.count(text));
    expect(structuredClone(ids)).toEqual(ids);
    kept[0]!.ids.fill(0);
    expect([...kept[1]!.ids]).toEqual([...tokenizer.encode(kept[1]!.text)]);
  });
});

describe("encodeBatchJoined", () => {
  it("equals encodeBatch in one array, and uses the caller's memory if it is large enough", async () => {
    const tokenizer = await trained();
    const texts = Array.from({ length: 300 }, (_, i) => words.slice(i % 50, 50 + i));
    const lists = await tokenizer.encodeBatch(texts);
    expect(lists).toEqual(texts.map((text) => tokenizer.encode(text)));
    const all = lists.flatMap((list) => [...list]);
    for (const room of [undefined, 0, all.length - 1, all.length, all.length + 7]) {
      const output = room === undefined ? undefined : new Uint32Array(room);
      const { ids, counts } = await tokenizer.encodeBatchJoined(texts, output ? { output } : {});
      expect([...ids]).toEqual(all);
      expect([...counts]).toEqual(lists.map((list) => list.length));
      expect(ids.buffer === output?.buffer).toBe(room !== undefined && room >= all.length);
    }
    await expect(tokenizer.encodeBatchJoined(["a"], { output: [] as never })).rejects.toThrow("output");
    await expect(tokenizer.encodeBatchJoined([1] as never)).rejects.toThrow("text: expected a string");
  });

  it("encodeBatch does not mix the results of batches that run concurrently, even if some are aborted", async () => {
    const tokenizer = await trained();
    const batches = Array.from({ length: 12 }, (_, b) =>
      Array.from({ length: 40 }, (_, i) => words.repeat(20).slice(b * i)),
    );
    const expected = batches.map((texts) => texts.map((text) => tokenizer.encode(text)));
    const stop = new AbortController();
    const running = batches.map((texts, b) =>
      tokenizer.encodeBatch(texts, b % 3 === 2 ? { signal: stop.signal } : {}).catch((error) => error.code),
    );
    stop.abort();
    const got = await Promise.all(running);
    for (const [b, lists] of got.entries()) if (b % 3 !== 2 || lists !== "ABORTED") expect(lists).toEqual(expected[b]);
    expect(await tokenizer.encodeBatch(batches[0]!)).toEqual(expected[0]);
  });
});

describe("decodeBatch", () => {
  it("equals decode of each list", async () => {
    const random = generator(11);
    for (const name of ["bert", "unigram-t5", "nfc"]) {
      const tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify(families()[name]) });
      const lists = Array.from({ length: 300 }, () => tokenizer.encode(randomText(random), { allowSpecial: true }));
      for (const skipSpecialTokens of [true, false]) {
        const texts = await tokenizer.decodeBatch(lists, { skipSpecialTokens });
        expect(texts).toEqual(lists.map((ids) => tokenizer.decode(ids, { skipSpecialTokens })));
      }
    }
  });

  it("decodes long lists, accepts any iterable and stops when aborted", async () => {
    const tokenizer = await trained();
    const long = tokenizer.encode(words.repeat(20_000));
    const [first, last] = [long[0]!, long.at(-1)!];
    const texts = await tokenizer.decodeBatch([long, [...long.subarray(0, 5)], new Set([first, last]), []]);
    expect(texts[0]).toBe(words.repeat(20_000));
    expect(texts[1]).toBe(tokenizer.decode(long.subarray(0, 5)));
    expect(texts[2]).toBe(tokenizer.decode([first, last]));
    expect(texts[3]).toBe("");
    expect(await tokenizer.decodeBatch([])).toEqual([]);
    const signal = AbortSignal.abort();
    await expect(tokenizer.decodeBatch([long], { signal })).rejects.toMatchObject({ code: "ABORTED" });
    await expect(tokenizer.decodeBatch("ab" as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("offsets in bytes", () => {
  it("select the same ranges in the text's UTF-8", () => {
    for (const name of ["bert", "unigram-always", "nfc", "lowercase"]) {
      const tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify(families()[name]) });
      const random = generator(5);
      for (let i = 0; i < 200; i++) {
        const text = randomText(random);
        const utf8 = Buffer.from(text.toWellFormed());
        const units = tokenizer.encodeWithOffsets(text);
        const bytes = tokenizer.encodeWithOffsets(text, { units: "bytes" });
        expect(bytes.ids).toEqual(units.ids);
        for (let k = 0; k < units.offsets.length; k += 2) {
          const [begin, end] = [units.offsets[k]!, units.offsets[k + 1]!];
          const got = utf8.subarray(bytes.offsets[k], bytes.offsets[k + 1]).toString();
          expect(got).toBe(text.toWellFormed().slice(begin, end));
        }
      }
    }
    const tokenizer = fromJson(byteLevelJson([]));
    expect(() => tokenizer.encodeWithOffsets("a", { units: "chars" as never })).toThrow("units");
  });
});

describe("dropout", () => {
  it("gives more tokens that decode to the same text, reproducibly for a seed", async () => {
    const tokenizer = await trained();
    const text = "the cat that sat on the mat ".repeat(40);
    const plain = tokenizer.encode(text).length;
    const seen = new Set<string>();
    for (let seed = 0; seed < 8; seed++) {
      const ids = tokenizer.encode(text, { dropout: 0.3, seed });
      expect(tokenizer.decode(ids)).toBe(text);
      expect(ids.length).toBeGreaterThan(plain);
      expect(tokenizer.encode(text, { dropout: 0.3, seed })).toEqual(ids);
      seen.add(ids.join());
    }
    expect(seen.size).toBe(8);
    expect(tokenizer.encode(text, { dropout: 0 })).toEqual(tokenizer.encode(text));
    // Text i of a batch uses the seed + i.
    const batch = await tokenizer.encodeBatch([text, text], { dropout: 0.3, seed: 4 });
    expect(batch[0]).toEqual(tokenizer.encode(text, { dropout: 0.3, seed: 4 }));
    expect(batch[1]).toEqual(tokenizer.encode(text, { dropout: 0.3, seed: 5 }));
  });

  it("skips merges with the given probability", () => {
    // With a single merge, each pair independently stays unmerged with this probability. The share may differ by 4 standard deviations.
    const tokenizer = fromJson(byteLevelJson([["a", "b"]]));
    const pairs = 20_000;
    for (const dropout of [0.1, 0.5, 0.9]) {
      const ids = tokenizer.encode("ab ".repeat(pairs), { dropout, seed: 1 });
      const apart = ids.filter((id) => id === 97).length / pairs;
      expect(Math.abs(apart - dropout)).toBeLessThan(4 * Math.sqrt((dropout * (1 - dropout)) / pairs));
    }
  });

  it("is fast on long words, and gives an offset pair for each id", () => {
    const tokenizer = fromJson(
      sentencePieceJson(
        ["a", "aa", "aaaa"],
        [
          ["a", "a"],
          ["aa", "aa"],
        ],
      ),
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.double({ min: 0, max: 0.99, noNaN: true }), (text, dropout) => {
        const { ids, offsets } = tokenizer.encodeWithOffsets(text, { dropout, seed: 3 });
        expect(offsets.length).toBe(2 * ids.length);
      }),
      { numRuns: 50 },
    );
    const started = performance.now();
    expect(tokenizer.encode("a".repeat(300_000), { dropout: 0.5 }).length).toBeGreaterThan(100_000);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it("rejects invalid values, and models without merges", () => {
    const tokenizer = fromJson(byteLevelJson([]));
    for (const options of [{ dropout: 1 }, { dropout: -0.1 }, { dropout: Number.NaN }, { dropout: 0.1, seed: -1 }]) {
      expect(() => tokenizer.encode("a", options)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
    const bert = Tokenizer.fromFiles({ tokenizer: JSON.stringify(families().bert) });
    expect(() => bert.encode("a", { dropout: 0.1 })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
