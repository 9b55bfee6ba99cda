import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../../lib/core/errors.ts";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { knownModelTypes } from "../../../lib/formats/config/families.ts";
import "../../../lib/models/registry.ts";
import { openModelFiles, readModelConfig } from "../../../lib/formats/model-files.ts";
import { expectError, temporaryFolder } from "../helpers.ts";

/** A config.json with the required fields. */
const llama = {
  model_type: "llama",
  vocab_size: 32000,
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};
const granite = {
  ...llama,
  model_type: "granitemoehybrid",
  num_local_experts: 0,
  position_embedding_type: "rope",
};
const encoder = { ...llama, model_type: "modernbert" };
const read = (value: unknown) => parseModelConfig(value, "config.json");

describe("invalid config.json", () => {
  test.each<[string, unknown, RegExp]>([
    ["an array instead of an object", [], /config.json: expected an object, got \[\]/],
    ["a missing model_type", {}, /model_type: expected a string, got nothing/],
    [
      "a missing vocab_size",
      { ...llama, vocab_size: undefined },
      /vocab_size: expected a whole number from 1 to 4194304, got nothing/,
    ],
    ["hidden_size as a string", { ...llama, hidden_size: "64" }, /hidden_size: expected a whole number.*got "64"/],
    [
      "hidden_size above the maximum",
      { ...llama, hidden_size: 1e9, head_dim: 4 },
      /hidden_size: expected a whole number from 1 to 131072/,
    ],
    [
      "a billion layers",
      { ...llama, num_hidden_layers: 1e9 },
      /num_hidden_layers: expected a whole number from 1 to 1024/,
    ],
    [
      "a fractional number of layers",
      { ...llama, num_hidden_layers: 0.5 },
      /num_hidden_layers: expected a whole number/,
    ],
    ["zero heads", { ...llama, num_attention_heads: 0 }, /num_attention_heads: expected a whole number from 1/],
    [
      "a number of heads that does not divide hidden_size",
      { ...llama, num_attention_heads: 5 },
      /hidden_size: expected a multiple of num_attention_heads 5, or an explicit head_dim, got 64/,
    ],
    [
      "a number of key heads that does not divide the heads",
      { ...llama, num_key_value_heads: 3 },
      /num_key_value_heads: expected a divisor of num_attention_heads 4, got 3/,
    ],
    ["odd head_dim", { ...llama, head_dim: 15 }, /head_dim: expected an even number/],
    ["an rms_norm_eps of 0", { ...llama, rms_norm_eps: 0 }, /rms_norm_eps: expected a number above 0/],
    ["a negative rope_theta", { ...llama, rope_theta: -1 }, /rope_theta: expected a number above 0/],
    [
      "a string as rope_theta in rope_parameters",
      { ...llama, rope_parameters: { rope_theta: "x" } },
      /rope_theta: expected a number above 0.*got "x"/,
    ],
    ["rope_scaling as an array", { ...llama, rope_scaling: [] }, /rope_scaling: expected an object/],
    [
      "llama3 scaling without factor",
      { ...llama, rope_scaling: { rope_type: "llama3" } },
      /rope_scaling.factor: expected/,
    ],
    [
      "tie_word_embeddings as a string",
      { ...llama, tie_word_embeddings: "yes" },
      /tie_word_embeddings: expected true or false, got "yes"/,
    ],
    [
      "layer_types of another length",
      { ...llama, model_type: "mistral", layer_types: ["full_attention"] },
      /layer_types: expected num_hidden_layers 2 entries, got 1/,
    ],
    [
      "a gpt2 width that the heads do not divide",
      { model_type: "gpt2", vocab_size: 3, n_embd: 10, n_head: 3, n_layer: 1 },
      /head_dim|n_embd/,
    ],
    ["eos_token_id as a string", { ...llama, eos_token_id: "</s>" }, /eos_token_ids?.*expected/],
  ])("is INVALID_FILE: %s", async (_name, value, message) => {
    await expectError(() => read(value), "INVALID_FILE", message);
  });

  test.each<[string, unknown, RegExp]>([
    [
      "an unknown family",
      { ...llama, model_type: "mamba" },
      /model_type "mamba" is not supported \(no similar type is supported; not supported: state-space layers; registerFamily adds types\)$/,
    ],
    [
      "an unknown family of text and images",
      { model_type: "mistral3", text_config: { ...llama, model_type: "mistral" }, vision_config: {} },
      /model_type "mistral3" is not supported \(nearest: mistral; not supported: images \(vision_config\); /,
    ],
    [
      "an unknown family with state-space layers",
      { ...llama, model_type: "jamba", mamba_d_state: 16, num_experts: 16, alibi: false },
      /not supported: state-space layers \(mamba_d_state\), its expert routing \(num_experts\); /,
    ],
    [
      "latent attention inside a family of text and images",
      { model_type: "kimi_vl", text_config: { ...llama, kv_lora_rank: 512 }, vision_config: {} },
      /not supported: latent attention \(kv_lora_rank\), images \(vision_config\), its expert routing; /,
    ],
    [
      "linear attention layers",
      { ...llama, layer_types: ["linear_attention", "full_attention"] },
      /"linear_attention" is not/,
    ],
    [
      "clip_qkv of the first OLMo models",
      { ...llama, model_type: "olmo2", clip_qkv: 8 },
      /clip_qkv: 8 is not supported/,
    ],
    ["bidirectional olmo2", { ...llama, model_type: "olmo2", is_causal: false }, /is_causal: false is not supported/],
    [
      "bidirectional llama by Gemma's key",
      { ...llama, use_bidirectional_attention: true },
      /use_bidirectional_attention: true is not supported/,
    ],
    [
      "sliding windows of a bidirectional mistral",
      { ...llama, model_type: "mistral", sliding_window: 4, is_causal: false },
      /config.json: sliding_window: 4 with bidirectional attention is not supported for mistral/,
    ],
    [
      "longrope with mscale values",
      {
        ...llama,
        rope_scaling: { type: "longrope", short_factor: [1, 1, 1, 1], long_factor: [1, 1, 1, 1], short_mscale: 1.2 },
      },
      /rope_scaling: short_mscale is not supported/,
    ],
    [
      "RoPE scaling of an encoder",
      { ...encoder, rope_scaling: { rope_type: "linear", factor: 2 } },
      /config.json: rope_scaling: linear is not supported for modernbert/,
    ],
    [
      "partial rotary factors of an encoder",
      { ...encoder, model_type: "nomic_bert", partial_rotary_factor: 0.5 },
      /config.json: partial_rotary_factor: 0.5 is not supported for nomic_bert/,
    ],
    ["an unknown activation", { ...llama, hidden_act: "relu" }, /hidden_act "relu" is not known/],
    [
      "an activation named like an Object method",
      { ...llama, hidden_act: "toString" },
      /hidden_act "toString" is not known/,
    ],
    ["quantized weights", { ...llama, quantization_config: { bits: 4 } }, /quantization_config/],
    [
      "an unknown RoPE scaling",
      { ...llama, rope_scaling: { rope_type: "ntk" } },
      /config.json: rope_scaling: type "ntk" is not known \(known: default, linear, .*longrope\)/,
    ],
    [
      "RoPE scaling of sliding layers only",
      {
        ...llama,
        rope_parameters: {
          full_attention: { rope_theta: 1, rope_type: "default" },
          sliding_attention: { rope_theta: 2, rope_type: "linear", factor: 2 },
        },
      },
      /rope_parameters: separate scaling of sliding_attention \("linear"\) is not supported/,
    ],
    [
      "partly bidirectional gemma3",
      { ...llama, model_type: "gemma3_text", use_bidirectional_attention: "vision" },
      /use_bidirectional_attention: "vision" is not supported/,
    ],
    [
      "bidirectional gemma2",
      { ...llama, model_type: "gemma2", use_bidirectional_attention: true },
      /use_bidirectional_attention: true is not supported/,
    ],
    ["gpt_neox with ReLU", { ...llama, model_type: "gpt_neox", hidden_act: "relu" }, /hidden_act "relu" is not known/],
    [
      "starcoder2 with RMSNorm",
      { ...llama, model_type: "starcoder2", norm_type: "rmsnorm" },
      /norm_type: "rmsnorm" is not supported/,
    ],
    [
      "starcoder2 with a gated MLP",
      { ...llama, model_type: "starcoder2", mlp_type: "gated" },
      /mlp_type: "gated" is not supported/,
    ],
    [
      "Command R7B with q and k norms",
      { ...llama, model_type: "cohere2", use_qk_norm: true },
      /use_qk_norm: true is not supported/,
    ],
    [
      "Phi with q and k norms",
      { ...llama, model_type: "phi", qk_layernorm: true },
      /qk_layernorm: true is not supported/,
    ],
    ["Granite 4 with experts", { ...granite, num_local_experts: 8 }, /num_local_experts: 8 is not supported/],
    [
      "Granite 4 without position embeddings",
      { ...granite, position_embedding_type: "nope" },
      /position_embedding_type: "nope" is not supported/,
    ],
    [
      "Granite 4 with state-space layers",
      { ...granite, layer_types: ["attention", "mamba"] },
      /layer_types: "mamba" is not supported \(known: attention\)/,
    ],
    ["Granite 4 without layer_types", granite, /layer_types: "mamba" is not supported/],
    [
      "Granite 4 without position_embedding_type",
      { ...granite, position_embedding_type: undefined, layer_types: ["attention", "attention"] },
      /position_embedding_type: .* is not supported/,
    ],
    [
      "Seed-OSS with an attention output bias",
      { ...llama, model_type: "seed_oss", attention_out_bias: true },
      /attention_out_bias: true is not supported/,
    ],
    ["ERNIE 4.5 with biases", { ...llama, model_type: "ernie4_5", use_bias: true }, /use_bias: true is not supported/],
    [
      "gpt2 with scores scaled by layer",
      { model_type: "gpt2", scale_attn_by_inverse_layer_idx: true },
      /scale_attn_by_inverse_layer_idx/,
    ],
  ])("is UNSUPPORTED: %s", async (_name, value, message) => {
    await expectError(() => read(value), "UNSUPPORTED", message);
  });

  test.each<[string, object, string]>([
    ["minicpm", { scale_depth: 1.4 }, "its logit scale (scale_depth)"],
    [
      "llama4_text",
      { attention_chunk_size: 8192, use_qk_norm: true },
      "chunked attention (attention_chunk_size), its QK norms (use_qk_norm), its expert routing",
    ],
    ["opt", {}, "its feed-forward blocks (ReLU without a gate), its positions, which begin at 2"],
    ["xlm-roberta-xl", { layer_norm_eps: 1e-5, type_vocab_size: 1 }, "BERT's blocks with pre-norm"],
    ["deberta-v2", { layer_norm_eps: 1e-7, type_vocab_size: 0 }, "disentangled attention"],
    ["albert", {}, "layers that share their weights"],
    [
      "nemotron",
      { hidden_act: "relu2" },
      'its feed-forward blocks (squared ReLU without a gate), its activation ("relu2")',
    ],
    ["other", { layer_types: ["full_attention", "chunked_attention"] }, 'its layers ("chunked_attention")'],
    ["another", { layer_types: 3, hidden_act: ["silu"], alibi: false }, ""],
  ])("an unknown model type is reported with the features that heddle lacks: %s", (model_type, more, wanted) => {
    let message = "";
    try {
      read({ ...llama, model_type, ...more });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(/; not supported: (.*); registerFamily adds types\)$/.exec(message)?.[1] ?? "").toBe(wanted);
    expect(message).toContain(`model_type "${model_type}" is not supported`);
  });

  test("an unknown model type is reported before missing weights", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...llama, model_type: "mamba", state_size: 16 }));
    await expectError(() => openModelFiles(folder), "UNSUPPORTED", /"mamba" is not supported .*state-space layers/);
    writeFileSync(join(folder, "config.json"), JSON.stringify(llama));
    await expectError(() => openModelFiles(folder), "NOT_FOUND", /expected model.safetensors/);
  });

  test("files that are missing, not JSON, nested too deeply or too large are rejected", async () => {
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

  test("misspelt keys are reported with the nearest key, and invalid values with the allowed ones", async () => {
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
    await expectError(
      parse({ modelType: "t5" }),
      "UNSUPPORTED",
      /"t5" is not supported \(no similar type is supported; not supported: an encoder beside the decoder; /,
    );
    for (const modelType of ["bert", "gpt2", "roberta", "distilbert"])
      await expectError(
        parse({ modelType, hiddenAct: "silu" }),
        "INVALID_ARGUMENT",
        new RegExp(`hiddenAct: expected gelu or gelu_pytorch_tanh for ${modelType}, got silu`),
      );
    for (const modelType of ["bert", "modernbert", "nomic_bert", "camembert"])
      await expectError(
        parse({ modelType, numAttentionHeads: 4, numKeyValueHeads: 2 }),
        "INVALID_ARGUMENT",
        new RegExp(`numKeyValueHeads: expected numAttentionHeads 4 for ${modelType}, got 2`),
      );
    for (const more of [{ typeVocabSize: 2 }, { layerNormEpsilon: 1e-5 }])
      await expectError(
        parse({ modelType: "distilbert", ...more }),
        "INVALID_ARGUMENT",
        /layerNormEpsilon and typeVocabSize: expected 1e-12 and no value/,
      );
  });

  test("any JSON value of a key gives a configuration or a HeddleError", () => {
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
        fc.constantFrom(...knownModelTypes()),
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
