import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Batch, type CorpusOptions, openCorpus } from "../../lib/data/corpus.ts";
import { writeTokenShards } from "../../lib/data/token-shards/write-token-shards.ts";
import { byteTokenizer, temporaryFolder } from "./helpers.ts";

const { folder, write } = temporaryFolder();
const documents = Array.from({ length: 700 }, (_, i) => `Doc ${i} ${"word ".repeat((i * 7) % 23)}ends.`);
const file = write("documents.txt", documents.join("\n\n"));
/** Tokens per row. */
const T = 48;
const base: CorpusOptions = {
  files: file,
  tokenizer: byteTokenizer,
  maxSeqLength: T,
  batchSize: 4,
  packing: "bestFit",
  seed: 2,
};

/** Checks the targets and positions of a batch, and returns its documents' texts in row order. */
function read({ tokens, targets, positions, documents: of }: Batch): string[] {
  const out: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (of![i]! < 0) {
      expect([tokens[i], targets[i], positions![i]]).toEqual([0, -100, 0]);
      continue;
    }
    const begins = i % T === 0 || of![i] !== of![i - 1];
    expect(positions![i]).toBe(begins ? 0 : positions![i - 1]! + 1);
    if (!begins) expect(tokens[i]).toBe(targets[i - 1]);
    if (begins) out.push("");
    out.push(`${out.pop()}${byteTokenizer.decode([tokens[i]!])}`);
    const ends = i % T === T - 1 || of![i + 1] !== of![i];
    if (ends) out.push(`${out.pop()}${byteTokenizer.decode([targets[i]!])}`);
  }
  return out;
}

describe("best-fit packing", () => {
  it("keeps documents that fit into a row whole, splits only longer ones, and loses no target", async () => {
    using corpus = await openCorpus({ ...base, shuffle: false });
    const found: string[] = [];
    let [targets, bytes, rows] = [0, 0, 0];
    for await (const batch of corpus.pass()) {
      found.push(...read(batch));
      targets += batch.tokenCount;
      bytes += batch.byteCount;
      expect(batch.targets.filter((t) => t >= 0).length).toBe(batch.tokenCount);
      rows += 4;
    }
    const tokens = documents.map((d) => Buffer.byteLength(d) + 2);
    expect(targets).toBe(tokens.reduce((n, length) => n + length - 1, 0));
    expect(bytes).toBe(documents.reduce((n, d) => n + d.length, 0));
    const whole = documents.filter((d) => d.length + 1 <= T).map((d) => `<${d}>`);
    expect(whole.length).toBeLessThan(documents.length);
    expect(found.filter((d) => d.startsWith("<") && d.endsWith(">")).sort()).toEqual(whole.sort());
    // Pieces of a split document overlap by one token: the last target of one is the first input of the next.
    const cut = documents.filter((d) => d.length + 1 > T).map((d) => `<${d}>`);
    const pieces = new Set(found);
    for (const document of cut)
      for (let from = 0; from < document.length - 1; from += T)
        expect(pieces.has(document.slice(from, from + T + 1))).toBe(true);
    expect(targets / (rows * T)).toBeGreaterThan(0.97);
  });

  it("pass() yields the same batches for every seed", async () => {
    const first = async (seed: number) => {
      using corpus = await openCorpus({ ...base, seed });
      const found: string[][] = [];
      for await (const batch of corpus.pass({ maxBatches: 3 })) found.push(read(batch));
      return found;
    };
    expect(await first(2)).toEqual(await first(1));
  });

  it("yields every document once per epoch in a new order, and resumes at any batch", async () => {
    for (const shuffleBytes of [undefined, 4000]) {
      const options = { ...base, ...(shuffleBytes && { shuffleBytes }) };
      using corpus = await openCorpus(options);
      const states: string[] = [];
      const batches: Batch[] = [];
      for (let i = 0; i < 600; i++) {
        states.push(JSON.stringify(corpus.state()));
        batches.push(await corpus.next());
      }
      for (const at of [0, 1, 63, 64, 65, 200, 440]) {
        using resumed = await openCorpus(options);
        resumed.restore(JSON.parse(states[at]!));
        for (let i = at; i < at + 10; i++) expect(await resumed.next()).toEqual(batches[i]);
      }
      const whole = documents.filter((d) => d.length + 1 <= T).map((d) => `<${d}>`);
      const counts = new Map(whole.map((d) => [d, 0]));
      for (const text of batches.flatMap(read)) if (counts.has(text)) counts.set(text, counts.get(text)! + 1);
      // A round is a quarter of an epoch, so the first rounds of two epochs share about a quarter of their documents.
      const firstRound = async (epoch: number) => {
        using other = await openCorpus(options);
        other.restore({ ...JSON.parse(states[0]!), epoch });
        const texts: string[] = [];
        for (let i = 0; i < 64; i++) texts.push(...read(await other.next()));
        return texts.filter((text) => counts.has(text));
      };
      const [first, second] = [await firstRound(0), new Set(await firstRound(1))];
      expect(first.filter((text) => second.has(text)).length).toBeLessThan(first.length / 2);
      // A packing round may cross an epoch's end, so counts may differ by one.
      const seen = [...counts.values()];
      expect(Math.max(...seen) - Math.min(...seen)).toBeLessThanOrEqual(1);
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(2);
    }
  });

  it("rejects the saved state of another packing or row length", async () => {
    using packed = await openCorpus(base);
    using plain = await openCorpus({ ...base, packing: "concatenate" });
    using wider = await openCorpus({ ...base, maxSeqLength: T + 1 });
    await packed.next();
    expect(() => wider.restore(packed.state())).toThrow(
      /^packing: the position belongs to other data: expected best fit in /,
    );
    expect(() => plain.restore(packed.state())).toThrow(
      /^packing: .*belongs to other data: expected best fit .*, got concatenate$/,
    );
    expect(() => packed.restore(plain.state())).toThrow(/^state.row: expected a whole number of at least 0/);
    await expect(openCorpus({ ...base, packing: "best" as "bestFit" })).rejects.toMatchObject({
      message: 'packing: expected "concatenate" or "bestFit", got "best"',
    });
  });

  it("makes EOS a target once per document, after its last part, even if BOS is the same token", async () => {
    const shared = { ...byteTokenizer, eosTokenId: 256, vocabSize: 257 };
    const long = "a line of many\n".repeat(6_000); // read in parts, since it has no separator
    for (const [text, documentSeparator] of [
      [documents.join("\n\n"), "blank-line"] as const,
      [long, "file"] as const,
    ]) {
      const corpora = { files: write("ends.txt", text), tokenizer: shared, documentSeparator };
      const options = { ...base, ...corpora };
      const outputDir = join(folder, documentSeparator);
      await writeTokenShards({ ...corpora, outputDir });
      const all: Batch[][] = [];
      for (const files of [options.files, outputDir]) {
        using corpus = await openCorpus({ ...options, files, shuffle: false });
        const batches: Batch[] = [];
        for await (const batch of corpus.pass()) batches.push(batch);
        all.push(batches);
      }
      const [batches] = all;
      expect(all[1]).toEqual(batches);
      // `read` writes BOS and EOS, which are the same token, as "<". BOS is an input before a document, EOS a target after it.
      const pieces = batches!.flatMap(read);
      const whole = text === long ? [long.trimEnd()] : documents;
      expect(pieces.filter((piece) => piece.endsWith("<"))).toHaveLength(whole.length);
      // Every token is a target, except the first of each part. The long text is read in two parts, a short document in one.
      const targets = pieces.reduce((n, piece) => n + Buffer.byteLength(piece) - 1, 0);
      const perDocument = text === long ? 0 : 1;
      expect(targets).toBe(whole.reduce((n, document) => n + Buffer.byteLength(document) + perDocument, 0));
      if (text === long) continue;
      // Each document is cut into pieces of one row, which overlap by one token.
      const expected = whole.flatMap((document) => {
        const shown = `<${document}<`;
        return Array.from({ length: Math.ceil((shown.length - 1) / T) }, (_, i) => shown.slice(i * T, i * T + T + 1));
      });
      expect(pieces.toSorted()).toEqual(expected.toSorted());
    }
  });

  it("rejects a corpus in which no document has a target, instead of reading forever", async () => {
    const tokenizer = { encode: (text: string) => byteTokenizer.encode(text) };
    using corpus = await openCorpus({ ...base, tokenizer, files: write("letters.txt", "a\n\nb\n\nc") });
    await expect(corpus.next()).rejects.toMatchObject({ code: "INVALID_FILE" });
  });
});
