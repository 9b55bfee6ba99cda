// In distributed training, ranks skip each other's batches.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Batch, type Corpus, openCorpus } from "../../lib/data/corpus.ts";
import type { CorpusTokenizer } from "../../lib/data/encode.ts";
import { openMixture } from "../../lib/data/mixture.ts";
import { writeTokenShards } from "../../lib/data/token-shards/write-token-shards.ts";
import { byteTokenizer, temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const tokenizer: CorpusTokenizer = { ...byteTokenizer, vocabSize: 258, idToToken: (id) => `t${id}` };
const documents = Array.from({ length: 60 }, (_, i) => `Document ${i} ${"tells this ".repeat(i % 7)}ends.`);
const text = write("documents.txt", documents.join("\n\n"));
const shards = join(folder, "shards");
await writeTokenShards({ files: text, tokenizer, outputDir: shards, shardTokens: 900 });

const base = { tokenizer, maxSeqLength: 16, batchSize: 3, seed: 3, shuffleBytes: 1200 };
const corpora: Record<string, () => Promise<Corpus<unknown>>> = {
  "a text file": () => openCorpus({ ...base, files: text }),
  "token shards": () => openCorpus({ ...base, files: shards }),
  "token shards of several epochs in memory": () => openCorpus({ ...base, files: shards, shuffleBytes: 1e6 }),
  "rows of best-fit packing": () => openCorpus({ ...base, files: shards, packing: "bestFit" }),
  "a mixture": () => openMixture({ ...base, parts: [{ files: shards, weight: 2 }, { files: text }] }),
};

describe.each(Object.entries(corpora))("%s", (_, open) => {
  test("has the same batches and positions if others are skipped", async () => {
    using whole = await open();
    const batches: Batch[] = [];
    const states: unknown[] = [];
    for (let i = 0; i < 240; i++) {
      batches.push(await whole.next());
      states.push(whole.state());
    }
    for (const size of [2, 5])
      for (const rank of [0, size - 1]) {
        using own = await open();
        for (let i = 0; i < 240; i++) {
          if (i % size === rank) expect(await own.next()).toEqual(batches[i]);
          else await own.skip();
          expect(own.state()).toEqual(states[i]);
        }
      }
  });

  test("skips nothing if the signal has fired", async () => {
    using corpus = await open();
    const before = corpus.state();
    await expect(corpus.skip({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    expect(corpus.state()).toEqual(before);
  });
});

test("skipping does not read the tokens of shards", async () => {
  const files = write("damaged.tokens", readFileSync(join(shards, "shard-00000.tokens")));
  const options = { ...base, batchSize: 12, files, shuffle: false };
  using whole = await openCorpus(options);
  const [first, , third] = [await whole.next(), await whole.next(), await whole.next()];
  // Replaces tokens that only the second batch has by ids that are not in the vocabulary.
  const bytes = readFileSync(files);
  const documentsOf = (batch: Batch) => Buffer.from(Uint16Array.from(batch.tokens).buffer);
  const at = bytes.indexOf(documentsOf(first)) + 2 * first.tokens.length;
  const ends = [257, 256];
  const tokens = new Uint16Array(bytes.buffer, bytes.byteOffset + at, first.tokens.length);
  // Whole documents between the first and the third batch.
  const from = tokens.findIndex((token, i) => token === ends[0] && tokens[i + 1] === ends[1]) + 1;
  const to = tokens.lastIndexOf(257);
  expect(to).toBeGreaterThan(from);
  tokens.fill(60_000, from, to);
  write("damaged.tokens", bytes);

  using skipping = await openCorpus(options);
  expect(await skipping.next()).toEqual(first);
  await skipping.skip();
  expect(await skipping.next()).toEqual(third);
  using reading = await openCorpus(options);
  await reading.next();
  await expect(reading.next()).rejects.toMatchObject({ code: "INVALID_FILE" });
});
