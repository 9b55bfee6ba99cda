// The config.json of GPT-NeoX, and StableLM's norms of heads in folders.
import { describe, expect, test } from "vitest";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { modelConfigToJson } from "../../lib/formats/config/config-json.ts";
import { LanguageModel } from "../../lib/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { familyGoldens, writeFamily } from "../golden/families.ts";
import { failureOf } from "../inference/helpers.ts";

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
