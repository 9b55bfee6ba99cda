// Token shards of runs that were ended at any place and resumed: those of a run that nothing ended.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { writeTokenShards } from "../../lib/data/write-token-shards.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const documents = Array.from(
  { length: 4000 },
  (_, i) => `Document ${i}: ${"naïve 日本語 lorem ipsum ".repeat(i % 17)}end.`,
);
const files = [write("a.txt", documents.join("\n\n")), write("b.jsonl", `{"text":"${documents[7]}"}\n{"text":"b"}`)];
const tokenizer = await Tokenizer.train(documents, { vocabSize: 500 });
const shardsIn = (path: string) =>
  readdirSync(path)
    .filter((name) => name.endsWith(".tokens"))
    .map((name) => [name, readFileSync(join(path, name))] as const);

describe.each([
  ["in order", {}],
  ["shuffled", { shuffle: true, seed: 3, shuffleBytes: 50_000 }],
])("resume %s", (name, more) => {
  const options = { files, tokenizer, shardTokens: 20_000, ...more };

  it("goes on after any number of shards", async () => {
    const whole = join(folder, `${name} whole`);
    const shards = await writeTokenShards({ ...options, outputDir: whole });
    expect(shards.length).toBeGreaterThan(6);
    for (const kept of [0, 1, 4, shards.length - 1, shards.length]) {
      const outputDir = join(folder, `${name} ${kept}`);
      const abort = new AbortController();
      let seen = 0;
      const onShard = () => {
        if (++seen === kept) abort.abort();
      };
      if (kept === 0) abort.abort();
      const first = writeTokenShards({ ...options, outputDir, resume: true, signal: abort.signal, onShard });
      if (kept < shards.length) await expect(first).rejects.toMatchObject({ code: "ABORTED" });
      else await first.catch(() => {});
      expect(shardsIn(outputDir)).toHaveLength(kept);
      writeFileSync(join(outputDir, ".shard-00009.tokens.1.ab.tmp"), "what a killed run leaves");
      const told: number[] = [];
      const again = await writeTokenShards({
        ...{ ...options, outputDir, resume: true },
        onProgress: (progress) => told.push(progress.documents),
      });
      expect(again.map(({ path: _, ...rest }) => rest)).toEqual(shards.map(({ path: _, ...rest }) => rest));
      expect(shardsIn(outputDir)).toEqual(shardsIn(whole));
      expect(told.at(-1)).toBe(documents.length + 2);
      expect(readdirSync(outputDir).filter((file) => file.endsWith(".tmp"))).toEqual([]);
    }
  });

  it("refuses a folder of other work", async () => {
    const outputDir = join(folder, `${name} other`);
    await writeTokenShards({ ...options, outputDir, resume: true });
    const refused = (change: object) =>
      expect(writeTokenShards({ ...options, outputDir, resume: true, ...change })).rejects;
    await refused({ shardTokens: 30_000 }).toThrow(/same options/u);
    await refused({ files: files[0]! }).toThrow(/same sources/u);
    await refused({ tokenizer: await Tokenizer.train(["other"], { vocabSize: 300 }) }).toThrow(/same tokenizer/u);
    rmSync(join(outputDir, "shards.json"));
    await refused({}).toThrow(/shards\.json/u);
    writeFileSync(join(outputDir, "shards.json"), "{");
    await refused({}).toMatchObject({ code: "INVALID_FILE" });
    await writeTokenShards({ ...options, outputDir }); // anew, without resuming
  });
});

it("loses nothing to kill -9, again and again", async () => {
  const own = join(folder, "model");
  await tokenizer.save(own);
  const text = write("big.txt", documents.join("\n\n").repeat(12));
  const outputDir = join(folder, "killed");
  mkdirSync(outputDir);
  const cli = fileURLToPath(new URL("../../lib/cli/main.ts", import.meta.url));
  const jiti = fileURLToPath(new URL("../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
  const args = [
    "tokenize",
    "--model",
    own,
    "--file",
    text,
    "--to-shards",
    outputDir,
    "--shard-tokens",
    "60000",
    "--resume",
  ];
  let kills = 0;
  for (let run = 0; run < 40; run++) {
    const before = shardsIn(outputDir).length;
    const child = spawn(process.execPath, [jiti, cli, ...args], { stdio: ["ignore", "ignore", "inherit"] });
    const closed = once(child, "close");
    const timer = setInterval(() => {
      if (run < 5 && shardsIn(outputDir).length > before + 1) child.kill("SIGKILL");
    }, 2);
    const [code, signal] = await closed;
    clearInterval(timer);
    if (signal === "SIGKILL") kills++;
    else {
      expect(code).toBe(0);
      break;
    }
  }
  expect(kills).toBeGreaterThan(0);
  const whole = join(folder, "not killed");
  await writeTokenShards({ files: text, tokenizer: await Tokenizer.load(own), outputDir: whole, shardTokens: 60_000 });
  expect(shardsIn(outputDir)).toEqual(shardsIn(whole));
}, 120_000);
