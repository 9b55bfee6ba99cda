import { appendFileSync, mkdirSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Batch, openCorpus } from "../../lib/data/corpus.ts";
import type { CorpusTokenizer } from "../../lib/data/encode.ts";
import { TokenFile } from "../../lib/data/token-shards/token-file.ts";
import { writeTokenShards } from "../../lib/data/token-shards/write-token-shards.ts";
import { tokenizerFingerprint } from "../../lib/data/tokenizer-fingerprint.ts";
import { byteTokenizer, temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const tokenizer: CorpusTokenizer = { ...byteTokenizer, vocabSize: 258, idToToken: (id) => `t${id}` };
const documents = Array.from({ length: 300 }, (_, i) => `Document ${i} ${"tells this ".repeat(i % 7)}ünd ends.`);
const textFile = write("documents.txt", documents.join("\n\n"));
const base = { tokenizer, maxSeqLength: 16, batchSize: 3 };

/** Overwrites bytes of a file. */
const put = (change: (bytes: Buffer) => unknown) => (bytes: Buffer) => {
  change(bytes);
  return bytes;
};

const written = async (name: string, shardTokens = 2000) => {
  const outputDir = join(folder, name);
  return { outputDir, shards: await writeTokenShards({ files: textFile, tokenizer, outputDir, shardTokens }) };
};

async function pass(files: string | string[], more = {}): Promise<Batch[]> {
  using corpus = await openCorpus({ ...base, files, ...more });
  const batches: Batch[] = [];
  for await (const batch of corpus.pass()) batches.push(batch);
  return batches;
}

describe("token shards", () => {
  it("are rejected if a document has more tokens than one read can hold (the file is sparse)", async () => {
    const { shards } = await written("sparse", 1e9);
    const whole = readFileSync(shards[0]!.path);
    const tokens = 60e9;
    const record = Buffer.alloc(16);
    record.writeBigUInt64LE(BigInt(tokens));
    const footer = Buffer.from(whole.subarray(-32));
    footer.writeBigUInt64LE(BigInt(tokens));
    footer.writeBigUInt64LE(1n, 8);
    const path = write("sparse.tokens", whole.subarray(0, 64));
    truncateSync(path, 64 + 2 * tokens);
    appendFileSync(path, Buffer.concat([record, footer]));
    await expect(pass(path)).rejects.toMatchObject({
      code: "INVALID_FILE",
      message: `${path}: document 1: expected at most 134217728 tokens, got 60000000000`,
    });
  });

  it("give the same batches and byte counts as the source text", async () => {
    const { outputDir, shards } = await written("plain");
    expect(shards.length).toBeGreaterThan(4);
    expect(shards.reduce((n, s) => n + s.documents, 0)).toBe(300);
    expect(shards.reduce((n, s) => n + s.bytes, 0)).toBe(documents.reduce((n, d) => n + Buffer.byteLength(d), 0));
    for (const packing of ["concatenate", "bestFit"] as const) {
      const expected = await pass(textFile, { packing });
      expect(await pass(outputDir, { packing })).toEqual(expected);
      expect(
        await pass(
          shards.map((s) => s.path),
          { packing },
        ),
      ).toEqual(expected);
    }
  });

  it("have the documented little-endian layout", async () => {
    const outputDir = join(folder, "layout");
    const [shard] = await writeTokenShards({ files: write("two.txt", "ab\n\nc"), tokenizer, outputDir });
    const bytes = readFileSync(shard!.path);
    expect(bytes.toString("latin1", 0, 8)).toBe("HDLTOKEN");
    expect([8, 12, 16, 20].map((at) => bytes.readUInt32LE(at))).toEqual([1, 2, 258, 0]);
    expect(bytes.toString("hex", 24, 56)).toBe(tokenizerFingerprint(tokenizer));
    const tokens = Array.from({ length: 7 }, (_, i) => bytes.readUInt16LE(64 + 2 * i));
    expect(tokens).toEqual([256, 97, 98, 257, 256, 99, 257]);
    const u64 = (at: number) => Number(bytes.readBigUInt64LE(at));
    expect([80, 88, 96, 104].map(u64)).toEqual([4, 2, 7, 1]); // ends and text bytes of both documents
    expect([112, 120, 128].map(u64)).toEqual([7, 2, 3]);
    expect(bytes.toString("latin1", 136)).toBe("HDLTOEND");
    const wide: CorpusTokenizer = { ...tokenizer, vocabSize: 70_000, encode: () => [65_999] };
    const [large] = await writeTokenShards({ files: textFile, tokenizer: wide, outputDir: join(folder, "wide") });
    expect(readFileSync(large!.path).readUInt32LE(12)).toBe(4);
    using corpus = await openCorpus({ ...base, tokenizer: wide, files: large!.path });
    expect([...(await corpus.next()).tokens.subarray(0, 4)]).toEqual([256, 65_999, 257, 256]);
  });

  it("shuffle, split and resume like text, with every document once per epoch", async () => {
    const { outputDir } = await written("resumed");
    const options = { ...base, files: outputDir, seed: 3, shuffleBytes: 3000 };
    using corpus = await openCorpus(options);
    const states: string[] = [];
    const batches: Batch[] = [];
    for (let i = 0; i < 600; i++) {
      states.push(JSON.stringify(corpus.state()));
      batches.push(await corpus.next());
    }
    for (const at of [0, 1, 77, 300, 590]) {
      using resumed = await openCorpus(options);
      resumed.restore(JSON.parse(states[at]!));
      for (let i = at; i < at + 10; i++) expect(await resumed.next()).toEqual(batches[i]);
    }
    const seen = byteTokenizer
      .decode(batches.flatMap((b) => [...b.tokens]))
      .split(">")
      .slice(0, 300);
    expect(seen.map((d) => d.slice(1)).sort()).toEqual([...documents].sort());
    expect(seen.map((d) => d.slice(1))).not.toEqual(documents);
    const count = async (split: "train" | "eval") =>
      (await pass(outputDir, { split, evalFraction: 0.25 })).reduce(
        (n, b) => n + b.targets.filter((t) => t === 257).length,
        0,
      );
    const [train, held] = [await count("train"), await count("eval")];
    expect(train + held).toBe(300);
    expect(held).toBeGreaterThan(40);
  });

  it("are rejected with another tokenizer", async () => {
    const { shards } = await written("foreign");
    const other = { ...tokenizer, idToToken: (id: number) => `u${id}` };
    await expect(openCorpus({ ...base, tokenizer: other, files: shards[0]!.path })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(
        /expected tokens of the model's tokenizer \(\w{12}\), got tokens of another tokenizer/,
      ),
    });
    const merged = { ...tokenizer, encode: (text: string) => [...byteTokenizer.encode(text)].reverse() };
    expect(tokenizerFingerprint(merged)).not.toBe(tokenizerFingerprint(tokenizer));
  });

  it("are rejected if truncated or inconsistent, and load or fail with an expected error after any change of a byte", async () => {
    const { shards } = await written("whole", 10 ** 9);
    const whole = readFileSync(shards[0]!.path);
    const readAll = async (bytes: Buffer) => {
      const path = write("broken.tokens", bytes);
      using corpus = await openCorpus({ ...base, files: path });
      for await (const _ of corpus.pass());
    };
    await readAll(whole);
    const cases: [string, (bytes: Buffer) => Buffer, RegExp][] = [
      ["empty", () => Buffer.alloc(0), /begins with HDLTOKEN, got an empty file$/],
      [
        "a file of another kind",
        (b) => Buffer.concat([Buffer.from("PAR1PAR1"), b.subarray(8)]),
        /begins with HDLTOKEN/,
      ],
      ["a later version", put((b) => b.writeUInt32LE(2, 8)), /expected version 1, got 2/],
      ["tokens of 3 bytes", put((b) => b.writeUInt32LE(3, 12)), /expected tokens of 2 or 4 bytes, got 3/],
      ["a header that claims 4-byte tokens", put((b) => b.writeUInt32LE(4, 12)), /expected \d+ bytes for \d+ tokens/],
      ["a vocabulary size of 0", put((b) => b.writeUInt32LE(0, 16)), /vocabulary that fits its tokens, got 0/],
      [
        "a smaller vocabulary",
        put((b) => b.writeUInt32LE(257, 16)),
        /document 1: token \d+: expected a number below 257, got 257/,
      ],
      [
        "one byte short",
        (b) => b.subarray(0, b.length - 1),
        /the file ends at byte \d+ without HDLTOEND: it is truncated/,
      ],
      ["half", (b) => b.subarray(0, b.length >> 1), /truncated/],
      [
        "a token count above the file's",
        put((b) => b.writeBigUInt64LE(2n ** 40n, b.length - 32)),
        /expected \d+ bytes for/,
      ],
      [
        "a document count of 2^64 - 1",
        put((b) => b.writeBigUInt64LE(2n ** 64n - 1n, b.length - 24)),
        /a number of documents/,
      ],
      [
        "a last document that ends too early",
        put((b) => b.writeBigUInt64LE(b.readBigUInt64LE(b.length - 48) - 1n, b.length - 48)),
        /expected the last document to end at token \d+, got \d+/,
      ],
      [
        "a document that ends before it starts",
        put((b) => b.writeBigUInt64LE(0n, b.length - 32 - 16 * 200)),
        /document \d+: expected an end from/,
      ],
      [
        "a document that ends after the last token",
        put((b) => b.writeBigUInt64LE(2n ** 50n, b.length - 32 - 16 * 200)),
        /document \d+: expected an end from/,
      ],
    ];
    for (const [what, change, message] of cases)
      await expect(readAll(change(Buffer.from(whole))), what).rejects.toMatchObject({
        code: "INVALID_FILE",
        message: expect.stringMatching(message),
      });
    const footer = whole.length - 32;
    const index = footer - 16 * documents.length;
    /** Whether changing this byte of the index can go unnoticed: it is one of a number's two low bytes, or the flag of a continued document. */
    const isSmall = (at: number, value: number) => {
      const offset = (at - index) % 16;
      const isLastEnd = at >= footer - 16 && offset < 8;
      return !isLastEnd && (offset % 8 < 2 || (offset === 15 && value === 0x80));
    };
    /** Possible error codes for a changed byte. `undefined` means success, since some changes cannot be detected. */
    const allowed = (at: number, value: number): (string | undefined)[] => {
      if (whole[at] === value) return [undefined];
      if (at >= 24 && at < 56) return ["INVALID_ARGUMENT"]; // the fingerprint
      const isUnchecked =
        (at >= 20 && at < 64) || // reserved
        (at >= 16 && at < 18) || // a larger vocabulary
        (at >= 64 && at < index) || // another token of the vocabulary
        (at >= index && at < footer && isSmall(at, value)) || // another border between documents, or another size of a text
        (at >= footer + 16 && at < footer + 24); // a larger size of all texts
      return isUnchecked ? [undefined, "INVALID_FILE"] : ["INVALID_FILE"];
    };
    // Most bytes are tokens, so header, index and footer are also drawn separately.
    const position = fc.oneof(
      fc.nat(whole.length - 1),
      fc.nat(63),
      fc.integer({ min: index, max: footer - 1 }),
      fc.integer({ min: footer, max: whole.length - 1 }),
    );
    await fc.assert(
      fc.asyncProperty(position, fc.integer({ min: 0, max: 255 }), async (at, value) => {
        const bytes = Buffer.from(whole);
        bytes[at] = value;
        const code = await readAll(bytes).then(
          () => undefined,
          (error) => error.code,
        );
        expect(allowed(at, value), `byte ${at}`).toContain(code);
      }),
      { numRuns: 300 },
    );
  });

  it("are reported without a crash if truncated while mapped", async () => {
    const { shards } = await written("shrunk", 10 ** 9);
    using corpus = await openCorpus({ ...base, files: shards[0]!.path, shuffle: false });
    await corpus.next();
    truncateSync(shards[0]!.path, 128);
    const read = async () => {
      for (let i = 0; i < 400; i++) await corpus.next();
    };
    await expect(read()).rejects.toMatchObject({ code: "IO" });
  });

  it("need a folder with shards, a tokenizer with vocabSize, and an existing file", async () => {
    mkdirSync(join(folder, "none"));
    await expect(openCorpus({ ...base, files: join(folder, "none") })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(
      writeTokenShards({ files: textFile, tokenizer: byteTokenizer, outputDir: join(folder, "none") }),
    ).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^tokenizer.vocabSize/) });
    expect(() => TokenFile.open(join(folder, "nothing.tokens"))).toThrow(
      expect.objectContaining({ code: "NOT_FOUND" }),
    );
  });
});

it("misspelt or missing options are rejected, and the error names them", async () => {
  const refused = (options: object, message: RegExp) =>
    expect(writeTokenShards(options as Parameters<typeof writeTokenShards>[0])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  const outputDir = join(folder, "refused");
  await refused({ tokenizer, outputDir }, /^files: expected a path/);
  await refused({ files: textFile, outputDir }, /^tokenizer: expected a Tokenizer/);
  await refused({ files: textFile, tokenizer }, /^outputDir: expected a folder/);
  await refused(
    { files: textFile, tokenizer, outputDir, shardToken: 5 },
    /^shardToken: expected a known option \(nearest: shardTokens\), got an unknown one$/,
  );
});
