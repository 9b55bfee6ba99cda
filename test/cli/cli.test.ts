// The command line as programs see it: the built bin entry in a process of its own. `npm test` builds it first.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCorpus } from "../../lib/data/corpus.ts";
import { LanguageModel } from "../../lib/generate/index.ts";
import { sentences, tinyModel, tinyTokenizer } from "../generate/helpers.ts";

const bin = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
let folder: string;
let model: string;
let bare: string;

beforeAll(async () => {
  if (!existsSync(bin)) throw new Error("dist/cli/main.js: expected the built command, got none: run `npm run build`");
  folder = await mkdtemp(join(tmpdir(), "heddle-cli-"));
  model = join(folder, "model");
  bare = join(folder, "bare");
  await using withText = tinyModel({ tokenizer: await tinyTokenizer() });
  await withText.save(model);
  await using without = tinyModel();
  await without.save(bare);
  await writeFile(join(folder, "corpus.txt"), `${sentences.join("\n")}\n`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

function start(args: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [bin, ...args], { cwd: folder });
}

function heddle(args: readonly string[], stdin = ""): Promise<Result> {
  const child = start(args);
  const result: Result = { code: null, stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    result.stderr += text;
  });
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ ...result, code }));
  });
}

/** The objects on stdout: each on exactly one line. */
// biome-ignore lint/suspicious/noExplicitAny: the tests say what the fields are
async function json(args: readonly string[]): Promise<Record<string, any>[]> {
  const { code, stdout, stderr } = await heddle([...args, "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.endsWith("\n")).toBe(true);
  return stdout
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** The line on stderr of a command that is refused with code 2; `json` or not makes no difference. */
async function refused(args: readonly string[], json = true): Promise<string> {
  const { code, stdout, stderr } = await heddle(json ? [...args, "--json"] : args);
  expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: "" });
  expect(stderr).toMatch(/^heddle: [^\n]+\n$/);
  return stderr;
}

describe("generate", () => {
  test("--json", async () => {
    const args = ["generate", "The cat", "--model", model, "--max-tokens", "6", "--temperature", "0", "--ignore-eos"];
    const [result, ...rest] = await json(args);
    expect(rest).toEqual([]);
    expect(Object.keys(result!).sort()).toEqual(
      ["text", "tokens", "logprobs", "promptTokens", "completionTokens", "finishReason", "timings"].sort(),
    );
    expect(Object.keys(result!.timings).sort()).toEqual(
      ["loadMs", "prefillTokensPerSecond", "decodeTokensPerSecond", "timeToFirstTokenMs"].sort(),
    );
    for (const value of Object.values(result!.timings)) expect(value).toBeGreaterThan(0);
    await using loaded = await LanguageModel.load(model);
    const wanted = await loaded.complete("The cat", { maxTokens: 6, temperature: 0, ignoreEos: true });
    expect(result).toMatchObject({ text: wanted.text, tokens: wanted.tokens, finishReason: "length" });
    expect(result!.logprobs.map(Math.fround)).toEqual(wanted.logprobs);
    expect(result!.promptTokens).toBe(wanted.usage.promptTokens);
    expect(result!.completionTokens).toBe(6);
    // Without --json the text streams.
    expect((await heddle(args)).stdout.trimEnd()).toBe(wanted.text.trimEnd());
    expect((await heddle(args.with(1, "-"), "The cat")).stdout.trimEnd()).toBe(wanted.text.trimEnd());
  });

  test("--token-ids needs no tokenizer", async () => {
    const args = [
      "generate",
      "--model",
      bare,
      "--token-ids",
      "1,2, 3",
      "--max-tokens",
      "4",
      "--temperature",
      "0",
      "--ignore-eos",
    ];
    const [result] = await json([...args, "--logprobs", "2"]);
    expect(result).toMatchObject({ text: "", promptTokens: 3, completionTokens: 4 });
    expect(result!.tokens).toHaveLength(4);
    expect(result!.top.map((row: object[]) => row.length)).toEqual([2, 2, 2, 2]);
    expect(result!.top[0][0]).toMatchObject({ token: result!.tokens[0] });
    expect((await heddle(args)).stdout.trim()).toBe(result!.tokens.join(" "));
  });

  test("--file: rows computed together, in order; --deterministic: each as alone", async () => {
    const rows = [{ prompt: "The cat" }, { prompt: [5, 6, 7] }, { prompt: "The dog saw the sea and" }];
    await writeFile(join(folder, "prompts.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const args = ["--model", model, "--max-tokens", "5", "--seed", "4", "--ignore-eos", "--deterministic"];
    const all = await json(["generate", "--file", "prompts.jsonl", ...args]);
    expect(all).toHaveLength(3);
    const [alone] = await json(["generate", "The dog saw the sea and", ...args]);
    const { timings: _, ...expected } = alone!;
    expect(all[2]).toMatchObject(expected);
    const text = await heddle(["generate", "--file", "prompts.jsonl", ...args]);
    expect(text.stdout).toBe(all.map((row) => `${row.text}\n`).join(""));
    expect(await refused(["generate", "x", "--file", "prompts.jsonl", "--model", model])).toContain("got both");
    await writeFile(join(folder, "prompts.jsonl"), '{"prompt":""}\n');
    expect(await refused(["generate", "--file", "prompts.jsonl", "--model", model])).toContain(
      "prompts.jsonl:1: prompt: expected a text or an array of token ids",
    );
  });

  test("a seed repeats, options reach the sampler", async () => {
    const args = ["generate", "--model", bare, "--token-ids", "5", "--max-tokens", "9", "--ignore-eos"];
    const tokens = async (...more: string[]) => (await json([...args, ...more]))[0]!.tokens;
    expect(await tokens("--seed", "-4")).toEqual(await tokens("--seed=-4"));
    expect(await tokens("--seed", "1", "--temperature", "5")).not.toEqual(
      await tokens("--seed", "2", "--temperature", "5"),
    );
    expect(await tokens("--top-k", "1")).toEqual(await tokens("--temperature", "0"));
    expect(new Set(await tokens("--temperature", "0", "--repetition-penalty", "1e9")).size).toBe(9);
  });

  test("what is refused, on one line with code 2", async () => {
    const generate = (...args: string[]) => refused(["generate", "--model", bare, ...args]);
    expect(await generate("--token-ids", "1", "--temprature", "1")).toContain(
      "--temprature: expected a known option (nearest: --temperature)",
    );
    expect(await generate("--token-ids", "1", "--temperature", "-1")).toContain(
      "--temperature: expected a number of at least 0, got -1",
    );
    expect(await generate("--token-ids", "1", "--max-tokens", "many")).toContain(
      '--max-tokens: expected an integer, got "many"',
    );
    expect(await generate("--token-ids", "1", "--max-tokens")).toContain("--max-tokens: expected a value");
    expect(await generate("--token-ids", "1,x")).toContain("--token-ids: expected token ids such as 1,2,3");
    expect(await generate("--token-ids", "320")).toContain("expected an integer of 0 to 319");
    expect(await generate("--token-ids", "1", "--max-tokens", "129")).toContain("got 129");
    expect(await generate("text")).toContain("has no tokenizer");
    expect(await refused(["generate", "--model", bare, "text"], false)).toBe(await generate("text"));
    expect(await generate()).toContain("expected a text or --token-ids, got none");
    expect(await generate("a", "b")).toContain("expected PROMPT");
    expect(await generate("--token-ids", "1", "--device", "cuda:99")).toContain("cuda");
    expect(await generate("--token-ids", "1", "--dtype", "q4")).toContain("--dtype: expected auto, f32, bf16 or f16");
    expect(await generate("--token-ids", "1", "--json=x")).toContain("--json: expected no value");
    expect(await generate("--token-ids", "1", "--seed", "1", "--seed", "2")).toContain(
      "--seed: expected once, got twice",
    );
  });

  test("models that do not load", async () => {
    expect(await refused(["generate", "x", "--model", join(folder, "none")])).toContain("no such file");
    const broken = join(folder, "broken");
    await using tiny = tinyModel();
    await tiny.save(broken);
    const config = await readFile(join(broken, "config.json"));
    await writeFile(join(broken, "config.json"), "{");
    expect(await refused(["generate", "--token-ids", "1", "--model", broken])).toContain("config.json");
    await writeFile(join(broken, "config.json"), config);
    await truncate(join(broken, "model.safetensors"), 5000);
    expect(await refused(["generate", "--token-ids", "1", "--model", broken])).toContain("model.safetensors");
    await writeFile(join(broken, "model.gguf"), "GGUF");
    expect(await refused(["info", "--model", join(broken, "model.gguf")])).toContain("model.gguf");
  });
});

describe("logits", () => {
  test("float32 numbers, by position", async () => {
    await using loaded = await LanguageModel.load(bare);
    const wanted = await loaded.logits([1, 2, 3]);
    const [all] = await json(["logits", "--model", bare, "--token-ids", "1,2,3", "--dtype", "f32"]);
    expect(all!.logits.map((row: number[]) => Float32Array.from(row))).toEqual(wanted);
    const [last] = await json(["logits", "--model", bare, "--token-ids", "1,2,3", "--last"]);
    expect(last!.logits).toHaveLength(1);
    expect(last!.logits[0]).toHaveLength(320);
  });
});

describe("tokenize", () => {
  test("a text", async () => {
    const tokenizer = await tinyTokenizer();
    const [result] = await json(["tokenize", "The cat", "--model", model]);
    const ids = Array.from(tokenizer.encode("The cat"));
    expect(result).toEqual({ ids, tokens: ids.map((id) => tokenizer.idToToken(id)), count: ids.length });
  });

  test("a file: one object a line; lines end at \\n only", async () => {
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

  test("a corpus as token files, which pre-training reads", async () => {
    await writeFile(
      join(folder, "stories.jsonl"),
      ["The cat sat.", "A dog."].map((s) => `{"story":"${s}"}`).join("\n"),
    );
    const args = ["tokenize", "--model", model, "--file", "stories.jsonl", "--to-shards", "shards"];
    const [shard] = await json([...args, "--text-field", "story"]);
    expect(shard).toMatchObject({ path: join("shards", "shard-00000.tokens"), documents: 2, bytes: 18 });
    // A run that is whole already says what is there.
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
    // Killed while it takes standard input in, it leaves no copy of that.
    const killed = start([...args.slice(0, 4), "-", "--to-shards", "killed"]);
    killed.stdin.on("error", () => {});
    killed.stdin.write("The cat sat.\n\n".repeat(100_000));
    const target = join(folder, "killed");
    await expect.poll(() => existsSync(target), { timeout: 20_000 }).toBe(true);
    await sleep(200);
    killed.kill("SIGKILL");
    await once(killed, "close");
    expect(
      (await readdir(target)).filter((name) => process.platform !== "win32" || !name.startsWith(".stdin")),
    ).toEqual([]);
    const wrong = await heddle([...args.slice(0, 4), "-", "--to-shards", "wrong", "--jsonl"], '{"text":"a"}\n{}\n');
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/^heddle: standard input:2: /u)]);
    expect(await refused(["tokenize", "x", "--model", model, "--to-shards", "d"])).toContain("--file");
    expect(await refused(["tokenize", "x", "--model", model, "--shuffle", "1"])).toContain("--to-shards");
  });

  test("a folder that holds only tokenizer.json suffices; training makes one", async () => {
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
      await refused(["tokenizer", "train", "corpus.txt", "--vocab-size", "290", "--report", "x", "--out", out]),
    ).toContain("--report");
    await rm(join(out, "tokenizer_config.json"), { force: true });
    const [encoded] = await json(["tokenize", "The cat saw", "--model", out]);
    expect(encoded!.count).toBeLessThan(9);
    expect(await refused(["tokenizer", "train", "corpus.txt", "--vocab-size", "10", "--out", out])).toContain(
      "--vocab-size",
    );
    expect(await refused(["tokenizer", "train", "none.txt", "--vocab-size", "300", "--out", out])).toContain(
      "none.txt",
    );
  });

  test("what is refused", async () => {
    expect(await refused(["tokenize", "--model", model])).toContain("expected TEXT or --file");
    expect(await refused(["tokenize", "x", "--jsonl", "--model", model])).toContain("--jsonl");
    expect(await refused(["tokenize", "x", "--model", bare])).toContain("tokenizer.json");
    expect(await refused(["tokenize", "--file", "none", "--model", model])).toContain("none");
  });
});

describe("eval, convert, info", () => {
  test("perplexity", async () => {
    const [result] = await json(["eval", "--model", model, "--file", "corpus.txt", "--task", "perplexity"]);
    expect(Object.keys(result!).sort()).toEqual(["bitsPerByte", "nll", "perplexity", "tokens"]);
    expect(result!.perplexity).toBeCloseTo(Math.exp(result!.nll), 6);
    expect(await refused(["eval", "--model", model])).toContain("--file");
    expect(await refused(["eval", "--model", model, "--file", "corpus.txt", "--task", "quiz"])).toContain("--task");
  });

  test("there and back", async () => {
    const gguf = join(folder, "m.gguf");
    const [there] = await json(["convert", model, gguf, "--dtype", "f32"]);
    expect(there!.tensors).toBeGreaterThan(10);
    expect(there!.bytes).toBe((await readFile(gguf)).length);
    await json(["convert", gguf, join(folder, "back"), "--to", "safetensors"]);
    const args = ["--max-tokens", "5", "--temperature", "0", "--ignore-eos"];
    const texts = [];
    for (const path of [model, gguf, join(folder, "back")])
      texts.push((await json(["generate", "The dog", "--model", path, ...args]))[0]!.text);
    expect(new Set(texts).size).toBe(1);
    expect(await refused(["convert", model, gguf, "--dtype", "q9"])).toContain("--dtype");
    expect(await refused(["convert", model])).toContain("expected IN OUT");
  });

  test("info", async () => {
    const [machine] = await json(["info"]);
    expect(machine!.devices[0]).toMatchObject({ name: "cpu" });
    expect(machine!.instructionSets.supported).toContain(machine!.instructionSets.used);
    const [own] = await json(["info", "--model", model]);
    expect(own).toMatchObject({ architecture: "LlamaForCausalLM", context: 128, modelCard: null });
    await using loaded = await LanguageModel.load(model);
    expect(own!.parameters).toBe(loaded.model.parameterCount);
    expect(own!.bytes).toBe(loaded.model.weightBytes);
  });
});

describe("chat", () => {
  test("answers line by line", async () => {
    const args = ["chat", "--model", model, "--temperature", "0", "--max-tokens", "5", "--ignore-eos"];
    const { code, stdout } = await heddle([...args, "--json"], "The cat\n\nThe dog\n");
    expect(code).toBe(0);
    const answers = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(answers.map((a) => a.completionTokens)).toEqual([5, 5]);
    await using loaded = await LanguageModel.load(model);
    const options = { temperature: 0, maxTokens: 5, ignoreEos: true };
    const first = await loaded.complete("The cat", options);
    expect(answers[0].text).toBe(first.text);
    expect(answers[1].text).toBe((await loaded.complete(`The cat${first.text}\nThe dog`, options)).text);
  });

  test("--session goes on with a conversation", async () => {
    const file = join(folder, "conversation");
    const args = ["chat", "--model", model, "--temperature", "0", "--max-tokens", "5", "--ignore-eos", "--json"];
    const whole = (await heddle(args, "The cat\nThe dog\n")).stdout.trimEnd().split("\n");
    const parts = [];
    for (const line of ["The cat\n", "The dog\n"])
      parts.push((await heddle([...args, "--session", file, "--cache-dtype", "f32"], line)).stdout.trimEnd());
    const said = (line: string) => JSON.parse(line).text;
    expect(parts.map(said)).toEqual(whole.map(said));
    const { code, stderr } = await heddle([...args, "--session", file, "--system", "Be brief."], "x\n");
    expect([code, stderr]).toEqual([2, expect.stringContaining("--system: expected none")]);
    expect((await heddle([...args, "--cache-dtype", "q9"], "x\n")).stderr).toContain("f32, bf16, f16 or q8");
  });

  test("Ctrl-C stops the answer and not the program", async () => {
    const child = start(["chat", "--model", model, "--max-tokens", "1000000", "--ignore-eos"]);
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    const closed = new Promise((resolve) => child.on("close", resolve));
    const until = async (done: () => boolean) => {
      for (let i = 0; i < 800 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
      expect(done()).toBe(true);
    };
    for (const line of ["The cat", "The dog"]) {
      out = "";
      child.stdin.write(`${line}\n`);
      await until(() => out.length > 20); // by itself the answer would go on for minutes
      child.kill("SIGINT");
      await until(() => out.endsWith("\n"));
      const length = out.length;
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(out.length).toBe(length);
      expect(child.exitCode).toBe(null);
    }
    child.stdin.end();
    expect(await closed).toBe(0);
  });
});

describe("the program", () => {
  test("help and version", async () => {
    expect((await heddle([])).stdout).toContain("generate");
    expect((await heddle(["generate", "--help"])).stdout).toContain("--repetition-penalty");
    expect((await heddle(["tokenizer", "train", "-h"])).stdout).toContain("--vocab-size");
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect((await heddle(["--version"])).stdout).toBe(`${version}\n`);
  });

  test("unknown commands name the nearest", async () => {
    expect(await refused(["generat"])).toContain("nearest: generate");
    expect(await refused(["tokenizer", "trian"])).toContain("nearest: train");
    expect(await refused(["xyzzyxyzzy"])).toContain("one of generate, chat");
  });

  test("a reader that goes away is no failure", async () => {
    const child = start(["logits", "--model", bare, "--token-ids", "1,2,3,4,5,6,7,8", "--json"]);
    child.stdout.destroy();
    child.stdin.end();
    expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
  });

  test("options without a meaning in a command are refused, not passed over", async () => {
    expect(await refused(["convert", model, "out.gguf", "--model", model])).toContain("--model: expected the model as");
    expect(
      await refused(["tokenizer", "train", "corpus.txt", "--vocab-size", "300", "--out", "t", "--device", "gpu"]),
    ).toContain('--device: expected auto|cpu|cuda[:N], got "gpu"');
    expect((await heddle(["convert", "--help"])).stdout).not.toContain("--model");
  });

  test("messages name what was given: an option, or a key of the configuration file", async () => {
    expect(await refused(["generate", "x", "--model", model, "--logprobs", "-1"])).toContain("--logprobs: expected");
    await writeFile(join(folder, "none.json"), JSON.stringify({ maxSteps: 1 }));
    expect(await refused(["train", "pretrain", "--config", "none.json"])).toMatch(/^heddle: model: expected the path/);
    await writeFile(join(folder, "tokenizer.json"), "{}");
    expect(await refused(["tokenize", "x", "--model", "tokenizer.json"])).toMatch(/^heddle: tokenizer.json: model:/);
  });

  test("what a message quotes cannot move a terminal's cursor", async () => {
    await writeFile(join(folder, "evil.jsonl"), "\u001b[2J\u009b\n");
    expect(await refused(["embed", "--file", "evil.jsonl", "--model", model])).not.toMatch(/(?!\n)\p{Cc}/u);
  });

  test("a byte-order mark and \\r\\n are no part of a JSON line", async () => {
    await writeFile(join(folder, "mark.jsonl"), '\ufeff"The cat"\r\n"a"\r\n');
    const lines = await json(["tokenize", "--file", "mark.jsonl", "--jsonl", "--model", model]);
    expect(lines.map(({ count }) => count > 0)).toEqual([true, true]);
  });

  test.runIf(process.platform === "linux")("a stdout that takes nothing is one line and code 2", async () => {
    const full = await open("/dev/full", "w");
    try {
      const child = spawn(process.execPath, [bin, "tokenize", "--file", "corpus.txt", "--model", model], {
        cwd: folder,
        stdio: ["ignore", full.fd, "pipe"],
      });
      let said = "";
      child.stderr!.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      expect(await new Promise((resolve) => child.on("close", resolve))).toBe(2);
      expect(said).toBe("heddle: standard output: cannot be written: no space left on the disk\n");
    } finally {
      await full.close();
    }
  });
});
