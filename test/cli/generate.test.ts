// Tests the built bin entry in a separate process. `npm test` builds it first.
import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { command as generateCommand } from "../../lib/cli/commands/generate.ts";
import { Output } from "../../lib/cli/terminal/output.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { tinyModel } from "../inference/helpers.ts";
import { folder, heddle, json, model, modelWithoutTokenizer, refused } from "./tiny.ts";

describe("generate", () => {
  test("--json prints one object; without it, the command prints the text", async () => {
    const args = ["generate", "The cat", "--model", model, "--max-tokens", "6", "--temperature", "0", "--ignore-eos"];
    const [result, ...rest] = await json(args);
    expect(rest).toEqual([]);
    expect(Object.keys(result!).sort()).toEqual(
      [
        "text",
        "tokens",
        "logprobs",
        "promptTokens",
        "cachedTokens",
        "completionTokens",
        "finishReason",
        "timings",
      ].sort(),
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
    // The final line break of standard input is not part of the prompt.
    for (const input of ["The cat", "The cat\n", "The cat\r\n"]) {
      const [read] = await json(args.with(1, "-"), input);
      expect(read).toMatchObject({ tokens: wanted.tokens, promptTokens: wanted.usage.promptTokens });
    }
  });

  test("disposes the model if the one of --assistant-model cannot be loaded", async () => {
    const dispose = vi.spyOn(LanguageModel.prototype, "dispose");
    onTestFinished(() => dispose.mockRestore());
    const options = { model, "assistant-model": join(folder, "missing") };
    const out = new Output(true);
    await expect(generateCommand.run({ options, positionals: ["The cat"], out })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    expect(dispose).toHaveBeenCalledTimes(1);
  });

  test("--num-beams runs a beam search and rejects sampling options", async () => {
    const args = ["generate", "The cat", "--model", model, "--max-tokens", "6", "--num-beams", "3"];
    const [result] = await json([...args, "--length-penalty", "-0.5", "--early-stopping", "never"]);
    await using loaded = await LanguageModel.load(model);
    const beams = { numBeams: 3, lengthPenalty: -0.5, earlyStopping: "never", maxTokens: 6 } as const;
    const wanted = await loaded.complete("The cat", beams);
    expect(result).toMatchObject({ text: wanted.text, tokens: wanted.tokens, score: wanted.score });
    const plain = await loaded.complete("The cat", { numBeams: 3, maxTokens: 6 });
    expect((await heddle(args)).stdout.trimEnd()).toBe(plain.text.trimEnd());
    expect(await refused([...args, "--top-k", "3"], { json: false })).toContain(
      "--top-k: cannot be combined with numBeams 3",
    );
    expect(await refused([...args, "--early-stopping", "soon"], { json: false })).toContain(
      '--early-stopping: expected true|false|never, got "soon"',
    );
  });

  test("--json-schema and --json-object constrain the answer, and an invalid schema is rejected before a model is loaded", async () => {
    const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
    await writeFile(join(folder, "schema.json"), JSON.stringify(schema));
    const args = ["generate", "The cat", "--model", model, "--max-tokens", "60", "--seed", "1"];
    const [inline] = await json([...args, "--json-schema", JSON.stringify(schema)]);
    expect(inline!.finishReason).toBe("stop");
    expect(Object.keys(JSON.parse(inline!.text))).toEqual(["ok"]);
    const [file] = await json([...args, "--json-schema", "schema.json"]);
    expect(file!.tokens).toEqual(inline!.tokens);
    expect((await heddle([...args, "--json-object"])).stdout).toMatch(/^\{/);
    const broken = ["generate", "x", "--model", "nowhere"];
    expect(await refused([...broken, "--json-schema", '{"not":{}}'])).toContain(
      "schema#/not: this keyword is not supported",
    );
    expect(await refused([...broken, "--json-schema", "{"])).toMatch(
      /--json-schema: expected JSON or a JSON file, got text that is not JSON \(.+\)$/m,
    );
    expect(await refused([...broken, "--json-schema", "absent.json"])).toContain("absent.json");
    expect(await refused([...broken, "--json-schema", "{}", "--json-object"])).toContain(
      "--json-object: cannot be combined with --json-schema",
    );
  });

  test("--token-ids needs no tokenizer", async () => {
    const args = [
      "generate",
      "--model",
      modelWithoutTokenizer,
      "--token-ids",
      "1,2, 3",
      "--max-tokens",
      "4",
      "--temperature",
      "0",
      "--ignore-eos",
    ];
    const [result] = await json([...args, "--logprobs", "2"]);
    expect(await refused([...args, "--logprobs", "2"], { json: false })).toContain("--logprobs: requires --json");
    expect(result).toMatchObject({ text: "", promptTokens: 3, completionTokens: 4 });
    expect(result!.tokens).toHaveLength(4);
    expect(result!.top.map((row: object[]) => row.length)).toEqual([2, 2, 2, 2]);
    expect(result!.top[0][0]).toMatchObject({ token: result!.tokens[0] });
    expect((await heddle(args)).stdout.trim()).toBe(result!.tokens.join(" "));
  });

  test("--file answers its rows in order, and with --deterministic each answer equals that of its prompt alone", async () => {
    const rows = [{ prompt: "The cat" }, { prompt: [5, 6, 7] }, { prompt: "The dog saw the sea and" }];
    await writeFile(join(folder, "prompts.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const args = ["--model", model, "--max-tokens", "5", "--seed", "4", "--ignore-eos", "--deterministic"];
    const all = await json(["generate", "--file", "prompts.jsonl", ...args]);
    expect(all).toHaveLength(3);
    for (const [i, prompt] of [["The cat"], ["--token-ids", "5,6,7"], ["The dog saw the sea and"]].entries()) {
      const [alone] = await json(["generate", ...prompt, ...args]);
      const { timings: _, ...expected } = alone!;
      expect(all[i], prompt.join(" ")).toMatchObject(expected);
    }
    const text = await heddle(["generate", "--file", "prompts.jsonl", ...args]);
    expect(text.stdout).toBe(all.map((row) => `${row.text}\n`).join(""));
    expect(await refused(["generate", "x", "--file", "prompts.jsonl", "--model", model])).toContain(
      "--file: cannot be combined with a prompt",
    );
    await writeFile(join(folder, "prompts.jsonl"), '{"prompt":""}\n');
    expect(await refused(["generate", "--file", "prompts.jsonl", "--model", model])).toContain(
      "prompts.jsonl:1: prompt: expected a text or an array of token ids",
    );
  });

  test("the same seed gives the same answer, and options reach the sampler", async () => {
    const args = [
      "generate",
      "--model",
      modelWithoutTokenizer,
      "--token-ids",
      "5",
      "--max-tokens",
      "9",
      "--ignore-eos",
    ];
    const tokens = async (...more: string[]) => (await json([...args, ...more]))[0]!.tokens;
    expect(await tokens("--seed", "4")).toEqual(await tokens("--seed=4"));
    expect(await tokens("--seed", "1", "--temperature", "5")).not.toEqual(
      await tokens("--seed", "2", "--temperature", "5"),
    );
    expect(await tokens("--top-k", "1")).toEqual(await tokens("--temperature", "0"));
    expect(new Set(await tokens("--temperature", "0", "--repetition-penalty", "1e9")).size).toBe(9);
  });

  test("rejects invalid arguments with a one-line message and exit code 2", async () => {
    const generate = (...args: string[]) => refused(["generate", "--model", modelWithoutTokenizer, ...args]);
    expect(await generate("--token-ids", "1", "--temprature", "1")).toContain(
      "--temprature: expected a known option (nearest: --temperature)",
    );
    expect(await generate("--token-ids", "1", "--temperature", "-1")).toContain(
      "--temperature: expected a number of at least 0, got -1",
    );
    expect(await generate("--token-ids", "1", "--max-tokens", "many")).toContain(
      '--max-tokens: expected a whole number, got "many"',
    );
    expect(await generate("--token-ids", "1", "--max-tokens")).toContain("--max-tokens: expected a value");
    expect(await generate("--token-ids", "1,x")).toContain("--token-ids: expected whole numbers such as 1,2,3");
    expect(await generate("--token-ids", "320")).toContain("expected a whole number from 0 to 319");
    expect(await generate("--token-ids", "1", "--max-tokens", "129")).toContain("got 129");
    expect(await generate("text")).toContain("has no tokenizer");
    expect(await refused(["generate", "--model", modelWithoutTokenizer, "text"], { json: false })).toBe(
      await generate("text"),
    );
    expect(await generate()).toContain("expected a text or --token-ids, got none");
    expect(await generate("a", "b")).toContain("expected PROMPT");
    expect(await generate("--token-ids", "1", "--device", "cuda:99")).toContain("cuda");
    expect(await generate("--token-ids", "1", "--dtype", "q4")).toContain(
      "--dtype: expected auto, f32, bf16, f16, q8_0, q4_0, q4_k or q6_k",
    );
    expect(await generate("--token-ids", "1", "--json=x")).toContain("--json: expected no value");
    expect(await generate("--token-ids", "1", "--seed", "1", "--seed", "2")).toContain(
      "--seed: expected once, got twice",
    );
  });

  test("names the missing or broken file of a model that does not load", async () => {
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
  test("prints float32 numbers by position", async () => {
    await using loaded = await LanguageModel.load(modelWithoutTokenizer);
    const wanted = await loaded.logits([1, 2, 3]);
    const [all] = await json(["logits", "--model", modelWithoutTokenizer, "--token-ids", "1,2,3", "--dtype", "f32"]);
    expect(all!.logits.map((row: number[]) => Float32Array.from(row))).toEqual(wanted);
    const [last] = await json(["logits", "--model", modelWithoutTokenizer, "--token-ids", "1,2,3", "--last"]);
    expect(last!.logits).toHaveLength(1);
    expect(last!.logits[0]).toHaveLength(320);
  });
});
