import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../lib/errors.ts";
import { MODEL_TYPES, type ModelConfigInput, parseModelConfig } from "../../lib/formats/config.ts";
import { modelConfigToJson } from "../../lib/formats/config-json.ts";
import { generationConfigToJson, readGenerationConfig } from "../../lib/formats/generation-config.ts";
import { parseModelCard, readModelCard, writeModelCard } from "../../lib/formats/model-card.ts";
import { openModelFiles, readModelConfig } from "../../lib/formats/model-files.ts";
import { llama3Factors, ropeScalingFromFactors } from "../../lib/formats/rope-scaling.ts";
import { expectError, temporaryFolder } from "./helpers.ts";

/** A config.json that holds what must be there. */
const llama = {
  model_type: "llama",
  vocab_size: 32000,
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};
const read = (value: unknown) => parseModelConfig(value, "config.json");

describe("config.json", () => {
  test("what is left out takes transformers' values", () => {
    expect(read(llama)).toEqual({
      modelType: "llama",
      vocabSize: 32000,
      hiddenSize: 64,
      intermediateSize: 172,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 4,
      headDim: 16,
      maxPositionEmbeddings: 2048,
      rmsNormEps: 1e-6,
      layerNormEpsilon: 1e-5,
      ropeTheta: 10000,
      ropeScaling: null,
      slidingWindow: null,
      layerTypes: ["full_attention", "full_attention"],
      tieWordEmbeddings: false,
      attentionBias: false,
      mlpBias: false,
      hiddenAct: "silu",
      initializerRange: 0.02,
      bosTokenId: null,
      eosTokenIds: [],
      padTokenId: null,
      dtype: null,
    });
    expect(read({ ...llama, model_type: "qwen3" }).headDim).toBe(128);
    expect(read({ ...llama, model_type: "gemma" })).toMatchObject({ headDim: 256, tieWordEmbeddings: true });
    expect(read({ ...llama, model_type: "mistral" }).slidingWindow).toBe(4096);
    expect(read({ ...llama, model_type: "mistral", sliding_window: null }).slidingWindow).toBeNull();
  });

  test("both dialects of rotary parameters mean the same", () => {
    const llama3 = {
      factor: 32.0,
      low_freq_factor: 1.0,
      high_freq_factor: 4.0,
      original_max_position_embeddings: 8192,
      rope_type: "llama3",
    };
    const expected = {
      ropeTheta: 500000,
      ropeScaling: {
        ropeType: "llama3",
        factor: 32,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositionEmbeddings: 8192,
      },
    };
    expect(read({ ...llama, rope_theta: 500000, rope_scaling: llama3 })).toMatchObject(expected);
    expect(read({ ...llama, rope_parameters: { rope_theta: 500000, ...llama3 } })).toMatchObject(expected);
    const each = { rope_theta: 500000, ...llama3 };
    expect(read({ ...llama, rope_parameters: { full_attention: each, sliding_attention: { ...each } } })).toMatchObject(
      expected,
    );
    expect(read({ ...llama, rope_parameters: { rope_theta: 5e6, rope_type: "default" } })).toMatchObject({
      ropeTheta: 5e6,
      ropeScaling: null,
    });
    expect(read({ ...llama, rope_scaling: { type: "linear", factor: 2 } }).ropeScaling).toEqual({
      ropeType: "linear",
      factor: 2,
    });
    expect(read({ ...llama, rope_scaling: { type: "yarn", factor: 4, beta_fast: 32 } }).ropeScaling).toEqual({
      ropeType: "yarn",
      factor: 4,
      betaFast: 32,
    });
  });

  test("sliding windows of qwen need use_sliding_window and begin at max_window_layers", () => {
    const qwen = { ...llama, model_type: "qwen2", num_hidden_layers: 3, sliding_window: 128, max_window_layers: 2 };
    expect(read({ ...qwen, use_sliding_window: false }).slidingWindow).toBeNull();
    expect(read({ ...qwen, use_sliding_window: true })).toMatchObject({
      slidingWindow: 128,
      layerTypes: ["full_attention", "full_attention", "sliding_attention"],
    });
    const types = ["sliding_attention", "full_attention", "sliding_attention"];
    expect(read({ ...qwen, use_sliding_window: true, layer_types: types }).layerTypes).toEqual(types);
  });

  test("what a family's class takes for granted", () => {
    const of = (model_type: string, more = {}) => read({ ...llama, model_type, num_hidden_layers: 6, ...more });
    const [sliding, full] = ["sliding_attention", "full_attention"];
    expect(of("gemma2")).toMatchObject({
      headDim: 256,
      queryPreAttnScalar: 256,
      attnLogitSoftcapping: 50,
      finalLogitSoftcapping: 30,
      slidingWindow: 4096,
      layerTypes: [sliding, full, sliding, full, sliding, full],
      tieWordEmbeddings: true,
    });
    // null turns a cap off.
    expect(of("gemma2", { attn_logit_softcapping: null }).attnLogitSoftcapping).toBeNull();
    expect(of("gemma3_text")).toMatchObject({
      ropeTheta: 1e6,
      ropeLocalTheta: 1e4,
      finalLogitSoftcapping: null,
      layerTypes: [sliding, sliding, sliding, sliding, sliding, full],
    });
    expect(of("gemma3_text", { sliding_window_pattern: 2 }).layerTypes).toEqual(of("gemma2").layerTypes);
    expect(of("granite")).toMatchObject({ attentionMultiplier: 1, logitsScaling: 1, slidingWindow: null });
    expect(of("phi3").slidingWindow).toBeNull();
    expect(of("phi3", { sliding_window: 8 }).layerTypes).toEqual(Array(6).fill(sliding));
    expect(of("smollm3").noRopeLayers).toEqual([1, 1, 1, 0, 1, 1]);
    expect(of("smollm3", { no_rope_layer_interval: 2 }).noRopeLayers).toEqual([1, 0, 1, 0, 1, 0]);
    const windowed = { use_sliding_window: true, sliding_window: 9 };
    expect(of("smollm3", windowed).layerTypes).toEqual([full, full, full, sliding, full, full]);
    // Callers get what follows from the other sizes.
    const made = parseModelConfig({ modelType: "gemma2", vocabSize: 9, hiddenSize: 128, numHiddenLayers: 2 });
    expect(made).toMatchObject({ headDim: 64, queryPreAttnScalar: 64, slidingWindow: 4096 });
    expect(parseModelConfig({ ...made, modelType: "granite" }).attentionMultiplier).toBe(1 / 64);
  });

  test("part of each head rotates; sliding layers with a θ of their own", () => {
    expect(read({ ...llama, partial_rotary_factor: 0.5 }).partialRotaryFactor).toBe(0.5);
    expect(() => read({ ...llama, partial_rotary_factor: 0.2 })).toThrow(
      "partial_rotary_factor: expected an even number of rotated dimensions, got 3 of 16",
    );
    const sets = { full_attention: { rope_theta: 1e6 }, sliding_attention: { rope_theta: 1e4 } };
    expect(read({ ...llama, rope_parameters: sets })).toMatchObject({ ropeTheta: 1e6, ropeLocalTheta: 1e4 });
    const longrope = { type: "su", long_factor: Array(8).fill(2), short_factor: Array(8).fill(1) };
    const phi3 = { ...llama, model_type: "phi3", rope_scaling: longrope, original_max_position_embeddings: 4096 };
    expect(read(phi3).ropeScaling).toEqual({
      ropeType: "longrope",
      longFactor: Array(8).fill(2),
      shortFactor: Array(8).fill(1),
      originalMaxPositionEmbeddings: 4096,
    });
    expect(() => read({ ...phi3, partial_rotary_factor: 0.5 })).toThrow(
      "rope_scaling: expected half the rotated dimensions = 4 factors, got 8",
    );
  });

  test("token ids, types and activations as they occur", () => {
    const tokens = read({ ...llama, eos_token_id: [128001, 128008], bos_token_id: 128000, pad_token_id: -1 });
    expect(tokens).toMatchObject({ eosTokenIds: [128001, 128008], bosTokenId: 128000, padTokenId: null });
    expect(read({ ...llama, torch_dtype: "bfloat16" }).dtype).toBe("bf16");
    expect(read({ ...llama, dtype: "float16" }).dtype).toBe("f16");
    // Gemma's first files: "gelu" means the tanh form.
    expect(read({ ...llama, model_type: "gemma", hidden_act: "gelu" }).hiddenAct).toBe("gelu_pytorch_tanh");
    const gpt2 = {
      model_type: "gpt2",
      vocab_size: 50257,
      n_embd: 64,
      n_head: 4,
      n_layer: 2,
      n_positions: 1024,
      n_inner: null,
    };
    expect(read({ ...gpt2, activation_function: "gelu_new" })).toMatchObject({
      intermediateSize: 256,
      headDim: 16,
      hiddenAct: "gelu_pytorch_tanh",
      tieWordEmbeddings: true,
    });
    expect(read({ ...gpt2, activation_function: "gelu", n_inner: 100 })).toMatchObject({
      hiddenAct: "gelu",
      intermediateSize: 100,
    });
  });

  test.each<[string, unknown, RegExp]>([
    ["not an object", [], /config.json: expected an object, got \[\]/],
    ["no model_type", {}, /model_type: expected a string, got nothing/],
    [
      "no vocab_size",
      { ...llama, vocab_size: undefined },
      /vocab_size: expected a whole number from 1 to 4194304, got nothing/,
    ],
    ["hidden_size as text", { ...llama, hidden_size: "64" }, /hidden_size: expected a whole number.*got "64"/],
    [
      "hidden_size beyond the cap",
      { ...llama, hidden_size: 1e9, head_dim: 4 },
      /hidden_size: expected a whole number from 1 to 131072/,
    ],
    [
      "a billion layers",
      { ...llama, num_hidden_layers: 1e9 },
      /num_hidden_layers: expected a whole number from 1 to 1024/,
    ],
    ["half a layer", { ...llama, num_hidden_layers: 0.5 }, /num_hidden_layers: expected a whole number/],
    ["no heads", { ...llama, num_attention_heads: 0 }, /num_attention_heads: expected a whole number from 1/],
    [
      "heads that do not divide",
      { ...llama, num_attention_heads: 5 },
      /head_dim: expected a whole number.*got 12.8|head_dim/,
    ],
    [
      "groups that do not divide",
      { ...llama, num_key_value_heads: 3 },
      /num_key_value_heads: expected a divisor of num_attention_heads 4, got 3/,
    ],
    ["odd head_dim", { ...llama, head_dim: 15 }, /head_dim: expected an even number/],
    ["epsilon 0", { ...llama, rms_norm_eps: 0 }, /rms_norm_eps: expected a number above 0/],
    ["theta negative", { ...llama, rope_theta: -1 }, /rope_theta: expected a number above 0/],
    [
      "theta null in the new dialect",
      { ...llama, rope_parameters: { rope_theta: "x" } },
      /rope_theta: expected a number above 0.*got "x"/,
    ],
    ["rope_scaling a list", { ...llama, rope_scaling: [] }, /rope_scaling: expected an object/],
    [
      "llama3 scaling without factor",
      { ...llama, rope_scaling: { rope_type: "llama3" } },
      /rope_scaling.factor: expected/,
    ],
    ["tie as text", { ...llama, tie_word_embeddings: "yes" }, /tie_word_embeddings: expected true or false, got "yes"/],
    [
      "layer_types of another length",
      { ...llama, model_type: "mistral", layer_types: ["full_attention"] },
      /layer_types: expected num_hidden_layers 2 entries, got 1/,
    ],
    ["gpt2 width", { model_type: "gpt2", vocab_size: 3, n_embd: 10, n_head: 3, n_layer: 1 }, /head_dim|n_embd/],
    ["eos a word", { ...llama, eos_token_id: "</s>" }, /eos_token_ids?.*expected/],
  ])("INVALID_FILE: %s", async (_name, value, message) => {
    await expectError(() => read(value), "INVALID_FILE", message);
  });

  test.each<[string, unknown, RegExp]>([
    [
      "a family",
      { ...llama, model_type: "mamba" },
      /model_type "mamba" is not known \(known: llama, mistral, .*gpt2.*\)/,
    ],
    [
      "a family of text and images",
      { model_type: "gemma3", text_config: { ...llama, model_type: "gemma3_text" }, vision_config: {} },
      /model_type "gemma3" is not known \(known: .*; heddle lacks pictures \(vision_config\)\)/,
    ],
    [
      "a family of other layers",
      { ...llama, model_type: "jamba", mamba_d_state: 16, num_experts: 16, alibi: false },
      /heddle lacks state-space layers \(mamba_d_state\), its routing of experts \(num_experts\)\)$/,
    ],
    [
      "a family of other attention, within one of text and images",
      { model_type: "kimi_vl", text_config: { ...llama, kv_lora_rank: 512 }, vision_config: {} },
      /heddle lacks latent attention \(kv_lora_rank\), pictures \(vision_config\)\)$/,
    ],
    [
      "layers of another kind",
      { ...llama, layer_types: ["linear_attention", "full_attention"] },
      /"linear_attention" is not/,
    ],
    ["an activation", { ...llama, hidden_act: "relu" }, /hidden_act "relu" is not known/],
    ["an activation from the prototype", { ...llama, hidden_act: "toString" }, /hidden_act "toString" is not known/],
    ["quantised weights", { ...llama, quantization_config: { bits: 4 } }, /quantization_config/],
    [
      "a scaling",
      { ...llama, rope_scaling: { rope_type: "ntk" } },
      /config.json: rope_scaling: type "ntk" is not known \(known: default, linear, .*longrope\)/,
    ],
    [
      "a scaling of sliding layers alone",
      {
        ...llama,
        rope_parameters: {
          full_attention: { rope_theta: 1, rope_type: "default" },
          sliding_attention: { rope_theta: 2, rope_type: "linear", factor: 2 },
        },
      },
      /rope_parameters: scaling of sliding_attention's own \("linear"\) is not provided/,
    ],
    [
      "gemma3 that sees both ways",
      { ...llama, model_type: "gemma3_text", use_bidirectional_attention: true },
      /use_bidirectional_attention: true is not provided/,
    ],
    ["scaled gpt2", { model_type: "gpt2", scale_attn_by_inverse_layer_idx: true }, /scale_attn_by_inverse_layer_idx/],
  ])("UNSUPPORTED: %s", async (_name, value, message) => {
    await expectError(() => read(value), "UNSUPPORTED", message);
  });

  test("a folder of an unknown model whose weights are not there either", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...llama, model_type: "mamba", state_size: 16 }));
    await expectError(() => openModelFiles(folder), "UNSUPPORTED", /"mamba" is not known .*state-space layers/);
    writeFileSync(join(folder, "config.json"), JSON.stringify(llama));
    await expectError(() => openModelFiles(folder), "NOT_FOUND", /expected model.safetensors/);
  });

  test("files: missing, not JSON, too deep, too large", async () => {
    const folder = temporaryFolder();
    const write = (text: string) => writeFileSync(join(folder, "config.json"), text);
    await expectError(() => readModelConfig(folder), "NOT_FOUND", /config.json: cannot be read/);
    write("{");
    await expectError(() => readModelConfig(folder), "INVALID_FILE", /config.json: expected JSON/);
    write(`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`);
    await expectError(() => readModelConfig(folder), "INVALID_FILE", /nested at most 64 deep/);
    write(" ".repeat(17 * 1024 * 1024));
    await expectError(() => readModelConfig(folder), "INVALID_FILE", /at most 16777216 bytes of JSON/);
  });
});

describe("camelCase options", () => {
  test("sizes follow from hiddenSize", () => {
    const config = parseModelConfig({ modelType: "llama", vocabSize: 100, hiddenSize: 320, numHiddenLayers: 8 });
    expect(config).toMatchObject({ numAttentionHeads: 5, numKeyValueHeads: 5, headDim: 64, intermediateSize: 896 });
    expect(parseModelConfig({ modelType: "gpt2", vocabSize: 9, hiddenSize: 48, numHiddenLayers: 1 })).toMatchObject({
      numAttentionHeads: 1,
      intermediateSize: 192,
    });
  });

  test("mistakes are named, with the nearest key", async () => {
    const options = { modelType: "llama", vocabSize: 9, hiddenSize: 64, numHiddenLayers: 1 } as const;
    const parse = (extra: object) => () => parseModelConfig({ ...options, ...extra });
    await expectError(
      parse({ numLayers: 2 }),
      "INVALID_ARGUMENT",
      /numLayers: expected a known key, got an unknown one/,
    );
    await expectError(
      parse({ hiddenSise: 2 }),
      "INVALID_ARGUMENT",
      /hiddenSise: expected a known key \(nearest: hiddenSize\), got an unknown one/,
    );
    await expectError(
      parse({ hiddenSize: "64" }),
      "INVALID_ARGUMENT",
      /model configuration: hiddenSize: expected a whole number/,
    );
    await expectError(
      parse({ hiddenAct: "relu" }),
      "INVALID_ARGUMENT",
      /hiddenAct: expected one of silu, gelu, gelu_pytorch_tanh, got "relu"/,
    );
    await expectError(parse({ modelType: "t5" }), "UNSUPPORTED", /"t5" is not known/);
  });

  test("any configuration survives config.json", () => {
    const sizes = fc.record({
      modelType: fc.constantFrom(...MODEL_TYPES),
      vocabSize: fc.integer({ min: 1, max: 300000 }),
      heads: fc.integer({ min: 1, max: 8 }),
      width: fc.integer({ min: 1, max: 16 }).map((n) => 2 * n),
      numHiddenLayers: fc.integer({ min: 1, max: 5 }),
      tieWordEmbeddings: fc.boolean(),
      eosTokenIds: fc.uniqueArray(fc.nat(1000), { maxLength: 3 }),
      bosTokenId: fc.option(fc.nat(1000)),
      slidingWindow: fc.option(fc.integer({ min: 1, max: 4096 })),
      dtype: fc.constantFrom("f32" as const, "f16" as const, "bf16" as const, null),
      ropeTheta: fc.integer({ min: 1, max: 1e6 }),
    });
    fc.assert(
      fc.property(sizes, ({ heads, width, slidingWindow, ropeTheta, ...rest }) => {
        const { modelType } = rest;
        const slides = modelType === "mistral" || modelType === "qwen2" || modelType === "qwen3";
        const input: ModelConfigInput = {
          ...rest,
          hiddenSize: heads * width,
          numAttentionHeads: heads,
          ...(slides && { slidingWindow }),
          ...(modelType !== "gpt2" && { ropeTheta }),
        };
        const config = parseModelConfig(input);
        expect(parseModelConfig(config)).toEqual(config);
        const { architectures, ...again } = read(JSON.parse(JSON.stringify(modelConfigToJson(config))));
        expect(again).toEqual(config);
        expect(architectures).toHaveLength(1);
      }),
      { numRuns: 300 },
    );
  });

  test("any JSON gives a configuration or a HeddleError", () => {
    const keys = [
      ...Object.keys(llama),
      "rope_scaling",
      "rope_parameters",
      "eos_token_id",
      "layer_types",
      "head_dim",
      "hidden_act",
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...MODEL_TYPES),
        fc.constantFrom(...keys),
        fc.jsonValue({ maxDepth: 3 }),
        (type, key, value) => {
          try {
            read({ ...llama, n_embd: 64, n_head: 4, n_layer: 2, model_type: type, [key]: value });
          } catch (error) {
            expect(error).toBeInstanceOf(HeddleError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

test("llama3 scaling as divisors and back", () => {
  const scaling = {
    ropeType: "llama3",
    factor: 32,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 8192,
  } as const;
  const factors = llama3Factors(scaling, 64, 500000);
  // Llama 3.2 1B: the first frequencies stay, the last are divided by 32, some lie between.
  expect(factors[0]).toBe(1);
  expect(factors[31]).toBe(32);
  expect([...factors].filter((value) => value > 1 && value < 32).length).toBeGreaterThan(0);
  expect(ropeScalingFromFactors(factors, 64, 500000)).toEqual(scaling);
  expect(ropeScalingFromFactors(new Float32Array(32).fill(1), 64, 500000)).toBeNull();
  const own = Float32Array.from(factors, (value, i) => value + i);
  expect(ropeScalingFromFactors(own, 64, 500000)).toEqual({ ropeType: "factors", factors: [...own] });
});

test("generation_config.json", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "generation_config.json");
  expect(await readGenerationConfig(folder)).toEqual({});
  const json = { eos_token_id: [1, 2], bos_token_id: 1, temperature: 0.6, top_p: 0.9, do_sample: true, unknown: {} };
  writeFileSync(path, JSON.stringify(json));
  const config = await readGenerationConfig(folder);
  expect(config).toEqual({ eosTokenIds: [1, 2], bosTokenId: 1, temperature: 0.6, topP: 0.9, doSample: true });
  expect(generationConfigToJson(config)).toEqual({ ...json, unknown: undefined });
  writeFileSync(path, '{"temperature":"hot"}');
  await expectError(
    () => readGenerationConfig(folder),
    "INVALID_FILE",
    /temperature: expected a number of at least 0, got "hot"/,
  );
  for (const [key, value, expected] of [
    ["temperature", -1, "a number of at least 0"],
    ["top_k", 0.5, "a whole number of at least 0"],
    ["top_p", 0, "a number above 0 and at most 1"],
    ["min_p", 2, "a number of 0 to 1"],
    ["repetition_penalty", 0, "a number above 0"],
  ] as const) {
    writeFileSync(path, JSON.stringify({ [key]: value }));
    const message = new RegExp(`generation_config.json: ${key}: expected ${expected}, got ${value}`);
    await expectError(() => readGenerationConfig(folder), "INVALID_FILE", message);
  }
  writeFileSync(path, "null");
  await expectError(
    () => readGenerationConfig(folder),
    "INVALID_FILE",
    /generation_config.json: expected an object, got null/,
  );
});

test("model card", async () => {
  const folder = temporaryFolder();
  expect(await readModelCard(folder)).toBeUndefined();
  await writeModelCard(folder, {
    stage: "pretrain",
    data: [{ name: "tinystories", licence: "CDLA-Sharing-1.0", tokens: 5 }],
    tokensSeen: 1e9,
    trainingCutoffDate: "2024-06-30",
    evaluations: [{ name: "held-out", metric: "bitsPerByte", value: 0.9 }],
  });
  expect(await readModelCard(folder)).toMatchObject({
    stage: "pretrain",
    parent: null,
    tokensSeen: 1e9,
    trainingCutoffDate: "2024-06-30",
  });
  await expectError(() => parseModelCard({}), "INVALID_ARGUMENT", /model card: stage: expected a string, got nothing/);
  await expectError(
    () => parseModelCard({ stage: "sft", trainingCutoffDate: "June" }),
    "INVALID_ARGUMENT",
    /trainingCutoffDate: expected a date such as/,
  );
  await expectError(
    () => parseModelCard({ stage: "sft", tokensSeen: -1 }, "card"),
    "INVALID_FILE",
    /tokensSeen: expected a whole number, got -1/,
  );
});
