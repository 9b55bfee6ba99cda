// Model properties in GGUF metadata: a round trip keeps them, llama.cpp's keys are read, and notes list what
// llama.cpp computes differently.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import type { ModelConfigInput } from "../../lib/formats/config/config.ts";
import { formatOf, knownModelTypes } from "../../lib/formats/config/families.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import { readModelConfig } from "../../lib/formats/model-files.ts";
import { castBytes } from "../../lib/formats/native-cast.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { maxDifference } from "../helpers/max-difference.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { flag, i32s, withMetadata, withoutHeddleKeys } from "./foreign-gguf.ts";

const ids = Array.from({ length: 30 }, (_, i) => 20 + 7 * i);

async function folderOf(config: object): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  await using model = tinyModel({ tokenizer: await tinyTokenizer() }, { numHiddenLayers: 3, ...config });
  await model.save(folder);
  return folder;
}

const last = "full_attention full_attention sliding_attention".split(" ");
const middle = "full_attention sliding_attention full_attention".split(" ");

// test/models/families.test.ts converts the configuration of every golden. These are further ones.
describe("a configuration converted to GGUF and back", () => {
  test.each([
    { modelType: "qwen2", slidingWindow: 6, layerTypes: last },
    { modelType: "qwen3", slidingWindow: 6, layerTypes: last },
    { modelType: "qwen3_moe", slidingWindow: 6, layerTypes: middle, numExperts: 4 },
    { modelType: "mistral", slidingWindow: 6, layerTypes: middle },
    { modelType: "phi3", slidingWindow: 6, layerTypes: middle, attentionBias: true },
    { modelType: "gemma2", headDim: 8, slidingWindow: null },
    { modelType: "gemma3_text", headDim: 8, slidingWindow: 6, layerTypes: middle },
    { modelType: "olmo3", slidingWindow: null },
    { modelType: "olmo3", slidingWindow: 6, layerTypes: last, ropeTheta: 1e4, ropeLocalTheta: 500 },
    { modelType: "mixtral", slidingWindow: 6, layerTypes: middle, numExperts: 4 },
    { modelType: "qwen2_moe", normTopkProb: true, mlpOnlyLayers: [1], sharedExpertIntermediateSize: 48, numExperts: 4 },
    { modelType: "olmoe", normTopkProb: true, numExperts: 4 },
    { modelType: "gpt_oss", slidingWindow: 6, numExperts: 4, ropeLocalTheta: 500 },
    { modelType: "llama", hiddenAct: "gelu" },
    { modelType: "gemma", hiddenAct: "gelu" },
    { modelType: "gpt2", hiddenAct: "gelu", numKeyValueHeads: 4 },
    { modelType: "gpt_neox", hiddenAct: "gelu_pytorch_tanh", numKeyValueHeads: 4, useParallelResidual: false },
    { modelType: "starcoder2", slidingWindow: 6, layerTypes: middle, attentionBias: false, tieWordEmbeddings: false },
    { modelType: "starcoder2", slidingWindow: null, hiddenAct: "gelu" },
    { modelType: "cohere", logitScale: 0.5, attentionBias: true, tieWordEmbeddings: false },
    { modelType: "cohere", logitScale: 0.5, useQkNorm: true, headDim: 12 },
    { modelType: "cohere2", slidingWindow: 6, layerTypes: middle, logitScale: 0.5 },
    { modelType: "cohere2", slidingWindow: null, logitScale: 1 },
    { modelType: "exaone4", slidingWindow: 6, layerTypes: middle, headDim: 12 },
    { modelType: "exaone4", slidingWindow: null },
    { modelType: "granitemoehybrid", logitsScaling: 4, attentionBias: true },
    { modelType: "seed_oss", headDim: 12, attentionBias: false },
    { modelType: "phi", hiddenAct: "gelu", headDim: 12, tieWordEmbeddings: true },
    { modelType: "hunyuan_v1_dense", headDim: 12, attentionBias: true },
    { modelType: "ernie4_5", headDim: 12, tieWordEmbeddings: false },
    { modelType: "stablelm", headDim: 8, attentionBias: true, useParallelResidual: true, useQkNorm: true },
    { modelType: "stablelm", headDim: 16, partialRotaryFactor: 1, hiddenAct: "gelu", tieWordEmbeddings: true },
    { modelType: "glm", headDim: 12, tieWordEmbeddings: true },
    { modelType: "glm4", attentionBias: false, headDim: 12, hiddenAct: "gelu" },
    { modelType: "gpt_neox", hiddenAct: "gelu", numKeyValueHeads: 4, attentionBias: false, tieWordEmbeddings: true },
    { modelType: "llama", eosTokenIds: [1, 5, 6, 7, 8] },
  ] as ModelConfigInput[])("is unchanged: $modelType $slidingWindow $hiddenAct $eosTokenIds", async (config) => {
    const folder = await folderOf(config);
    const file = join(temporaryFolder(), "model.gguf");
    const back = join(temporaryFolder(), "back");
    await convertModel(folder, file);
    await convertModel(file, back);
    await using original = await LanguageModel.load(folder);
    expect(original.config).toMatchObject(config);
    const want = (await original.logits(ids)).flatMap((row) => [...row]);
    for (const path of [file, back]) {
      await using again = await LanguageModel.load(path);
      expect(again.config).toMatchObject(config);
      const got = (await again.logits(ids)).flatMap((row) => [...row]);
      const worst = maxDifference(want, got);
      expect(worst).toBeLessThan(1e-5 * Math.max(...want.map(Math.abs)));
    }
  });

  test("includes the end tokens of generation_config.json", async () => {
    const folder = await folderOf({ modelType: "llama", eosTokenIds: [1] });
    writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [1, 9] }));
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, file);
    await using model = await LanguageModel.load(file);
    expect(model.generation.eosTokenIds).toEqual([1, 9]);
  });
});

test.each(["bf16", "q8_0", "q4_k"] as const)("%s: biases and expert routers stay f32", async (dtype) => {
  const mixtures = knownModelTypes().filter((type) => formatOf(type).experts);
  const biased: string[] = [];
  for (const modelType of mixtures) {
    const sizes = {
      hiddenSize: 256,
      intermediateSize: 256,
      moeIntermediateSize: 256,
      numExperts: 4,
      numExpertsPerTok: 2,
    };
    const shared = formatOf(modelType).experts?.shared && { sharedExpertIntermediateSize: 256 };
    const folder = await folderOf({ modelType, ...sizes, ...shared });
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, file, { dtype });
    const { entries, file: opened } = await openGguf(file);
    opened.close();
    const types = (pattern: RegExp) =>
      new Set([...entries.values()].filter(({ name }) => pattern.test(name)).map(({ storedDtype }) => storedDtype));
    if (types(/\.bias$/).size > 0) biased.push(modelType);
    for (const type of types(/\.bias$/)) expect(type, modelType).toBe("F32");
    expect(types(/ffn_gate_inp(_shexp)?\.weight$/)).toEqual(new Set(["F32"]));
    expect(types(/ffn_(up|down|gate)_(sh)?exps?\.weight$/)).toEqual(new Set([dtype.toUpperCase()]));
    await using model = await LanguageModel.load(file);
    expect((await model.logits(ids, { last: true }))[0]!.every(Number.isFinite)).toBe(true);
  }
  expect(biased).toEqual(expect.arrayContaining(["gpt_oss", "qwen2_moe"]));
});

test("rejects M-RoPE, since multimodal models order the rows of q and k differently", async () => {
  const path = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf({ modelType: "glm4" }), path);
  await using plain = await LanguageModel.load(
    await withMetadata(path, { "glm4.rope.dimension_sections": i32s(0, 0, 0, 0) }),
  );
  expect(plain.config.modelType).toBe("glm4");
  const sections = await withMetadata(path, { "glm4.rope.dimension_sections": i32s(8, 12, 12, 0) });
  await expectError(() => LanguageModel.load(sections), "UNSUPPORTED", /glm4.rope.dimension_sections: .*M-RoPE/);
});

test("StableLM's blocks are parallel if and only if the file has no ffn_norm, whatever use_parallel_residual says", async () => {
  for (const useParallelResidual of [false, true]) {
    const path = join(temporaryFolder(), "model.gguf");
    const folder = await folderOf({ modelType: "stablelm", useParallelResidual });
    await convertModel(folder, path);
    const key = "stablelm.use_parallel_residual";
    await using original = await LanguageModel.load(folder);
    for (const said of [flag(!useParallelResidual), undefined]) {
      await using model = await LanguageModel.load(await withoutHeddleKeys(path, { [key]: said }));
      expect(model.config.useParallelResidual).toBe(useParallelResidual);
      expect(await model.logits(ids)).toEqual(await original.logits(ids));
    }
  }
});

test.each(["qwen2_moe", "qwen3_moe"])(
  "%s: the experts' width, if missing, is derived from the feed-forward width",
  async (modelType) => {
    const sizes = { numExperts: 4, numExpertsPerTok: 2, moeIntermediateSize: 48, intermediateSize: 96 };
    const folder = await folderOf({
      modelType,
      ...sizes,
      ...(modelType === "qwen2_moe" && { sharedExpertIntermediateSize: 96 }),
    });
    const path = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, path);
    const arch = modelType.replace("_", "");
    const older = await withoutHeddleKeys(path, { [`${arch}.expert_feed_forward_length`]: undefined });
    await using model = await LanguageModel.load(older);
    expect(model.config.moeIntermediateSize).toBe(48);
  },
);

test("quantized biases of a foreign file are dequantized", async () => {
  const sizes = { hiddenSize: 64, intermediateSize: 64, numExperts: 4, numExpertsPerTok: 2 };
  const path = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf({ modelType: "gpt_oss", ...sizes }), path);
  const { file, metadata, entries } = await openGguf(path);
  const tensors = [...entries.values()].map(({ name, dtype, shape, offset, bytes }) => {
    const data = new Uint8Array(file.bytes(offset, bytes));
    return shape.length === 2 && name.endsWith(".bias")
      ? { name, dtype: "q8_0" as const, shape, bytes: castBytes(data, "f32", "q8_0", name) }
      : { name, dtype: dtype!, shape, bytes: data };
  });
  file.close();
  const foreign = join(temporaryFolder(), "foreign.gguf");
  await writeGguf(foreign, { metadata: metadata.values, tensors });
  await using model = await LanguageModel.load(foreign);
  expect(model.model.weight("model.layers.0.mlp.experts.up_proj.bias").dtype).toBe("f32");
  expect((await model.logits(ids, { last: true }))[0]!.every(Number.isFinite)).toBe(true);
});

test("longrope without an attention factor has the factor 1, as in llama.cpp", async () => {
  const tables = { shortFactor: [1, 1, 1, 1], longFactor: [1, 2, 4, 8] };
  const ropeScaling = { ropeType: "longrope", ...tables, originalMaxPositionEmbeddings: 16 } as const;
  const path = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf({ ropeScaling }), path);
  const removed = { "heddle.rope_scaling": undefined, "llama.rope.scaling.attn_factor": undefined };
  await using model = await LanguageModel.load(await withMetadata(path, removed));
  expect(model.config.ropeScaling).toEqual({ ...ropeScaling, attentionFactor: 1 });
});

describe("YaRN in llama.cpp's keys", () => {
  const yarn = { ropeType: "yarn", factor: 4, originalMaxPositionEmbeddings: 32 } as const;
  test.each([
    ["a factor only", yarn, undefined],
    ["beta_fast and beta_slow", { ...yarn, betaFast: 16, betaSlow: 2 }, undefined],
    ["an attention factor", { ...yarn, attentionFactor: 1.5 }, 1.5 / (0.1 * Math.log(4) + 1)],
    ["mscale and mscale_all_dim", { ...yarn, mscale: 1, mscaleAllDim: 0.5 }, 1 / (0.05 * Math.log(4) + 1)],
  ])("supports %s", async (_name, ropeScaling, factor) => {
    const folder = await folderOf({ ropeScaling });
    const path = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, path);
    // A foreign file has no heddle keys.
    const file = await withMetadata(path, { "heddle.rope_scaling": undefined });
    const { metadata, file: opened } = await openGguf(file);
    opened.close();
    const times = metadata.number("llama.rope.scaling.attn_factor");
    if (factor === undefined) expect(times).toBeUndefined();
    else expect(times).toBeCloseTo(factor, 6);
    await using original = await LanguageModel.load(folder);
    await using foreign = await LanguageModel.load(file);
    const [want, got] = [await original.logits(ids, { last: true }), await foreign.logits(ids, { last: true })];
    for (const [i, v] of want[0]!.entries()) expect(Math.abs(v - got[0]![i]!)).toBeLessThan(1e-4);
  });

  test("reads OLMo 3's attention factor as llama.cpp's converter writes it", async () => {
    const path = join(temporaryFolder(), "model.gguf");
    await convertModel(await folderOf({ modelType: "olmo3", slidingWindow: 6, ropeScaling: yarn }), path);
    const attentionFactor = 0.1 * Math.log(4) + 1;
    const file = await withMetadata(path, {
      "heddle.rope_scaling": undefined,
      "olmo2.rope.scaling.attn_factor": { type: "f32", value: attentionFactor },
    });
    await using model = await LanguageModel.load(file);
    const { ropeScaling } = model.config;
    expect(ropeScaling).toEqual({ ...yarn, attentionFactor: expect.closeTo(attentionFactor, 6) });
  });

  test("reads yarn_attn_factor, where llama.cpp's converter writes the attention factor of config.json", async () => {
    const path = join(temporaryFolder(), "model.gguf");
    await convertModel(await folderOf({ ropeScaling: yarn }), path);
    const key = "llama.rope.scaling.yarn_attn_factor";
    const file = await withMetadata(path, { "heddle.rope_scaling": undefined, [key]: { type: "f32", value: 1 } });
    await using model = await LanguageModel.load(file);
    expect(model.config.ropeScaling).toEqual({ ...yarn, attentionFactor: 1 });
  });

  test("reads the log multiplier", async () => {
    const path = join(temporaryFolder(), "model.gguf");
    await convertModel(await folderOf({ ropeScaling: yarn }), path);
    const key = "llama.rope.scaling.yarn_log_multiplier";
    const file = await withMetadata(path, { "heddle.rope_scaling": undefined, [key]: { type: "f32", value: 0.5 } });
    await using model = await LanguageModel.load(file);
    expect(model.config.ropeScaling).toEqual({ ...yarn, mscale: 1, mscaleAllDim: 0.5 });
  });
});

test("rejects an unknown architecture and names its missing feature", async () => {
  const path = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf({}), path);
  const file = await withMetadata(path, {
    "general.architecture": { type: "string", value: "jamba" },
    "jamba.ssm.state_size": { type: "u32", value: 16 },
  });
  await expectError(
    () => LanguageModel.load(file),
    "UNSUPPORTED",
    /architecture "jamba" is not supported \(nearest: mixtral; not supported: state-space layers \(ssm.state_size\)\)$/,
  );
});

test("rejects an unknown encoder and names the features that distinguish it from BERT", async () => {
  const path = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf({}), path);
  const file = await withMetadata(path, {
    "general.architecture": { type: "string", value: "jina-bert-v3" },
    "jina-bert-v3.attention.causal": { type: "bool", value: false },
    "jina-bert-v3.attention.layer_norm_epsilon": { type: "f32", value: 1e-12 },
  });
  await expectError(
    () => LanguageModel.load(file),
    "UNSUPPORTED",
    /architecture "jina-bert-v3" is not supported \(nearest: nomic_bert; not supported: BERT with rotary positions\)$/,
  );
});

test("notes list what llama.cpp computes differently", async () => {
  const notes = async (config: object) => {
    const { notes = [] } = await convertModel(await folderOf(config), join(temporaryFolder(), "model.gguf"));
    return notes.join("; ");
  };
  expect(await notes({})).toBe("");
  expect(await notes({ modelType: "gemma2", headDim: 8, slidingWindow: 6 })).toBe("");
  const encoder = { modelType: "modernbert", numKeyValueHeads: 4, slidingWindow: 6 };
  const classifier = { task: "sequence", labels: ["a", "b"] };
  expect(await notes(encoder)).toBe("pooling_type: set to mean, because the model does not specify a pooling");
  const embedding = { pooling: "mean", normalize: true, prompts: { q: "query: " } };
  expect(await notes({ ...encoder, embedding })).toBe("");
  const more = { defaultPromptName: "q", includePrompt: false, truncateDim: 8, maxSeqLength: 7, lowercase: true };
  expect(await notes({ ...encoder, embedding: { ...embedding, ...more } })).toMatch(
    /^llama.cpp does not add the default prompt "q".*pools the prompt's.*to 8 dimensions.*to 7 tokens.*lowercase texts$/,
  );
  expect(await notes({ ...encoder, embedding: { ...embedding, normalize: false } })).toBe(
    "llama.cpp normalizes vectors, which the model does not",
  );
  expect(await notes({ ...encoder, embedding, attentionBias: true })).toMatch(
    /^llama.cpp cannot open modern-bert files with attention biases/,
  );
  expect(await notes({ ...encoder, classifier: { ...classifier, pooling: "mean" } })).toBe("");
  expect(await notes({ ...encoder, classifier: { ...classifier, pooling: "first" } })).toBe(
    `llama.cpp uses the pooling "mean" for the classifier, not the model's`,
  );
  expect(await notes({ ...encoder, modelType: "bert", classifier: { ...classifier, pooling: "mean" } })).toBe(
    `llama.cpp uses the pooling "first" for the classifier, not the model's`,
  );
  expect(await notes({ modelType: "mistral", slidingWindow: 6 })).toMatch(
    /^llama.cpp does not support sliding windows in llama files/,
  );
  expect(await notes({ modelType: "qwen3_moe", normTopkProb: false })).toMatch(/norm_topk_prob is false$/);
  expect(await notes({ modelType: "olmoe", normTopkProb: true, numKeyValueHeads: 4 })).toBe(
    "llama.cpp does not normalize the experts' weights, though norm_topk_prob is true",
  );
  const regular = { modelType: "gemma2", headDim: 8, slidingWindow: 6, layerTypes: middle, numHiddenLayers: 3 };
  expect(await notes({ ...regular, layerTypes: last })).toBe("");
  expect(await notes({ ...regular, layerTypes: Array(3).fill("full_attention") })).toMatch(
    /sliding window that no layer uses$/,
  );
  expect(await notes({ ...regular, layerTypes: Array(3).fill("sliding_attention") })).toBe("");
  expect(await notes({ modelType: "gemma2", headDim: 8, slidingWindow: null })).toMatch(
    /^llama.cpp uses a sliding window of 4096/,
  );
  const caps = { attnLogitSoftcapping: 50, finalLogitSoftcapping: 30 };
  const gemma2 = { modelType: "gemma2", headDim: 8, slidingWindow: 6, ...caps };
  expect(await notes({ ...gemma2, attnLogitSoftcapping: null })).toBe(
    "llama.cpp uses a soft cap of 50 for attention scores, which the model lacks",
  );
  expect(await notes({ ...gemma2, finalLogitSoftcapping: null })).toBe(
    "llama.cpp uses a soft cap of 30 for logits, which the model lacks",
  );
  expect(await notes({ ...gemma2, attnLogitSoftcapping: null, finalLogitSoftcapping: null })).toMatch(
    /a soft cap of 50 for .*; .* a soft cap of 30 for /,
  );
  expect(await notes({ modelType: "olmo3", slidingWindow: 6 })).toBe("");
  expect(await notes({ modelType: "olmo3", slidingWindow: 6, ropeLocalTheta: 500 })).toMatch(
    /RoPE θ of the other layers/,
  );
  expect(await notes({ modelType: "gemma2", headDim: 8, queryPreAttnScalar: 12 })).toMatch(
    /not by query_pre_attn_scalar/,
  );
  expect(await notes({ hiddenAct: "gelu" })).toBe("llama.cpp computes silu instead of hidden_act gelu");
  for (const modelType of ["llama", "granite", "gpt_oss"])
    expect(await notes({ modelType, attentionBias: true, mlpBias: true, numExperts: 4 })).not.toMatch(/biases/);
  for (const modelType of ["qwen3", "gemma", "olmo2", "phi3", "smollm3"]) {
    const said = await notes({ modelType, attentionBias: true, mlpBias: true });
    expect(said).toMatch(/^llama.cpp cannot open [a-z0-9]+ files with attention biases; .*with feed-forward biases/);
  }
  expect(await notes({ modelType: "qwen2", mlpBias: true })).toMatch(
    /^llama.cpp cannot open qwen2 files with feed-forward biases/,
  );
  expect(await notes({ modelType: "olmo2", tieWordEmbeddings: true })).toMatch(
    /^llama.cpp cannot open olmo2 files with a tied head/,
  );
  expect(await notes({ modelType: "phi3", headDim: 12 })).toMatch(
    /files with heads whose total width is not hidden_size/,
  );
});

test("config.json keeps layerTypes in families whose layers all have a sliding window by default", async () => {
  const sliding = knownModelTypes().filter((type) => formatOf(type).windows.kind === "all");
  expect(sliding).toEqual(expect.arrayContaining(["mistral", "phi3"]));
  for (const modelType of sliding) {
    const folder = await folderOf({ modelType, numExperts: 4, slidingWindow: 6, layerTypes: middle });
    expect((await readModelConfig(folder)).layerTypes, modelType).toEqual(middle);
  }
});

test("notes list matrices stored in another type, because their rows are not whole blocks", async () => {
  const noted = async (sizes: object, dtype: "q8_0" | "q4_k") =>
    (await convertModel(await folderOf({ numHiddenLayers: 1, ...sizes }), join(temporaryFolder(), "m.gguf"), { dtype }))
      .notes;
  expect(await noted({ hiddenSize: 64, intermediateSize: 96 }, "q8_0")).toBeUndefined();
  expect(await noted({ hiddenSize: 64, intermediateSize: 80 }, "q8_0")).toEqual([
    "matrices in f16 instead of q8_0: 1, because their row sizes (80) are not multiples of the block size 32",
  ]);
  expect(await noted({ hiddenSize: 64, intermediateSize: 80 }, "q4_k")).toEqual([
    "matrices in f16, q5_0, q8_0 instead of q4_k: 9, because their row sizes (64, 80) are not multiples of the block size 256",
  ]);
});
