import { describe, expect, it } from "vitest";
import { type Batch, type Corpus, type CorpusOptions, openCorpus } from "../../lib/data/corpus.ts";
import { byteTokenizer, temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const documents = Array.from(
  { length: 300 },
  (_, i) => `Document ${i} tells ${"this and that ".repeat(i % 5)}ünd ends.`,
);
const textFile = write("documents.txt", documents.join("\n\n"));
const rowsFile = write("rows.jsonl", documents.map((text, i) => `${JSON.stringify({ id: i, text })}\r\n`).join(""));

const base = { files: textFile, tokenizer: byteTokenizer, maxSeqLength: 16, batchSize: 3 } satisfies CorpusOptions;

async function take(corpus: Corpus, count: number): Promise<Batch[]> {
  const batches: Batch[] = [];
  for (let i = 0; i < count; i++) batches.push(await corpus.next());
  return batches;
}

/** The documents of consecutive batches, without an incomplete last document. */
function read(batches: Batch[]): string[] {
  const text = byteTokenizer.decode(batches.flatMap((batch) => [...batch.tokens]));
  return text
    .split(">")
    .slice(0, -1)
    .map((one) => one.replace(/^</, ""));
}

const sizeOf = (texts: string[]) => texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 2, 0);
const batchesOf = (texts: string[], { maxSeqLength, batchSize } = base) =>
  Math.ceil(sizeOf(texts) / maxSeqLength / batchSize) + 1;

describe("openCorpus", () => {
  it("packs documents into rows, with the next tokens as targets", async () => {
    using corpus = await openCorpus({
      ...base,
      files: write("two.txt", "abc\n\ndefg"),
      maxSeqLength: 5,
      batchSize: 2,
      shuffle: false,
    });
    const first = await corpus.next();
    expect(byteTokenizer.decode(first.tokens)).toBe("<abc><defg");
    expect(byteTokenizer.decode(first.targets)).toBe("abc><defg>");
    expect(first.tokenCount).toBe(10);
    expect(first.byteCount).toBe(7);
    const second = await corpus.next();
    expect(byteTokenizer.decode(second.tokens)).toBe("><abc><def");
    expect(byteTokenizer.decode(second.targets)).toBe("<abc><defg");
  });

  it("counts the bytes of a document once, also if its first token is the last target of a batch", async () => {
    using corpus = await openCorpus({
      ...base,
      files: write("border.txt", "abc\n\ndefg"),
      maxSeqLength: 5,
      batchSize: 1,
      shuffle: false,
    });
    const batches = await take(corpus, 4);
    expect(batches.map(({ targets }) => byteTokenizer.decode(targets))).toEqual(["abc><", "defg>", "<abc>", "<defg"]);
    expect(batches.map(({ byteCount }) => byteCount)).toEqual([3, 4, 3, 4]);
  });

  it("reads every document once per epoch in a new order, from text and JSONL", async () => {
    for (const files of [textFile, rowsFile]) {
      using corpus = await openCorpus({ ...base, files, seed: 4 });
      const found = read(await take(corpus, 2 * batchesOf(documents)));
      const [one, two] = [found.slice(0, 300), found.slice(300, 600)];
      expect([...one].sort()).toEqual([...documents].sort());
      expect([...two].sort()).toEqual([...documents].sort());
      expect(one).not.toEqual(documents);
      expect(two).not.toEqual(one);
    }
  });

  it("mixes the documents of several files", async () => {
    const files = [
      write("a.txt", Array(50).fill("from a").join("\n\n")),
      write("b.txt", Array(50).fill("from b").join("\n\n")),
    ];
    using corpus = await openCorpus({ ...base, files, seed: 1 });
    const half = read(await take(corpus, 60)).slice(0, 50);
    const share = half.filter((text) => text === "from a").length;
    expect(share).toBeGreaterThan(12);
    expect(share).toBeLessThan(38);
  });

  it("is deterministic for a seed and differs between seeds", async () => {
    const open = (seed: number) => openCorpus({ ...base, seed });
    using one = await open(7);
    using same = await open(7);
    using other = await open(8);
    const wanted = await take(one, 20);
    expect(await take(same, 20)).toEqual(wanted);
    expect(await take(other, 20)).not.toEqual(wanted);
  });

  it("resumes at any batch with exactly the following batches, also if only a part of the corpus is in memory", async () => {
    // 2 kB of 15 kB in memory at once: several groups per epoch, and several epochs.
    for (const shuffleBytes of [undefined, 2000]) {
      for (const files of [textFile, [rowsFile, textFile]]) {
        const options = { ...base, files, seed: 3, shuffleBytes };
        using corpus = await openCorpus(options);
        const states = [JSON.stringify(corpus.state())];
        const batches: Batch[] = [];
        for (let i = 0; i < 1500; i++) {
          batches.push(await corpus.next());
          states.push(JSON.stringify(corpus.state()));
        }
        for (const at of [0, 1, 2, 3, 50, 299, 300, 777, 1490]) {
          using resumed = await openCorpus(options);
          resumed.restore(JSON.parse(states[at]!));
          for (let i = at; i < at + 10; i++) expect(await resumed.next()).toEqual(batches[i]);
          expect(JSON.stringify(resumed.state())).toBe(states[at + 10]);
        }
        // The same corpus can be restored to an earlier position, and repeats its batches.
        corpus.restore(JSON.parse(states[5]!));
        expect(await take(corpus, 5)).toEqual(batches.slice(5, 10));
      }
    }
  });

  it("yields every document once per epoch in a new order if shuffleBytes holds only a part of the corpus", async () => {
    using corpus = await openCorpus({ ...base, files: [textFile, rowsFile], seed: 2, shuffleBytes: 3000 });
    const found = read(await take(corpus, 2 * batchesOf([...documents, ...documents])));
    const twice = [...documents, ...documents].sort();
    expect(found.slice(0, 600).sort()).toEqual(twice);
    expect(found.slice(600, 1200).sort()).toEqual(twice);
    expect(found.slice(0, 600)).not.toEqual(found.slice(600, 1200));
  });

  it("serializes concurrent callers", async () => {
    using corpus = await openCorpus({ ...base, seed: 5 });
    using other = await openCorpus({ ...base, seed: 5 });
    expect(await Promise.all([corpus.next(), corpus.next(), corpus.next()])).toEqual(await take(other, 3));
  });

  it("pass() yields everything once in order, padded with ignored targets", async () => {
    const corpus = await openCorpus({ ...base, seed: 5, maxSeqLength: 50 });
    const before = await corpus.next();
    let tokens = 0;
    let bytes = 0;
    const targets: number[] = [];
    for await (const batch of corpus.pass()) {
      expect([batch.tokens.length, batch.targets.length]).toEqual([150, 150]);
      const learned = batch.targets.filter((target) => target !== -100);
      expect(learned.length).toBe(batch.tokenCount);
      tokens += batch.tokenCount;
      bytes += batch.byteCount;
      targets.push(...learned);
    }
    expect(byteTokenizer.decode([256, ...targets])).toBe(documents.map((text) => `<${text}>`).join(""));
    expect(tokens).toBe(sizeOf(documents) - 1);
    expect(bytes).toBe(documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0));
    const again: number[] = [];
    for await (const batch of corpus.pass({ maxBatches: 2 })) again.push(...batch.targets);
    expect(again).toEqual(targets.slice(0, 300));
    // pass() does not change the position of next().
    const other = await openCorpus({ ...base, seed: 5, maxSeqLength: 50 });
    expect([before, await corpus.next()]).toEqual(await take(other, 2));
  });

  it("pass() yields no empty batch if the corpus ends with a full row", async () => {
    const corpus = await openCorpus({ ...base, files: write("full.txt", "abcd"), maxSeqLength: 5, batchSize: 1 });
    const batches: string[] = [];
    for await (const batch of corpus.pass()) batches.push(byteTokenizer.decode(batch.targets));
    expect(batches).toEqual(["abcd>"]);
  });

  it("holds out the same documents for any order and shuffleBytes, and others for another splitSeed", async () => {
    const split = { evalFraction: 0.2, splitSeed: 1 };
    const collect = async (options: Partial<CorpusOptions>) => {
      using corpus = await openCorpus({ ...base, ...split, ...options });
      const ids: number[] = [];
      for await (const batch of corpus.pass()) ids.push(...batch.targets.filter((id) => id >= 0));
      return byteTokenizer
        .decode([256, ...ids])
        .split(">")
        .slice(0, -1)
        .map((text) => text.slice(1))
        .sort();
    };
    const train = await collect({ split: "train" });
    const held = await collect({ split: "eval" });
    expect(held.length).toBeGreaterThan(30);
    expect(held.length).toBeLessThan(90);
    expect([...train, ...held].sort()).toEqual([...documents].sort());
    expect(await collect({ split: "eval", seed: 9, shuffleBytes: 2000 })).toEqual(held);
    expect(await collect({ split: "eval", splitSeed: 2 })).not.toEqual(held);
  });

  it("separates documents by a marker, by line or by file", async () => {
    const path = write("marked.txt", "one\ntwo\n<|end|>\n\nthree\n");
    const first = async (documentSeparator: string) => {
      using corpus = await openCorpus({ ...base, files: path, documentSeparator, shuffle: false });
      return byteTokenizer.decode((await corpus.next()).tokens);
    };
    expect(await first("<|end|>")).toMatch(/^<one\ntwo><\nthree></);
    expect(await first("line")).toMatch(/^<one><two><<\|end\|>><three></);
    expect(await first("file")).toMatch(/^<one\ntwo\n<\|end\|>\n\nthree></);
  });

  it("reads the field that textField names", async () => {
    using corpus = await openCorpus({
      ...base,
      files: write("story.jsonl", '{"story":"x","text":1}\n'),
      textField: "story",
    });
    expect(byteTokenizer.decode((await corpus.next()).tokens)).toMatch(/^<x><x>/);
  });
});

describe("wrong use of openCorpus", () => {
  const rejects = async (options: Partial<CorpusOptions>, code: string, message: string | RegExp) => {
    const run = async () => {
      using corpus = await openCorpus({ ...base, shuffle: false, ...options });
      await corpus.next();
    };
    await expect(run()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  };

  it("rejects a missing file and a folder", async () => {
    await rejects({ files: `${folder}/missing.txt` }, "NOT_FOUND", /missing\.txt: no such file$/);
    await rejects(
      { files: [textFile, folder] },
      "INVALID_ARGUMENT",
      /^files: expected paths of files, or folders of .tokens files, got /,
    );
    await rejects({ files: [] }, "INVALID_ARGUMENT", /^files: expected at least one path/);
  });

  it.each([
    ["{bad", /:3: expected a JSON object with the text field "text", got text that is not JSON/],
    ['{"text":', /:3: .*not JSON/],
    ['"text"', /:3: .* got a string$/],
    ["[1]", /:3: .* got an array$/],
    ["null", /:3: .* got null$/],
    ['{"txt":"a"}', /:3: .* got an object with the fields txt$/],
    ['{"text":5}', /:3: .* got a number in that field$/],
    ['{"__proto__":{"text":"a"}}', /:3: .* got an object with the fields __proto__$/],
  ])("rejects the row %s, with file and line", async (row, message) => {
    const files = write("bad.jsonl", `{"text":"first"}\n\n${row}\n{"text":"last"}`);
    await rejects({ files, maxSeqLength: 64 }, "INVALID_FILE", message);
  });

  it("rejects files without text, except in pass(), which yields nothing", async () => {
    await rejects(
      { files: write("empty.txt", "") },
      "INVALID_FILE",
      /empty\.txt: expected at least one document.*got none$/,
    );
    await rejects(
      { files: write("blank.txt", "\n\n \n") },
      "INVALID_FILE",
      /blank\.txt: expected at least one document/,
    );
    const nothing: number[] = [];
    const corpus = await openCorpus({ ...base, files: `${folder}/empty.txt` });
    for await (const batch of corpus.pass()) nothing.push(batch.tokenCount);
    expect(nothing).toEqual([]);
  });

  it.each([
    [{ maxSeqLength: 0 }, /^maxSeqLength: expected a whole number of at least 1, got 0/],
    [{ batchSize: 1.5 }, /^batchSize: expected a whole number of at least 1, got 1.5/],
    [{ batchSize: 2 ** 40 }, /^batchSize: expected at most 2\^28 tokens a batch/],
    [{ seed: -1 }, /^seed: expected a whole number from 0 to 2\^53 - 1, got -1/],
    [{ evalFraction: 1 }, /^evalFraction: expected a number in \[0, 1\), got 1/],
    [{ split: "eval" as const }, /^evalFraction: expected a number > 0 with split eval, got 0/],
    [{ split: "test" as "eval" }, /^split: expected "train" or "eval", got "test"/],
    [{ documentSeparator: "a\nb" }, /^documentSeparator: expected a text without line breaks/],
  ])("rejects the options %j", async (options, message) => {
    await rejects(options, "INVALID_ARGUMENT", message);
  });

  it("rejects calls after dispose and after an abort", async () => {
    const corpus = await openCorpus(base);
    await corpus.next();
    await expect(corpus.next({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    await expect(corpus.pass({ signal: AbortSignal.abort() }).next()).rejects.toMatchObject({ code: "ABORTED" });
    const state = corpus.state();
    const later = await corpus.next(); // an aborted call consumes nothing
    corpus.restore(state);
    expect(await corpus.next()).toEqual(later);
    corpus.dispose();
    corpus.dispose();
    await expect(corpus.next()).rejects.toMatchObject({ code: "DISPOSED" });
    const controller = new AbortController();
    const other = await openCorpus({ ...base, signal: controller.signal });
    controller.abort();
    await expect(other.next()).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("rejects a position of other data", async () => {
    const one = await openCorpus({ ...base, seed: 1 });
    const two = await openCorpus({ ...base, seed: 2 });
    expect(() => two.restore(one.state())).toThrow(
      /^seed: the position belongs to other data: expected seed 1 over \d+, got seed 2 over \d+$/,
    );
    expect(() => one.restore({ ...one.state(), token: -1 })).toThrow(
      /^state.token: expected a whole number of at least 0, got -1/,
    );
    expect(() => one.restore({ ...one.state(), version: 2 as 1 })).toThrow(/^state.version: expected 1, got 2/);
  });
});
