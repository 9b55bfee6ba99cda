// Commands on model files, tested by the built bin entry in a separate process. `npm test` builds it first.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { folder, heddle, json, model, refused } from "./tiny.ts";

describe("eval, convert, info", () => {
  test("eval prints perplexity", async () => {
    const [result] = await json(["eval", "--model", model, "--file", "corpus.txt", "--task", "perplexity"]);
    expect(Object.keys(result!).sort()).toEqual(["bitsPerByte", "nll", "perplexity", "tokens"]);
    expect(result!.perplexity).toBeCloseTo(Math.exp(result!.nll), 6);
    expect(await refused(["eval", "--model", model])).toContain("--file");
    expect(await refused(["eval", "--model", model, "--file", "corpus.txt", "--task", "quiz"])).toContain("--task");
  });

  test("eval splits a text file into documents, as in pre-training", async () => {
    await writeFile(join(folder, "documents.txt"), "The cat sat.\n\nA dog ran.\n\n\nThe sun is warm.\n");
    await writeFile(
      join(folder, "documents.jsonl"),
      ["The cat sat.", "A dog ran.", "The sun is warm."].map((text) => JSON.stringify(text)).join("\n"),
    );
    const args = (name: string, ...more: string[]) => ["eval", "--file", name, "--model", model, ...more];
    const [apart] = await json(args("documents.txt", "--document-separator", "blank-line"));
    const [rows] = await json(args("documents.jsonl"));
    const [whole] = await json(args("documents.txt"));
    expect(apart).toEqual(rows);
    expect(whole!.tokens).toBeGreaterThan(apart!.tokens);
    expect(await refused(args("documents.jsonl", "--document-separator", "line"))).toContain(
      "--document-separator: expected a text file, got documents.jsonl",
    );
  });

  test("convert writes GGUF from safetensors and vice versa", async () => {
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
    expect(await refused(["convert", model, gguf, "--dtype", "Q4_K_M"])).toContain(
      "--dtype: expected a plain type (f32, f16, bf16, fp8, q8_0, q4_0, q4_k or q6_k), got q4_k_m",
    );
    const [small, capital] = [join(folder, "small.gguf"), join(folder, "capital.gguf")];
    await json(["convert", model, small, "--dtype", "q8_0"]);
    await json(["convert", model, capital, "--dtype", "Q8_0"]);
    expect(Buffer.compare(await readFile(small), await readFile(capital))).toBe(0);
    expect(await refused(["convert", model])).toContain("expected IN OUT");
  });

  test("info describes the machine and a model", async () => {
    const [machine] = await json(["info"]);
    expect(machine!.devices[0]).toMatchObject({ name: "cpu" });
    expect(machine!.instructionSets.supported).toContain(machine!.instructionSets.used);
    const [own] = await json(["info", "--model", model]);
    expect(own).toMatchObject({ architecture: "LlamaForCausalLM", context: 128, modelCard: null });
    await using loaded = await LanguageModel.load(model);
    expect(own!.parameters).toBe(loaded.model.parameterCount);
    expect(own!.bytes).toBe(loaded.model.weightBytes);
    const { code, stdout } = await heddle(["info", "--model", model]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^This machine\n {2}heddle +\d.*\n\nModel\n.*\n {2}context +128 tokens\n/s);
    expect(stdout).not.toMatch(/[{}[\]]/);
  });
});
