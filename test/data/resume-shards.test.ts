// A run interrupted anywhere and resumed writes the same token shards as an uninterrupted run.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { writeTokenShards } from "../../lib/data/token-shards/write-token-shards.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { left } from "../helpers/left.ts";
import { temporaryFolder } from "./helpers.ts";

const { write, folder } = temporaryFolder();
const documents = Array.from(
  { length: 4000 },
  (_, i) => `Document ${i}: ${"naïve 日本語 lorem ipsum ".repeat(i % 17)}end.`,
);
const files = [write("a.txt", documents.join("\n\n")), write("b.jsonl", `{"text":"${documents[7]}"}\n{"text":"b"}`)];
const tokenizer = await Tokenizer.train(documents, { vocabSize: 500 });
const namesIn = (path: string) => readdirSync(path).filter((name) => name.endsWith(".tokens"));
/** Names and digests, because matchers compare bytes slowly. */
const shardsIn = (path: string) =>
  namesIn(path).map((name) => {
    const digest = createHash("sha256").update(readFileSync(join(path, name)));
    return [name, digest.digest("hex")] as const;
  });

describe.each([
  ["in order", {}],
  ["shuffled", { shuffle: true, seed: 3, shuffleBytes: 50_000 }],
])("a resumed run, %s,", (name, more) => {
  const options = { files, tokenizer, shardTokens: 20_000, ...more };

  it("continues after any number of shards", async () => {
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
      // It does not matter whether the interrupted run was itself resumed.
      const first = writeTokenShards({ ...options, outputDir, resume: kept % 2 === 0, signal: abort.signal, onShard });
      if (kept < shards.length) await expect(first).rejects.toMatchObject({ code: "ABORTED" });
      else await first.catch(() => {});
      expect(namesIn(outputDir)).toHaveLength(kept);
      writeFileSync(join(outputDir, left(".shard-00009.tokens", ".tmp")), "what a killed run leaves");
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

  it("rejects a folder written with other options or files", async () => {
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
    await writeTokenShards({ ...options, outputDir }); // starts over without resuming
  });
});

describe("a folder with shards of earlier runs", () => {
  const other = write("other.txt", documents.map((text) => `Other ${text}`).join("\n\n"));
  const options = { files: files[0]!, tokenizer, shardTokens: 20_000 };
  /** Writes `count` shards, then aborts. */
  const begin = async (more: object, outputDir: string, count: number) => {
    const abort = new AbortController();
    let seen = 0;
    const onShard = () => ++seen === count && abort.abort();
    await expect(
      writeTokenShards({ ...options, outputDir, signal: abort.signal, onShard, ...more }),
    ).rejects.toMatchObject({ code: "ABORTED" });
  };

  it("can resume only the last run, and keeps only its shards", async () => {
    const wholeOther = join(folder, "other whole");
    const count = (await writeTokenShards({ ...options, files: other, outputDir: wholeOther })).length;
    for (const kept of [1, 2]) {
      const outputDir = join(folder, `several ${kept}`);
      await writeTokenShards({ ...options, outputDir, resume: true });
      const mine = shardsIn(outputDir);
      await begin({ files: other }, outputDir, kept);
      expect(namesIn(outputDir)).toHaveLength(kept);
      expect(shardsIn(outputDir)).toEqual(shardsIn(wholeOther).slice(0, kept));
      await expect(writeTokenShards({ ...options, outputDir, resume: true })).rejects.toMatchObject({
        ...{ code: "INVALID_ARGUMENT", message: expect.stringMatching(/same sources/u) },
      });
      const again = await writeTokenShards({ ...options, files: other, outputDir, resume: true });
      expect(again).toHaveLength(count);
      expect(shardsIn(outputDir)).toEqual(shardsIn(wholeOther));
      await writeTokenShards({ ...options, outputDir });
      expect(shardsIn(outputDir)).toEqual(mine);
    }
  });

  it("does not reuse older shards if the interrupted run had completed none", async () => {
    const outputDir = join(folder, "ended early");
    await writeTokenShards({ ...options, files: other, outputDir });
    // The folder now has shards of another corpus, with the names that the shards of the next runs have.
    const abort = new AbortController();
    abort.abort();
    await expect(writeTokenShards({ ...options, outputDir, signal: abort.signal })).rejects.toThrow();
    let written = 0;
    const shards = await writeTokenShards({ ...options, outputDir, resume: true, onShard: () => written++ });
    expect(written).toBe(shards.length);
    const whole = join(folder, "ended early whole");
    await writeTokenShards({ ...options, outputDir: whole });
    expect(shardsIn(outputDir)).toEqual(shardsIn(whole));
  });

  it("gets new shards from the first missing one on", async () => {
    const outputDir = join(folder, "removed");
    await writeTokenShards({ ...options, outputDir });
    const whole = shardsIn(outputDir);
    rmSync(join(outputDir, "shard-00002.tokens"));
    let written = 0;
    await writeTokenShards({ ...options, outputDir, resume: true, onShard: () => written++ });
    expect(written).toBe(whole.length - 2);
    expect(shardsIn(outputDir)).toEqual(whole);
  });

  it("is rejected as the outputDir of a run that reads it, also through a symbolic link", async () => {
    const outputDir = join(folder, "own source");
    await writeTokenShards({ ...options, outputDir });
    const before = shardsIn(outputDir);
    symlinkSync(outputDir, join(folder, "link to it"), "dir");
    for (const to of [outputDir, join(folder, "link to it")])
      await expect(writeTokenShards({ ...options, files: outputDir, outputDir: to })).rejects.toThrow(/outputDir/u);
    expect(shardsIn(outputDir)).toEqual(before);
  });
});

describe("the identity of a run", () => {
  const options = { files, tokenizer, shardTokens: 60_000 };

  it("does not change if defaults are given explicitly", async () => {
    const outputDir = join(folder, "defaults");
    const spelled = { documentSeparator: "blank-line", textField: "text", shuffle: false, shuffleBytes: 64 * 2 ** 20 };
    const first = await writeTokenShards({ ...options, outputDir });
    // Without shuffling, the seed does not matter.
    for (const more of [{ ...spelled, seed: 7 }, {}])
      expect(await writeTokenShards({ ...options, ...more, outputDir, resume: true })).toEqual(first);
    for (const more of [
      { documentSeparator: "line" },
      { textField: "t" },
      { shuffle: true },
      { shuffleBytes: 2 ** 16 },
    ])
      await expect(writeTokenShards({ ...options, ...more, outputDir, resume: true })).rejects.toThrow(/same options/u);
  });

  it("depends on the files in a folder, not on the folder", async () => {
    const source = join(folder, "source");
    await writeTokenShards({ ...options, outputDir: source });
    const outputDir = join(folder, "from a folder");
    const work = { ...options, files: source, outputDir, resume: true };
    const shards = await writeTokenShards(work);
    writeFileSync(join(source, "notes.txt"), "moves the folder's own time");
    utimesSync(source, 1, 1);
    expect(await writeTokenShards(work)).toEqual(shards);
    utimesSync(join(source, "shard-00000.tokens"), 1, 1);
    await expect(writeTokenShards(work)).rejects.toThrow(/same sources/u);
    // The same number of files, one with another size.
    await writeTokenShards({ ...work, resume: false });
    const name = readdirSync(source).find((file) => file.endsWith("2.tokens"))!;
    const { atime, mtime } = statSync(join(source, name));
    writeFileSync(join(source, name), readFileSync(join(source, "shard-00001.tokens")));
    utimesSync(join(source, name), atime, mtime);
    await expect(writeTokenShards(work)).rejects.toThrow(/same sources/u);
  });

  it("is rejected if its record in shards.json is invalid", async () => {
    const outputDir = join(folder, "record");
    await writeTokenShards({ ...options, outputDir });
    const path = join(outputDir, "shards.json");
    const record = JSON.parse(readFileSync(path, "utf8"));
    for (const finished of [undefined, -1, 0.5, "2"]) {
      writeFileSync(path, JSON.stringify({ ...record, finished }));
      await expect(writeTokenShards({ ...options, outputDir, resume: true })).rejects.toMatchObject({
        code: "INVALID_FILE",
      });
    }
    for (const text of ["null", "[]", "3"]) {
      writeFileSync(path, text);
      await expect(writeTokenShards({ ...options, outputDir, resume: true })).rejects.toThrow(/same sources/u);
    }
  });
});

it("a run survives repeated kill -9", async () => {
  const own = join(folder, "model");
  await tokenizer.save(own);
  const text = write("big.txt", documents.join("\n\n").repeat(12));
  const outputDir = join(folder, "killed");
  mkdirSync(outputDir);
  const cli = fileURLToPath(new URL("../../lib/cli/main.ts", import.meta.url));
  const jiti = fileURLToPath(new URL("../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
  const args = ["tokenize", "--model", own, "--file", text, "--to-shards", outputDir, "--shard-tokens", "60000"];
  let kills = 0;
  for (let run = 0; run < 40; run++) {
    const before = namesIn(outputDir).length;
    // The first run starts without --resume.
    const child = spawn(process.execPath, [jiti, cli, ...args, ...(run > 0 ? ["--resume"] : [])], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const closed = once(child, "close");
    const timer = setInterval(() => {
      if (run < 5 && namesIn(outputDir).length > before + 1) child.kill("SIGKILL");
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
});

describe.runIf(process.platform === "linux")("the second of two concurrent runs into one folder", () => {
  it("is rejected and does not affect the first", async () => {
    const outputDir = join(folder, "two");
    let second: Promise<unknown> | undefined;
    const other = { files: [files[1]!], tokenizer, outputDir, shardTokens: 20_000 };
    const onShard = () => {
      second ??= writeTokenShards(other).catch((error: unknown) => error);
    };
    const shards = await writeTokenShards({ files, tokenizer, outputDir, shardTokens: 20_000, onShard });
    expect(await second).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: `outputDir: expected a folder that no other run writes, got ${outputDir}`,
    });
    expect(namesIn(outputDir)).toHaveLength(shards.length);
    const alone = join(folder, "alone");
    await writeTokenShards({ files, tokenizer, outputDir: alone, shardTokens: 20_000 });
    expect(shardsIn(outputDir)).toEqual(shardsIn(alone));
    expect(await writeTokenShards(other)).toHaveLength(1); // the lock was released
  });
});
