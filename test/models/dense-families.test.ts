// Decoders whose blocks differ from Llama's by more than a flag: GGUF files of other programs, training, adapters and batches.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { modelConfigToJson } from "../../lib/formats/config/config-json.ts";
import { LanguageModel, sft } from "../../lib/index.ts";
import { withoutHeddleKeys } from "../convert/foreign-gguf.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { familyGoldens, writeFamily } from "../golden/families.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { generator } from "../ops/harness.ts";

const ids = [5, 17, 240, 99, 3, 17, 240, 60, 71, 300];
const families: Record<string, object> = {
  gpt_neox: { numKeyValueHeads: 4, hiddenSize: 64 },
  starcoder2: { slidingWindow: 6 },
  cohere: { logitScale: 2, useQkNorm: true },
  cohere2: { slidingWindow: 6, numHiddenLayers: 5, logitScale: 0.5 },
  ernie4_5: { headDim: 16 },
  hunyuan_v1_dense: { headDim: 16 },
  granitemoehybrid: { embeddingMultiplier: 3, residualMultiplier: 0.5 },
  seed_oss: { headDim: 16 },
  olmo: { custom: { clipQkv: 0.3 } },
  phi: { headDim: 16, hiddenSize: 64 },
  stablelm: { hiddenSize: 64, attentionBias: true, useParallelResidual: true, useQkNorm: true },
  exaone4: { slidingWindow: 6, numHiddenLayers: 5 },
  glm: { attentionBias: true },
  glm4: { attentionBias: true, headDim: 16 },
};

/** A model with random norms and biases, so that swapped vectors are detected. */
async function modelOf(modelType: string, more: object = {}): Promise<LanguageModel> {
  const model = tinyModel({ tokenizer: await tinyTokenizer() }, { modelType, ...families[modelType], ...more });
  const random = generator(3);
  for (const name of model.model.weightNames) {
    const tensor = model.model.weight(name);
    if (tensor.shape.length > 1 && !name.endsWith("_norm.weight")) continue;
    const values = (await tensor.read()) as Float32Array;
    await tensor.write(values.map((v) => v + 0.2 * (random() - 0.5)));
  }
  return model;
}

async function folderOf(modelType: string, more: object = {}): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  await using model = await modelOf(modelType, more);
  await model.save(folder);
  return folder;
}

describe.each(Object.keys(families))("%s", (modelType) => {
  test("loads equal weights from a GGUF file without heddle's keys", async () => {
    const folder = await folderOf(modelType);
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, file);
    await using a = await LanguageModel.load(folder);
    await using b = await LanguageModel.load(await withoutHeddleKeys(file));
    if (modelType === "granitemoehybrid") {
      // GGUF files of granitemoehybrid have Granite 3's architecture name, so they load as granite. Its gate and up matrices are separate.
      expect(b.config.modelType).toBe("granite");
      expect(await b.logits(ids)).toEqual(await a.logits(ids));
      return;
    }
    expect(b.config.modelType).toBe(modelType);
    expect(b.model.weightNames).toEqual(a.model.weightNames);
    for (const name of a.model.weightNames)
      expect(await b.model.weight(name).read(), name).toEqual(await a.model.weight(name).read());
    expect(await b.logits(ids)).toEqual(await a.logits(ids));
  });

  test("gives the same model whether quantized in the file or on load", async () => {
    const folder = await folderOf(modelType);
    const [plain, narrow] = ["plain", "narrow"].map((name) => join(temporaryFolder(), `${name}.gguf`));
    await convertModel(folder, plain!);
    await convertModel(folder, narrow!, { dtype: "q8_0" });
    await using a = await LanguageModel.load(narrow!);
    const wanted = await a.logits(ids);
    for (const path of [folder, plain!]) {
      await using b = await LanguageModel.load(path, { dtype: "q8_0" });
      expect(await b.logits(ids)).toEqual(wanted);
    }
    const back = join(temporaryFolder(), "back");
    await convertModel(narrow!, back);
    await using c = await LanguageModel.load(back);
    for (const name of c.model.weightNames) expect(c.model.weight(name).shape).toEqual(a.model.weight(name).shape);
  });

  test("gives the same answers in a batch as alone", async () => {
    await using model = await modelOf(modelType);
    const options = { maxTokens: 12, temperature: 0, ignoreEos: true };
    const prompts = [ids, ids.slice(0, 3), ids.slice(4)];
    const alone = [];
    for (const prompt of prompts) alone.push((await model.complete(prompt, options)).tokens);
    const together = await model.completeAll(prompts, options);
    expect(together.map(({ tokens }) => tokens)).toEqual(alone);
  });

  test.each(["full", "lora"] as const)(
    "%s training lowers the loss, and the saved model is the same",
    async (method) => {
      const folder = await folderOf(modelType, { initializerRange: 0.05 });
      await using model = await LanguageModel.load(folder);
      const path = join(temporaryFolder(), "out");
      const data = sentences.map((text) => ({ text }));
      const losses: number[] = [];
      const how = method === "lora" ? { lora: { r: 4 }, learningRate: 2e-2 } : { learningRate: 5e-3 };
      for await (const event of sft(model, { data, maxSteps: 20, maxSeqLength: 32, outputDir: path, ...how }))
        if ("loss" in event) losses.push(event.loss);
      expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.9);
      const wanted = await model.logits("The cat saw");
      await using again = await LanguageModel.load(path);
      expect(await again.logits("The cat saw")).toEqual(wanted);
      if (method === "full") expect(await weightNames(path)).toEqual(await weightNames(folder));
    },
  );
});

/** The names of weights that a folder's file has, sorted. */
async function weightNames(folder: string): Promise<string[]> {
  const file = await readFile(join(folder, "model.safetensors"));
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString()) as object;
  return Object.keys(header)
    .filter((name) => name !== "__metadata__")
    .sort();
}

describe("gpt_neox in config.json", () => {
  const sizes = {
    vocab_size: 61,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 1,
    num_attention_heads: 2,
  };
  const read = (more: object) => parseModelConfig({ model_type: "gpt_neox", ...sizes, ...more });

  test("reads both forms of rotary parameters and fills in defaults", () => {
    const wanted = { partialRotaryFactor: 0.5, ropeTheta: 500, headDim: 32 };
    expect(read({ rotary_pct: 0.5, rotary_emb_base: 500 })).toMatchObject(wanted);
    const newer = { rope_type: "default", rope_theta: 500, partial_rotary_factor: 0.5 };
    expect(read({ rope_parameters: newer })).toMatchObject(wanted);
    expect(read({})).toMatchObject({
      ...{ partialRotaryFactor: 0.25, ropeTheta: 1e4, useParallelResidual: true, attentionBias: true },
      ...{ layerNormEpsilon: 1e-5, hiddenAct: "gelu", tieWordEmbeddings: false },
    });
    const json = modelConfigToJson(read({ rotary_pct: 1, use_parallel_residual: false, layer_norm_eps: 1e-6 }));
    expect(json).toMatchObject({
      rotary_pct: 1,
      rotary_emb_base: 1e4,
      use_parallel_residual: false,
      layer_norm_eps: 1e-6,
    });
    expect(json).not.toHaveProperty("rms_norm_eps");
  });

  test.each([
    [{ hidden_act: "silu" }, /hidden_act: expected gelu or gelu_pytorch_tanh for gpt_neox, got silu/],
    [{ num_attention_heads: 3, head_dim: 16 }, /hidden_size: expected a multiple of num_attention_heads 3, got 64/],
    [{ num_key_value_heads: 1 }, /num_key_value_heads: expected num_attention_heads 2 for gpt_neox, got 1/],
    [{ head_dim: 16 }, /head_dim: expected hidden_size \/ num_attention_heads 32 for gpt_neox, got 16/],
    [{ rotary_pct: 0.1 }, /partial_rotary_factor: expected an even number of rotated dimensions, got 3 of 32/],
    [{ use_parallel_residual: 1 }, /use_parallel_residual: expected true or false, got 1/],
  ])("names the key of an invalid value: %j", async (more, message) => {
    expect((await failureOf(() => read(more))).message).toMatch(message);
  });
});

describe("stablelm in folders", () => {
  const golden = familyGoldens.find(({ name }) => name === "stablelm with parallel blocks and norms of heads")!;
  const norm = "model.layers.1.self_attn.k_layernorm.norms";
  const failure = async (weights: Record<string, number[]>, more: object = {}) => {
    const folder = await writeFamily({ config: { ...golden.config, ...more }, weights }, temporaryFolder());
    return failureOf(() => LanguageModel.load(folder));
  };

  test("a missing weight is named with the similar one that the file has", async () => {
    const [name, other] = ["q_proj", "q_projs"].map((each) => `model.layers.1.self_attn.${each}.weight`) as [
      string,
      string,
    ];
    const { [name]: shape, ...without } = golden.weights;
    expect(await failure({ ...without, [other]: shape! })).toEqual({
      code: "INVALID_FILE",
      message: `stablelm: expected a weight ${name}, found only ${other}, which the model does not have`,
    });
  });

  test("names the norm of a head that is missing, has another width, or is not expected", async () => {
    const { [`${norm}.0.weight`]: _, ...without } = golden.weights;
    expect(await failure(without)).toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringContaining(`expected a weight ${norm}.0.weight, got none`),
    });
    expect(await failure({ ...golden.weights, [`${norm}.1.weight`]: [4] })).toEqual({
      code: "INVALID_FILE",
      message: `${norm}.1.weight: expected f32 [8], like the first head, got f32 [4]`,
    });
    expect((await failure({ ...golden.weights, [`${norm}.2.weight`]: [8] })).message).toMatch(
      /unexpected weight model\.layers\.1\.self_attn\.k_layernorm\.norms\.2\.weight/,
    );
    expect((await failure(golden.weights, { qk_layernorm: false })).message).toMatch(/unexpected weight .*[qk]_norm/);
  });

  test("has transformers' defaults for missing keys of config.json", () => {
    const sizes = { vocab_size: 9, hidden_size: 2048, intermediate_size: 16, num_hidden_layers: 1 };
    const read = (more: object) =>
      parseModelConfig({ model_type: "stablelm", ...sizes, num_attention_heads: 32, ...more });
    expect(read({})).toMatchObject({
      ...{ layerNormEpsilon: 1e-5, partialRotaryFactor: 0.25, maxPositionEmbeddings: 4096, numKeyValueHeads: 32 },
      ...{ attentionBias: false, useParallelResidual: false, useQkNorm: false, tieWordEmbeddings: false },
    });
    const json = modelConfigToJson(read({ use_qkv_bias: true, qk_layernorm: true }));
    expect(json).toMatchObject({ use_qkv_bias: true, qk_layernorm: true, partial_rotary_factor: 0.25 });
    expect(json).not.toHaveProperty("rms_norm_eps");
  });
});
