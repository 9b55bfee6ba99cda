// Documents of any length get the ids of their whole text, and count as one document.
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { openCorpus } from "../../lib/data/corpus.ts";
import type { CorpusTokenizer } from "../../lib/data/encode.ts";
import { TokenFile } from "../../lib/data/token-shards/token-file.ts";
import { type WriteTokenShardsOptions, writeTokenShards } from "../../lib/data/token-shards/write-token-shards.ts";
import { documentsOf } from "../../lib/eval/documents.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { fixtures } from "../helpers/fixtures.ts";
import { prefixedTokenizers, sample } from "../tokenizer/pipeline/prefixed.ts";
import { temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();

/** Prose of about the given length, with an empty line and then an indented line at every `gap`-th line. */
function prose(characters: number, gap = 7): string {
  const lines: string[] = [];
  let length = 0;
  for (let i = 0; length < characters; i++) {
    const line =
      i % gap === 0 ? "" : i % gap === 1 ? "  The end (near)." : sample[i % 2]!.split("\n")[0]!.repeat(1 + (i % 3));
    lines.push(`${line}${i % 11 === 0 ? " ünïcode 日本語" : ""}`);
    length += lines.at(-1)!.length + 1;
  }
  return `${lines.join("\n")} the last`;
}

let tokenizers: { name: string; tokenizer: Tokenizer }[];
beforeAll(async () => {
  tokenizers = [
    ...(await prefixedTokenizers()),
    { name: "byte level", tokenizer: await Tokenizer.train(sample, { vocabSize: 300 }) },
    ...(fixtures
      ? [{ name: "Llama 2", tokenizer: await Tokenizer.load(join(fixtures, "tokenizers/llama2/tokenizer.json")) }]
      : []),
  ];
});

/** The ids of a document as a corpus yields them. */
function idsOf(tokenizer: Tokenizer, text: string): number[] {
  const { bosTokenId, eosTokenIds } = tokenizer;
  const end = eosTokenIds[0] === bosTokenId ? [] : eosTokenIds.slice(0, 1);
  const begin = bosTokenId === undefined ? [] : [bosTokenId];
  return [...begin, ...tokenizer.encode(text, { addSpecialTokens: false }), ...end];
}

/** Writes shards. Returns all their ids, and as `told` the number of documents in the last progress report. */
async function shardsOf(options: Omit<WriteTokenShardsOptions, "outputDir">, name: string) {
  const outputDir = join(folder, name.replaceAll(/\W+/g, "-"));
  const told: number[] = [];
  const onProgress = ({ documents }: { documents: number }) => told.push(documents);
  const shards = await writeTokenShards({ ...options, outputDir, onProgress });
  const ids: number[] = [];
  for (const { path } of shards) {
    const file = TokenFile.open(path);
    for (const part of file.parts(2 ** 30)) {
      const shard = await part.open();
      for (let i = 0; i < shard.count; i++) ids.push(...(await shard.read(i, async () => new Uint32Array())).tokens);
    }
    file.close();
  }
  return { shards, ids, outputDir, told: told.at(-1) };
}

describe("a long document", () => {
  it("a long document in a .jsonl file has the ids of its whole text", async () => {
    const text = prose(150_000);
    const files = write("long.jsonl", JSON.stringify({ text }));
    for (const { name, tokenizer } of tokenizers) {
      const expected = idsOf(tokenizer, text);
      const { ids, shards } = await shardsOf({ files, tokenizer }, `jsonl ${name}`);
      expect(
        shards.map(({ documents }) => documents),
        name,
      ).toEqual([1]);
      expect(ids.length, name).toBe(expected.length);
      expect(
        ids.findIndex((id, i) => id !== expected[i]),
        name,
      ).toBe(-1);
      // Training reads the same ids without shards.
      const corpus = await openCorpus({
        files,
        tokenizer,
        maxSeqLength: expected.length - 1,
        batchSize: 1,
        shuffle: false,
      });
      const { tokens } = await corpus.next();
      expect(
        tokens.findIndex((id, i) => id !== expected[i]),
        name,
      ).toBe(-1);
      corpus.dispose();
    }
  });

  it("a long document that fills a whole file has the ids of its text and counts once, also after resuming", async () => {
    const text = prose(400_000);
    const files = write("whole.txt", text);
    for (const { name, tokenizer } of tokenizers) {
      const expected = idsOf(tokenizer, text);
      const options = { files, tokenizer, documentSeparator: "file", shardTokens: Math.ceil(expected.length / 3) };
      const { ids, shards, outputDir, told } = await shardsOf(options, `file ${name}`);
      expect(shards.length, name).toBeGreaterThan(1);
      expect(
        shards.reduce((sum, { documents }) => sum + documents, 0),
        name,
      ).toBe(1);
      expect(told, name).toBe(1);
      expect(ids.length, name).toBe(expected.length);
      expect(
        ids.findIndex((id, i) => id !== expected[i]),
        name,
      ).toBe(-1);
      expect(await writeTokenShards({ ...options, outputDir, resume: true }), name).toEqual(shards);
    }
  });

  it("a long document of a single line is split before words, so it has the ids of its whole text", async () => {
    const text = prose(300_000).replaceAll(/\s+/g, " ");
    const files = write("line.txt", text);
    for (const { name, tokenizer } of tokenizers) {
      const expected = idsOf(tokenizer, text);
      const { ids } = await shardsOf({ files, tokenizer, documentSeparator: "file" }, `line ${name}`);
      expect(
        ids.findIndex((id, i) => id !== expected[i]),
        name,
      ).toBe(-1);
    }
  });

  it("has the ids of its whole text if the tokenizer has no encodeBatch: splitting the text adds no spaces", async () => {
    const text = prose(150_000);
    const files = write("slices.jsonl", JSON.stringify({ text }));
    for (const { name, tokenizer } of tokenizers) {
      const { bosTokenId, eosTokenIds, vocabSize } = tokenizer;
      const plain: CorpusTokenizer = {
        ...{ bosTokenId, eosTokenIds, vocabSize },
        encode: (part, how) => tokenizer.encode(part, how),
        idToToken: (id) => tokenizer.idToToken(id),
      };
      const { ids } = await shardsOf({ files, tokenizer: plain }, `plain ${name}`);
      expect(ids, name).toEqual(idsOf(tokenizer, text));
    }
  });
});

it("documentsOf yields a document longer than one part of the file as a single document", async () => {
  const text = prose(23 * 2 ** 20, 1e9);
  const path = write("evaluated.txt", `first\n\n${text}\n\nlast\n`);
  const lengths: number[] = [];
  for await (const document of documentsOf(path, { documentSeparator: "blank-line" })) lengths.push(document.length);
  expect(lengths).toEqual([5, text.length, 4]);
});
