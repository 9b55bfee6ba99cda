import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelCard } from "../../lib/formats/model-card.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { maxDifference } from "../helpers/max-difference.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-save-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const greedy = { maxTokens: 12, temperature: 0, ignoreEos: true };

const families = [
  ["llama", {}],
  ["mistral", { slidingWindow: 6, headDim: 10 }],
  ["qwen2", {}],
  ["qwen3", { headDim: 16 }],
  ["gemma", { numKeyValueHeads: 1 }],
  ["gemma2", { slidingWindow: 6, numHiddenLayers: 3 }],
  ["gemma3_text", { slidingWindow: 6, numHiddenLayers: 6 }],
  ["granite", {}],
  ["granitemoe", {}],
  ["olmo2", {}],
  ["olmo3", { slidingWindow: 6, numHiddenLayers: 4 }],
  ["phi3", { partialRotaryFactor: 0.5 }],
  ["smollm3", { numHiddenLayers: 4 }],
  ["qwen2_moe", {}],
  ["qwen3_moe", {}],
  ["mixtral", {}],
  ["olmoe", {}],
  ["gpt_oss", {}],
  ["gpt2", { numKeyValueHeads: 4, intermediateSize: 128 }],
] as const;

describe.each(families)("%s", (modelType, config) => {
  test("a saved model loads as the same model, from a folder and from GGUF", async () => {
    const tokenizer = await tinyTokenizer();
    await using model = tinyModel({ tokenizer }, { modelType, ...config });
    model.card = parseModelCard({ stage: "pretrain", tokensSeen: 12, name: "tiny" });
    const path = join(folder, modelType);
    await model.save(path);
    const wanted = await model.complete("The cat saw", greedy);
    const logits = (await model.logits("The cat saw", { last: true }))[0]!;
    await convertModel(path, `${path}.gguf`, {});
    for (const from of [path, `${path}.gguf`]) {
      await using loaded = await LanguageModel.load(from);
      expect(loaded.card).toMatchObject({ stage: "pretrain", tokensSeen: 12, name: "tiny" });
      const got = (await loaded.logits("The cat saw", { last: true }))[0]!;
      expect(maxDifference(got, logits)).toBeLessThan(1e-4);
      expect((await loaded.complete("The cat saw", greedy)).text).toBe(wanted.text);
    }
  });
});

describe("the dtype option", () => {
  test("stores weights in 16 bits when saving and loading", async () => {
    await using model = tinyModel();
    const path = join(folder, "half");
    await model.save(path, { dtype: "bf16" });
    expect(JSON.parse(await readFile(join(path, "config.json"), "utf8")).torch_dtype).toBe("bfloat16");
    await using half = await LanguageModel.load(path);
    await using wide = await LanguageModel.load(path, { dtype: "f32" });
    await using other = await LanguageModel.load(path, { dtype: "f16" });
    expect(half.model.weightBytes).toBeLessThan(wide.model.weightBytes * 0.52);
    const row = async (m: LanguageModel) => (await m.logits([1, 2, 3], { last: true }))[0]!;
    const [a, b, c] = [await row(half), await row(wide), await row(other)];
    expect(maxDifference(a, b)).toBeLessThan(0.1);
    expect(maxDifference(c, b)).toBeLessThan(0.1);
  });
});

describe("loading", () => {
  test.each([
    ["no such folder", "NOT_FOUND"],
    ["", "INVALID_ARGUMENT"],
    [import.meta.filename, "INVALID_FILE"],
  ])('rejects the path "%s"', async (path, code) => {
    expect((await failureOf(() => LanguageModel.load(path))).code).toBe(code);
  });

  test("rejects unknown and invalid options", async () => {
    for (const options of [
      { devise: "cpu" },
      { dtype: "int3" },
      { contextLength: 0 },
      { threads: 0 },
      { device: "tpu" },
    ])
      expect((await failureOf(() => LanguageModel.load("x", options as never))).code).toBe("INVALID_ARGUMENT");
    expect((await failureOf(() => LanguageModel.load("x", { signal: AbortSignal.abort() }))).code).toBe("ABORTED");
    expect((await failureOf(() => LanguageModel.load("x", { contextLength: "1" } as never))).message).toContain(
      "contextLength",
    );
  });

  test("rejects a folder whose configuration does not match its weights", async () => {
    await using model = tinyModel();
    const path = join(folder, "lies");
    await model.save(path);
    const config = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    for (const change of [
      { hidden_size: 64 },
      { num_hidden_layers: 3 },
      { num_hidden_layers: 1 },
      { vocab_size: 100 },
    ]) {
      await writeFile(join(path, "config.json"), JSON.stringify({ ...config, ...change }));
      expect((await failureOf(() => LanguageModel.load(path))).code).toBe("INVALID_FILE");
    }
    await writeFile(join(path, "config.json"), JSON.stringify(config));
    expect((await failureOf(() => LanguageModel.load(path, { contextLength: 9999 }))).message).toContain(
      "128 positions",
    );
  });

  test("reports NaN weights when the model runs", async () => {
    await using model = tinyModel();
    const name = "model.layers.0.mlp.up_proj.weight";
    await model.model.weight(name).write(new Float32Array(8).fill(Number.NaN), 0);
    for (const work of [() => model.complete([1, 2], greedy), () => model.logits([1, 2])])
      expect((await failureOf(work)).code).toBe("NUMERICAL");
  });
});
