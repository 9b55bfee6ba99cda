// Tests the built bin entry in a separate process. `npm test` builds it first.
import { once } from "node:events";
import { existsSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { openCorpus } from "../../lib/data/corpus.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { tinyTokenizer } from "../inference/helpers.ts";
import { folder, heddle, json, model, modelWithoutTokenizer, refused, start } from "./tiny.ts";

/** Returns the size in bytes of the copy of standard input that a process holds open in `target`. 0 if there is none. */
function bytesOfCopy(pid: number, target: string): number {
  const descriptors = `/proc/${pid}/fd`;
  for (const name of readdirSync(descriptors)) {
    try {
      const path = join(descriptors, name);
      // The link in /proc shows the path of the file even after it is unlinked.
      if (readlinkSync(path).startsWith(join(realpathSync(target), ".stdin"))) return statSync(path).size;
    } catch {
      // The descriptor was closed, or the folder `target` does not exist yet.
    }
  }
  return 0;
}

describe("tokenize", () => {
  test("encodes a text", async () => {
    const tokenizer = await tinyTokenizer();
    const [result] = await json(["tokenize", "The cat", "--model", model]);
    const ids = Array.from(tokenizer.encode("The cat"));
    expect(result).toEqual({ ids, tokens: ids.map((id) => tokenizer.idToToken(id)), count: ids.length });
    expect(await json(["tokenize", "-", "--model", model], "The cat\n")).toEqual([result]);
    const [lines] = await json(["tokenize", "-", "--model", model], "a\n\n");
    expect(lines!.ids).toEqual([...tokenizer.encode("a\n")]);
  });

  test("prints one object per line of a file, and splits lines only at \\n", async () => {
    const tokenizer = await tinyTokenizer();
    const lines = ["The cat", "", "a\r", "b\u2028c", "日本"];
    await writeFile(join(folder, "lines.txt"), `${lines.join("\n")}\n`);
    await writeFile(join(folder, "lines.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const wanted = lines.map((line) => Array.from(tokenizer.encode(line, { addSpecialTokens: false })));
    for (const file of [["lines.txt"], ["lines.jsonl", "--jsonl"]]) {
      const results = await json(["tokenize", "--model", model, "--no-special-tokens", "--file", ...file]);
      expect(results.map((r) => r.ids)).toEqual(wanted);
      expect(results.every((r) => r.count === r.ids.length && r.tokens.length === r.count)).toBe(true);
    }
    await writeFile(join(folder, "bad.jsonl"), '"a"\n{}\n');
    const bad = await heddle(["tokenize", "--model", model, "--jsonl", "--file", "bad.jsonl"]);
    expect([bad.code, bad.stderr]).toEqual([2, "heddle: bad.jsonl:2: expected a JSON string, got another value\n"]);
  });

  test("writes token shards that pre-training reads", async () => {
    await writeFile(
      join(folder, "stories.jsonl"),
      ["The cat sat.", "A dog."].map((s) => `{"story":"${s}"}`).join("\n"),
    );
    const args = ["tokenize", "--model", model, "--file", "stories.jsonl", "--to-shards", "shards"];
    const [shard] = await json([...args, "--text-field", "story"]);
    expect(shard).toMatchObject({ path: join("shards", "shard-00000.tokens"), documents: 2, bytes: 18 });
    // Resuming a finished run prints its existing shard.
    expect(await json([...args, "--text-field", "story", "--resume"])).toEqual([shard]);
    const shape = { tokenizer: await tinyTokenizer(), maxSeqLength: 8, batchSize: 2, shuffle: false };
    using stored = await openCorpus({ ...shape, files: join(folder, "shards") });
    using text = await openCorpus({ ...shape, files: join(folder, "stories.jsonl"), textField: "story" });
    expect(await stored.next()).toEqual(await text.next());
    expect(await refused(args)).toContain("stories.jsonl:1");
    for (const [input, more] of [
      ["The cat sat.\n\nA dog.", []],
      [`{"text":"The cat sat."}\n{"text":"A dog."}`, ["--jsonl"]],
    ] as const) {
      const target = join(folder, `stdin${more.length}`);
      const read = await heddle(["tokenize", "--model", model, "--file", "-", "--to-shards", target, ...more], input);
      expect([read.code, read.stderr]).toEqual([0, ""]);
      expect((await readdir(target)).sort()).toEqual(["shard-00000.tokens", "shards.json"]);
      expect(await readFile(join(target, "shard-00000.tokens"))).toEqual(
        await readFile(join(folder, "shards", "shard-00000.tokens")),
      );
    }
    const wrong = await heddle([...args.slice(0, 4), "-", "--to-shards", "wrong", "--jsonl"], '{"text":"a"}\n{}\n');
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/^heddle: standard input:2: /u)]);
    expect(await refused(["tokenize", "x", "--model", model, "--to-shards", "d"])).toContain("--file");
    expect(await refused(["tokenize", "x", "--model", model, "--shuffle", "1"])).toContain("--to-shards");
  });

  test("a command that is killed while it reads standard input leaves no copy of the input", async () => {
    const args = ["tokenize", "--model", model, "--file", "-", "--to-shards", "killed"];
    const target = join(folder, "killed");
    const killed = start(args);
    killed.stdin.on("error", () => {});
    killed.stdin.write("The cat sat.\n\n".repeat(100_000));
    if (process.platform === "linux")
      await expect.poll(() => bytesOfCopy(killed.pid!, target), { timeout: 20_000 }).toBeGreaterThan(0);
    else {
      // Other systems do not show the open files of a process.
      await expect.poll(() => existsSync(target), { timeout: 20_000 }).toBe(true);
      await sleep(200);
    }
    killed.kill("SIGKILL");
    await once(killed, "close");
    if (process.platform === "win32") {
      // Windows does not unlink open files, so the copy remains. The next command removes it.
      expect((await heddle(args, "The cat sat.")).code).toBe(0);
      expect((await readdir(target)).filter((name) => name.startsWith(".stdin"))).toEqual([]);
    } else expect(await readdir(target)).toEqual([]);
  });

  test("accepts what tokenizer train writes, even a folder with only tokenizer.json", async () => {
    const out = join(folder, "trained");
    const [result] = await json(["tokenizer", "train", "corpus.txt", "--vocab-size", "300", "--out", out]);
    expect(result).toMatchObject({ vocabSize: 300, out });
    const unigram = ["--algorithm", "unigram", "--character-coverage", "1", "--report", "own=corpus.txt"];
    const [other] = await json([
      "tokenizer",
      "train",
      "corpus.txt",
      "--vocab-size",
      "290",
      ...unigram,
      "--out",
      `${out}2`,
    ]);
    expect(other!.report).toMatchObject([{ name: "own", unknown: 0 }]);
    expect(other!.report[0].bytesPerToken).toBeGreaterThan(1);
    expect(
      await refused(["tokenizer", "train", "corpus.txt", "--vocab-size", "290", "--report", "x", "--out", `${out}3`]),
    ).toContain("--report");
    await rm(join(out, "tokenizer_config.json"), { force: true });
    const [encoded] = await json(["tokenize", "The cat saw", "--model", out]);
    const trained = await Tokenizer.load(join(out, "tokenizer.json"));
    expect(encoded!.ids).toEqual([...trained.encode("The cat saw")]);
    expect(trained.decode(encoded!.ids)).toBe("The cat saw");
    // Some tokens have more than one byte.
    expect(encoded!.count).toBeLessThan("The cat saw".length);
    expect(await refused(["tokenizer", "train", "corpus.txt", "--vocab-size", "10", "--out", `${out}3`])).toContain(
      "--vocab-size",
    );
    expect(await refused(["tokenizer", "train", "none.txt", "--vocab-size", "300", "--out", `${out}3`])).toContain(
      "none.txt",
    );
  });

  test("rejects options that have no effect with --to-shards", async () => {
    await writeFile(join(folder, "rows.jsonl"), '{"text":"The cat"}\n');
    const shards = (file: string) => ["tokenize", "--model", model, "--to-shards", "none", "--file", file];
    for (const [args, option, expected] of [
      [[...shards("corpus.txt"), "--no-special-tokens"], "--no-special-tokens", "--to-shards"],
      [[...shards("corpus.txt"), "--allow-special"], "--allow-special", "--to-shards"],
      [[...shards("corpus.txt"), "--jsonl"], "--jsonl", "--to-shards"],
      [[...shards("-"), "--text-field", "story"], "--text-field", "--jsonl"],
      [[...shards("-"), "--jsonl", "--document-separator", "line"], "--document-separator", "--jsonl"],
      [[...shards("-"), "--resume"], "--resume", "standard input"],
    ] as const) {
      const message = await refused(args);
      expect(message).toMatch(`heddle: ${option}: `);
      expect(message).toContain(expected);
    }
    expect(existsSync(join(folder, "none"))).toBe(false);
    expect(await json([...shards("rows.jsonl"), "--jsonl"])).toMatchObject([{ documents: 1 }]);
  });

  test("keeps a byte-order mark, which `heddle logits` removes", async () => {
    const tokenizer = await tinyTokenizer();
    const [tokens] = await json(["tokenize", "-", "--model", model], "\ufeffThe cat\n");
    expect(tokens!.ids).toEqual([...tokenizer.encode("\ufeffThe cat")]);
    const logits = (text: string) => json(["logits", "-", "--model", model], text);
    expect(await logits("\ufeffThe cat\n")).toEqual(await logits("The cat\n"));
  });

  test("rejects invalid arguments", async () => {
    const shards = ["tokenize", "--file", "corpus.txt", "--model", model, "--to-shards", "refused"];
    expect(await refused([...shards, "--document-separator", ""])).toContain(
      '--document-separator: expected a text without line breaks, got ""',
    );
    expect(await refused(["tokenize", "--model", model])).toContain("expected TEXT or --file");
    expect(await refused(["tokenize", "x", "--jsonl", "--model", model])).toContain("--jsonl");
    expect(await refused(["tokenize", "x", "--model", modelWithoutTokenizer])).toContain("tokenizer.json");
    expect(await refused(["tokenize", "--file", "none", "--model", model])).toContain("none");
  });
});
