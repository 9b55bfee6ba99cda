import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ModelConfigInput, parseModelConfig } from "../../../lib/formats/config/config.ts";
import { knownModelTypes } from "../../../lib/formats/config/families.ts";
import "../../../lib/models/registry.ts";
import { modelConfigToJson } from "../../../lib/formats/config/config-json.ts";
import {
  llama3Factors,
  ropeAttentionFactor,
  ropeScalingFromFactors,
} from "../../../lib/formats/config/rope-scaling.ts";

/** A config.json with the required fields. */
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
  test("reads settings specific to a family", () => {
    const cohere = { ...llama, model_type: "cohere", max_position_embeddings: 8192 };
    expect(read({ ...cohere, model_max_length: 131072 }).maxPositionEmbeddings).toBe(131072);
    expect(read({ ...cohere, model_max_length: 4096 }).maxPositionEmbeddings).toBe(8192);
    expect(read({ ...llama, model_max_length: 131072 }).maxPositionEmbeddings).toBe(2048);
    expect(modelConfigToJson(read({ ...llama, model_type: "cohere2", rotary_pct: 1 }))).toMatchObject({
      rotary_pct: 1,
    });
    expect(() => read({ ...llama, model_type: "cohere2", rotary_pct: 0.5 })).toThrow(
      /rotary_pct: 0.5 is not supported/,
    );
    for (const model_type of ["glm", "glm4"])
      expect(read({ ...llama, model_type })).toMatchObject({ attentionBias: true, partialRotaryFactor: 0.5 });
    expect(read({ ...llama, model_type: "mixtral", num_attention_heads: 32 }).numKeyValueHeads).toBe(8);
  });

  test("turns HunYuan's dynamic scaling with alpha into a fixed θ", () => {
    const hunyuan = { ...llama, model_type: "hunyuan_v1_dense", head_dim: 16, rope_theta: 500 };
    const scaling = { type: "dynamic", alpha: 1000, factor: 1, mscale: 1 };
    const config = read({ ...hunyuan, rope_scaling: scaling });
    expect(config).toMatchObject({ ropeScaling: null, rmsNormEps: 1e-5 });
    expect(config.ropeTheta / (500 * 1000 ** (16 / 14))).toBeCloseTo(1, 6);
    expect(
      read({ ...hunyuan, rope_theta: undefined, rope_parameters: { rope_theta: 500, ...scaling } }).ropeTheta,
    ).toBe(config.ropeTheta);
    expect(modelConfigToJson(config)).toMatchObject({ rope_scaling: null, rope_theta: config.ropeTheta });
    const { alpha: _, ...dynamic } = scaling;
    expect(read({ ...hunyuan, rope_scaling: dynamic }).ropeScaling).toMatchObject({ ropeType: "dynamic" });
    for (const alpha of [null, 0])
      expect(read({ ...hunyuan, rope_scaling: { ...scaling, alpha } }).ropeScaling).toMatchObject({ factor: 1 });
    for (const [alpha, got] of [
      [-1, "-1"],
      ["x", '"x"'],
      [Infinity, "Infinity"],
    ] as const)
      expect(() => read({ ...hunyuan, rope_scaling: { ...scaling, alpha } })).toThrow(
        `rope_scaling.alpha: expected a finite number of at least 0, got ${got}`,
      );
    expect(() => read({ ...hunyuan, use_cla: true })).toThrow(/use_cla: true is not supported/);
    expect(() => read({ ...hunyuan, use_qk_norm: false })).toThrow(/use_qk_norm: false is not supported/);
  });

  test("fills in Phi's defaults and uses its key for the norm epsilon", () => {
    const phi = { ...llama, model_type: "phi" };
    expect(read(phi)).toMatchObject({
      ...{ partialRotaryFactor: 0.5, layerNormEpsilon: 1e-5, attentionBias: true, numKeyValueHeads: 4 },
      ...{ hiddenAct: "gelu_pytorch_tanh", tieWordEmbeddings: false, maxPositionEmbeddings: 2048 },
    });
    const json = modelConfigToJson(read({ ...phi, layer_norm_eps: 1e-6, partial_rotary_factor: 0.25 }));
    expect(json).toMatchObject({ layer_norm_eps: 1e-6, partial_rotary_factor: 0.25 });
    expect(json).not.toHaveProperty("rms_norm_eps");
    expect(() => read({ ...phi, hidden_act: "silu" })).toThrow(
      /hidden_act: expected gelu or gelu_pytorch_tanh for phi/,
    );
  });

  test("fills in Seed-OSS's defaults", () => {
    const seed = read({ ...llama, model_type: "seed_oss", num_attention_heads: 8 });
    expect(seed).toMatchObject({ attentionBias: true, mlpBias: false, headDim: 128, numKeyValueHeads: 8 });
    expect(seed.maxPositionEmbeddings).toBe(524288);
  });

  test("distinguishes null from a missing key", () => {
    const nulls = { num_key_value_heads: null, head_dim: null };
    for (const model_type of ["ernie4_5", "mixtral", "starcoder2", "qwen3", "llama"])
      expect(read({ ...llama, model_type, ...nulls })).toMatchObject({ numKeyValueHeads: 4, headDim: 16 });
    expect(read({ ...llama, model_type: "ernie4_5", use_bias: null, rope_scaling: null })).toMatchObject({
      ...{ numKeyValueHeads: 2, headDim: 128, ropeScaling: null },
    });
  });

  test("reads EXAONE 4's sliding window pattern as letters, a number or layer types, or no window", () => {
    const exaone = { ...llama, model_type: "exaone4", num_hidden_layers: 4 };
    const layers = (more: object) =>
      read({ ...exaone, sliding_window: 8, ...more })
        .layerTypes.map((type) => (type === "full_attention" ? "G" : "L"))
        .join("");
    expect(layers({})).toBe("LLLG");
    expect(layers({ sliding_window_pattern: "LG" })).toBe("LGLG");
    expect(layers({ sliding_window_pattern: 3 })).toBe("LLGL");
    const types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];
    expect(layers({ layer_types: types, sliding_window_pattern: "LLLG" })).toBe("GLGL");
    expect(read(exaone)).toMatchObject({ slidingWindow: 4096, rmsNormEps: 1e-5 });
    const whole = { sliding_window: null, sliding_window_pattern: null, layer_types: Array(4).fill("full_attention") };
    expect(read({ ...exaone, ...whole })).toMatchObject({ slidingWindow: null, layerTypes: whole.layer_types });
    expect(() => layers({ sliding_window_pattern: "LGL" })).toThrow(
      /sliding_window_pattern: expected a number, or a string of layers such as LLLG, got "LGL"/,
    );
  });

  test("uses transformers' defaults for missing keys", () => {
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

  test("reads both forms of rotary parameters alike", () => {
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

  test("uses the global θ for ModernBERT's sliding layers if the local θ is null", () => {
    const bert = { ...llama, model_type: "modernbert", num_key_value_heads: undefined, max_position_embeddings: 64 };
    const thetas = (more: object) => {
      const { ropeTheta, ropeLocalTheta } = read({ ...bert, ...more });
      return [ropeTheta, ropeLocalTheta];
    };
    expect(thetas({})).toEqual([160000, 10000]);
    expect(thetas({ local_rope_theta: null })).toEqual([160000, 160000]);
    expect(thetas({ global_rope_theta: 9, local_rope_theta: null })).toEqual([9, 9]);
    expect(thetas({ global_rope_theta: 9, local_rope_theta: 8 })).toEqual([9, 8]);
  });

  test("prefers rope_scaling if a file has both forms, as transformers does", () => {
    const linear = { type: "linear", factor: 2 };
    const scaled = { ropeScaling: { ropeType: "linear", factor: 2 } };
    const plain = { rope_type: "default", rope_theta: 5e5 };
    expect(read({ ...llama, rope_parameters: plain, rope_scaling: linear })).toMatchObject({
      ...scaled,
      ropeTheta: 5e5,
    });
    expect(read({ ...llama, rope_theta: 7, rope_parameters: plain, rope_scaling: linear }).ropeTheta).toBe(7);
    expect(read({ ...llama, rope_parameters: {}, rope_scaling: linear })).toMatchObject(scaled);
    const others = { ropeTheta: 5e5, ropeScaling: null };
    for (const none of [null, {}])
      expect(read({ ...llama, rope_parameters: plain, rope_scaling: none })).toMatchObject(others);
    const sets = { full_attention: { ...plain, rope_theta: 1e6 }, sliding_attention: { rope_theta: 1e4 } };
    expect(read({ ...llama, model_type: "gemma3_text", rope_parameters: sets, rope_scaling: linear })).toMatchObject({
      ...scaled,
      ...{ ropeTheta: 1e6, ropeLocalTheta: 1e4 },
    });
  });

  test("derives unset scaling parameters, and rejects invalid ones", () => {
    const yarn = { type: "yarn", factor: 4, original_max_position_embeddings: 512 };
    const expected = { ropeType: "yarn", factor: 4, originalMaxPositionEmbeddings: 512 };
    const scalingOf = (more: object) => read({ ...llama, max_position_embeddings: 2048, ...more }).ropeScaling;
    // DeepSeek writes 0 for unset mscale values. A null YaRN factor is derived from the context lengths.
    expect(scalingOf({ rope_scaling: { ...yarn, mscale: 0, mscale_all_dim: 0 } })).toEqual(expected);
    expect(scalingOf({ rope_scaling: { ...yarn, factor: null } })).toEqual(expected);
    // Phi-3 prefers the top-level original_max_position_embeddings. Other families use it only if rope_scaling has none.
    const beside = { original_max_position_embeddings: 256, rope_scaling: yarn };
    expect(scalingOf(beside)).toEqual(expected);
    const original = { ...expected, originalMaxPositionEmbeddings: 256 };
    expect(scalingOf({ ...beside, model_type: "phi3" })).toEqual(original);
    expect(scalingOf({ ...beside, rope_scaling: { type: "yarn", factor: 4 } })).toEqual(original);
    for (const [more, message] of [
      [{ rope_scaling: { type: 5 } }, "rope_scaling.rope_type: expected a string, got 5"],
      [{ rope_scaling: 3, rope_parameters: {} }, "rope_scaling: expected an object, got 3"],
      [{ rope_parameters: [] }, "rope_parameters: expected an object, got []"],
      [{ ...beside, original_max_position_embeddings: "x", model_type: "phi3" }, 'to 1073741824, got "x"'],
      [{ rope_scaling: { ...yarn, factor: undefined } }, "rope_scaling.factor: expected a number above 0"],
    ] as const)
      expect(() => scalingOf(more)).toThrow(message);
    const made = { modelType: "llama", vocabSize: 9, hiddenSize: 64, numHiddenLayers: 1 };
    expect(() => parseModelConfig({ ...made, ropeScaling: { ropeType: "ntk", factor: 2 } })).toThrow(
      'ropeScaling.ropeType: expected one of linear, dynamic, llama3, yarn, longrope, factors, got "ntk"',
    );
  });

  test("enables Qwen's sliding windows only with use_sliding_window, from max_window_layers on", () => {
    const qwen = { ...llama, model_type: "qwen2", num_hidden_layers: 3, sliding_window: 128, max_window_layers: 2 };
    expect(read({ ...qwen, use_sliding_window: false }).slidingWindow).toBeNull();
    expect(read({ ...qwen, use_sliding_window: true })).toMatchObject({
      slidingWindow: 128,
      layerTypes: ["full_attention", "full_attention", "sliding_attention"],
    });
    const types = ["sliding_attention", "full_attention", "sliding_attention"];
    expect(read({ ...qwen, use_sliding_window: true, layer_types: types }).layerTypes).toEqual(types);
  });

  test("uses the defaults of each family's transformers class", () => {
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
    // null disables the cap.
    expect(of("gemma2", { attn_logit_softcapping: null }).attnLogitSoftcapping).toBeNull();
    expect(of("vaultgemma")).toEqual({ ...of("gemma2"), modelType: "vaultgemma" });
    expect(of("vaultgemma", { hidden_activation: "gelu" }).hiddenAct).toBe("gelu");
    expect(of("gemma3_text")).toMatchObject({
      ropeTheta: 1e6,
      ropeLocalTheta: 1e4,
      finalLogitSoftcapping: null,
      layerTypes: [sliding, sliding, sliding, sliding, sliding, full],
    });
    expect(of("gemma3_text", { sliding_window_pattern: 2 }).layerTypes).toEqual(of("gemma2").layerTypes);
    expect(of("gemma3_text", { _sliding_window_pattern: 2 }).layerTypes).toEqual(of("gemma2").layerTypes);
    expect(of("olmo3", { rope_theta: 7 })).toMatchObject({
      slidingWindow: 4096,
      layerTypes: [sliding, sliding, sliding, full, sliding, sliding],
      ropeTheta: 7,
      ropeLocalTheta: 7,
    });
    // Versions of transformers use different keys for the number of experts.
    for (const model_type of ["qwen3_moe", "gpt_oss"])
      for (const key of ["num_experts", "num_local_experts"]) expect(of(model_type, { [key]: 9 }).numExperts).toBe(9);
    expect(of("qwen3_moe", { num_experts: 8, num_local_experts: 9 }).numExperts).toBe(8);
    expect(of("granite")).toMatchObject({ attentionMultiplier: 1, logitsScaling: 1, slidingWindow: null });
    expect(of("phi3").slidingWindow).toBeNull();
    expect(of("phi3", { sliding_window: 8 }).layerTypes).toEqual(Array(6).fill(sliding));
    expect(of("smollm3").noRopeLayers).toEqual([1, 1, 1, 0, 1, 1]);
    expect(of("smollm3", { no_rope_layer_interval: 2 }).noRopeLayers).toEqual([1, 0, 1, 0, 1, 0]);
    const windowed = { use_sliding_window: true, sliding_window: 9 };
    expect(of("smollm3", windowed).layerTypes).toEqual([full, full, full, sliding, full, full]);
    // For a new model, missing values are derived from its sizes.
    const made = parseModelConfig({ modelType: "gemma2", vocabSize: 9, hiddenSize: 128, numHiddenLayers: 2 });
    expect(made).toMatchObject({ headDim: 64, queryPreAttnScalar: 64, slidingWindow: 4096 });
    expect(parseModelConfig({ ...made, modelType: "granite" }).attentionMultiplier).toBe(1 / 64);
  });

  test("reads partial rotary factors and a separate θ for sliding layers", () => {
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

  test("takes longrope's attention factor from the context lengths, and from `factor` only without them", () => {
    const longrope = { type: "longrope", long_factor: Array(8).fill(2), short_factor: Array(8).fill(1), factor: 8 };
    const phi3 = { ...llama, model_type: "phi3", max_position_embeddings: 65536, rope_scaling: longrope };
    const expected = (factor: number, original: number) => Math.sqrt(1 + Math.log(factor) / Math.log(original));
    expect(ropeAttentionFactor(read({ ...phi3, original_max_position_embeddings: 4096 }))).toBe(expected(16, 4096));
    expect(ropeAttentionFactor(read(phi3))).toBe(expected(8, 65536));
  });

  test("accepts different spellings of token ids, dtypes and activations", () => {
    const tokens = read({ ...llama, eos_token_id: [128001, 128008], bos_token_id: 128000, pad_token_id: -1 });
    expect(tokens).toMatchObject({ eosTokenIds: [128001, 128008], bosTokenId: 128000, padTokenId: null });
    expect(read({ ...llama, torch_dtype: "bfloat16" }).dtype).toBe("bf16");
    expect(read({ ...llama, dtype: "float16" }).dtype).toBe("f16");
    // In Gemma's first files, "gelu" means the tanh form.
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
});

describe("camelCase options", () => {
  test.each(["bert", "distilbert", "modernbert", "nomic_bert"])(
    "must not have RoPE scaling or partial rotation for %s",
    (modelType) => {
      const sizes = { modelType, vocabSize: 9, hiddenSize: 64, numHiddenLayers: 2 };
      const refused = (config: object) => expect(() => parseModelConfig({ ...sizes, ...config }));
      refused({ ropeScaling: { ropeType: "yarn", factor: 4 } }).toThrow(
        expect.objectContaining({
          code: "UNSUPPORTED",
          message: expect.stringContaining(`ropeScaling: yarn is not supported for ${modelType}`),
        }),
      );
      refused({ partialRotaryFactor: 0.5 }).toThrow(`partialRotaryFactor: 0.5 is not supported for ${modelType}`);
      expect(parseModelConfig({ ...sizes, ropeScaling: null, partialRotaryFactor: 1 }).partialRotaryFactor).toBe(1);
    },
  );

  test("derive sizes from hiddenSize", () => {
    const config = parseModelConfig({ modelType: "llama", vocabSize: 100, hiddenSize: 320, numHiddenLayers: 8 });
    expect(config).toMatchObject({ numAttentionHeads: 5, numKeyValueHeads: 5, headDim: 64, intermediateSize: 896 });
    expect(parseModelConfig({ modelType: "gpt2", vocabSize: 9, hiddenSize: 48, numHiddenLayers: 1 })).toMatchObject({
      numAttentionHeads: 1,
      intermediateSize: 192,
    });
  });

  test("round-trip through config.json", () => {
    const sizes = fc.record({
      modelType: fc.constantFrom(...knownModelTypes()),
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
});

test("converts llama3 scaling to divisors and back", () => {
  const scaling = {
    ropeType: "llama3",
    factor: 32,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 8192,
  } as const;
  const factors = llama3Factors(scaling, 64, 500000);
  // Llama 3.2 1B: the first frequencies are unchanged, the last are divided by 32, and some are in between.
  expect(factors[0]).toBe(1);
  expect(factors[31]).toBe(32);
  expect([...factors].filter((value) => value > 1 && value < 32).length).toBeGreaterThan(0);
  expect(ropeScalingFromFactors(factors, 64, 500000)).toEqual(scaling);
  expect(ropeScalingFromFactors(new Float32Array(32).fill(1), 64, 500000)).toBeNull();
  const own = Float32Array.from(factors, (value, i) => value + i);
  expect(ropeScalingFromFactors(own, 64, 500000)).toEqual({ ropeType: "factors", factors: [...own] });
});
