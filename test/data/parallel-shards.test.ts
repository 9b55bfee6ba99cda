// Token shards written with a multithreaded tokenizer: same files, without blocking the event loop.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { CorpusTokenizer } from "../../lib/data/encode.ts";
import { type TokenShardProgress, writeTokenShards } from "../../lib/data/token-shards/write-token-shards.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { leastOf, longestTurn, saysTurns } from "../helpers/clock.ts";
import { temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const sentence = (i: number) => `Document ${i} says: naïve 日本語 ${"lorem ipsum dolor ".repeat(i % 13)}end.`;
const documents = Array.from({ length: 3000 }, (_, i) => (i % 500 === 7 ? sentence(12).repeat(600) : sentence(i)));
const files = [write("a.txt", documents.join("\n\n")), write("b.jsonl", JSON.stringify({ text: sentence(5) }))];
const tokenizer = await Tokenizer.train(documents, { vocabSize: 600 });

/** In milliseconds of CPU time. Tokenizing all of the text in one turn takes far longer. */
const MAX_TURN = 50;

/** Names and digests, because matchers compare bytes slowly. */
const filesOf = (path: string) =>
  readdirSync(path).map((name) => [
    name,
    createHash("sha256")
      .update(readFileSync(join(path, name)))
      .digest("hex"),
  ]);

describe("writeTokenShards on threads", () => {
  it("writes the same shards as encoding documents one by one, in order and shuffled", async () => {
    for (const more of [{}, { shuffle: true, seed: 4, shuffleBytes: 40_000 }]) {
      const outputDir = join(folder, `fast${Object.keys(more).length}`);
      const plain = join(folder, `plain${Object.keys(more).length}`);
      const seen: TokenShardProgress[] = [];
      const options = { files, shardTokens: 100_000, ...more };
      const shards = await writeTokenShards({
        ...{ ...options, tokenizer, outputDir },
        onProgress: (progress) => seen.push(progress),
      });
      const { bosTokenId, eosTokenIds, vocabSize } = tokenizer;
      const slow: CorpusTokenizer = {
        ...{ bosTokenId, eosTokenIds, vocabSize },
        encode: (text, how) => tokenizer.encode(text, how),
        idToToken: (id) => tokenizer.idToToken(id),
      };
      expect(await writeTokenShards({ ...options, tokenizer: slow, outputDir: plain })).toHaveLength(shards.length);
      expect(filesOf(outputDir)).toEqual(filesOf(plain));
      expect(shards.length).toBe(3);
      const last = seen.at(-1)!;
      expect(last.documents).toBe(shards.reduce((sum, shard) => sum + shard.documents, 0));
      expect(last.tokens).toBe(shards.reduce((sum, shard) => sum + shard.tokens, 0));
      expect(last.bytes).toBeLessThanOrEqual(last.totalBytes);
    }
  });

  const big = write("big.txt", documents.join("\n\n").repeat(6));

  it.runIf(saysTurns)("does not block the event loop", async () => {
    let run = 0;
    const work = () => writeTokenShards({ files: big, tokenizer, outputDir: join(folder, `big-${run++}`) });
    const longest = await leastOf(MAX_TURN, () => longestTurn(work), 3);
    expect(longest).toBeLessThan(MAX_TURN);
  });

  it("leaves no partial shard after an abort or error", async () => {
    const controller = new AbortController();
    const outputDir = join(folder, "aborted");
    const run = writeTokenShards({
      ...{ files: big, tokenizer, outputDir, signal: controller.signal, shardTokens: 200_000 },
      onShard: () => controller.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: "ABORTED" });
    expect(readdirSync(outputDir).sort()).toEqual(["shard-00000.tokens", "shards.json"]);
    const failing: CorpusTokenizer = {
      ...{ vocabSize: 10, encode: () => [1] },
      encodeBatch: () => Promise.reject(new Error("boom")),
    };
    const broken = join(folder, "broken");
    await expect(writeTokenShards({ files: big, tokenizer: failing, outputDir: broken })).rejects.toThrow("boom");
    expect(readdirSync(broken)).toEqual(["shards.json"]);
  });
});
