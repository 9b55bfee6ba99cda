// Unknown model types: the error names the nearest type and the missing feature, and does not list all known types.
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../../lib/core/errors.ts";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { isModelType, knownModelTypes } from "../../../lib/formats/config/families.ts";
import { nearestType, neededByName } from "../../../lib/formats/config/other-types.ts";
import { type FamilyDefinition, registerFamily } from "../../../lib/graph-entry.ts";

const llama = { vocab_size: 32, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, rms_norm_eps: 1e-6 };

function messageOf(config: object): string {
  try {
    parseModelConfig(config, "config.json");
  } catch (error) {
    expect(error).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).code).toBe("UNSUPPORTED");
    return (error as Error).message;
  }
  throw new Error("parseModelConfig: expected an error, got a configuration");
}

/** Excerpts of published configurations, with the nearest type and a pattern for the missing feature. */
const PUBLISHED: [type: string, config: object, near: string | undefined, missing: RegExp][] = [
  ["deepseek_v3", { kv_lora_rank: 512, n_routed_experts: 256, n_shared_experts: 1 }, "qwen3_moe", /latent attention/],
  ["deepseek_v2", { kv_lora_rank: 512 }, "qwen3_moe", /latent attention \(kv_lora_rank\)/],
  ["qwen3_next", { linear_key_head_dim: 128, num_experts: 512 }, "qwen3_moe", /linear attention/],
  ["qwen2_5_vl", { vision_config: {} }, "qwen2", /images \(vision_config\), positions in images/],
  ["qwen3_vl_moe", { text_config: {}, vision_config: {} }, "qwen3_moe", /images/],
  ["llama4", { text_config: { attention_chunk_size: 8192 }, vision_config: {} }, "llama", /chunked attention/],
  ["mllama", { text_config: {}, vision_config: {} }, "llama", /images/],
  ["mistral3", { text_config: { model_type: "mistral" }, vision_config: {} }, "mistral", /images/],
  ["gemma3n", { text_config: {}, vision_config: {}, audio_config: {} }, "gemma3_text", /AltUp/],
  ["paligemma", { vision_config: {} }, "gemma", /images/],
  ["mamba", { state_size: 16 }, undefined, /state-space layers \(state_size\)/],
  ["mamba2", {}, undefined, /state-space layers/],
  ["rwkv7", {}, undefined, /recurrent layers/],
  ["jamba", { mamba_d_state: 16 }, "mixtral", /state-space layers/],
  ["falcon_h1", { mamba_d_state: 16 }, "granitemoehybrid", /state-space layers/],
  ["recurrent_gemma", { lru_width: 2560 }, "gemma", /recurrent layers \(lru_width\)/],
  ["lfm2", { conv_L_cache: 3 }, "llama", /recurrent layers \(conv_L_cache\), convolutions/],
  ["falcon", { alibi: true }, "gpt_neox", /\(ALiBi\) \(alibi\)/],
  ["mpt", {}, "gpt2", /ALiBi/],
  ["bloom", {}, "gpt2", /ALiBi/],
  ["opt", { activation_function: "relu" }, "gpt2", /ReLU/],
  ["gptj", {}, "phi", /biases/],
  ["gpt_bigcode", { multi_query: true }, "gpt2", /multi-query/],
  ["nemotron", { hidden_act: "relu2" }, "llama", /squared ReLU/],
  ["internlm2", {}, "llama", /weight names/],
  ["minicpm", { scale_depth: 1.4, scale_emb: 12 }, "granite", /its logit scale \(scale_depth\)/],
  ["dbrx", { attn_config: { clip_qkv: 8 } }, "mixtral", /expert routing/],
  ["phimoe", { num_local_experts: 16 }, "mixtral", /expert routing \(num_local_experts\)/],
  ["glm4_moe", { n_routed_experts: 128 }, "qwen3_moe", /expert routing/],
  ["t5", { is_encoder_decoder: true }, undefined, /an encoder beside the decoder/],
  ["bart", { is_encoder_decoder: true }, undefined, /an encoder beside the decoder/],
  ["whisper", { num_mel_bins: 80 }, undefined, /audio \(num_mel_bins\)/],
  ["deberta-v2", { type_vocab_size: 0 }, "bert", /disentangled attention/],
  ["albert", { type_vocab_size: 2 }, "bert", /share their weights/],
  ["longformer", { attention_window: [512] }, "roberta", /sparse attention/],
  // Types that heddle knows nothing about. Their nearest type is found by name or by structure. The message lists keys that the nearest type does not have.
  ["llama_ultra", { hyper_width: 3 }, "llama", /^llama has no hyper_width$/],
  ["qwen3_ultra", {}, "qwen3", /^$/],
  ["lama", {}, "llama", /^$/],
  ["sparsity", { num_experts: 8 }, "mixtral", /expert routing \(num_experts\)/],
  ["textbert2", { type_vocab_size: 2, dual_path: true }, "bert", /^bert has no dual_path$/],
  [
    "normal",
    { layer_norm_eps: 1e-5, rms_norm_eps: undefined, a: 1, b: 1, c: 1, d: 1, e: 1 },
    "gpt_neox",
    /a, b, c, d, …$/,
  ],
];
// A type is left out once a family supports it, so adding a family does not change this list.
const unsupported = PUBLISHED.filter(([type]) => !isModelType(type));

describe("a model type that heddle does not provide", () => {
  test.each(unsupported)(
    "is reported with the nearest type and the missing feature: %s",
    (model_type, config, near, missing) => {
      const message = messageOf({ ...llama, ...config, model_type });
      const said =
        /^config\.json: model_type "(.+?)" is not supported \((?:nearest: ([\w-]+)|no similar type is supported)(?:; (.*))?; registerFamily adds types\)$/.exec(
          message,
        );
      expect(said, message).not.toBeNull();
      expect(said![1]).toBe(model_type);
      expect(said![2]).toBe(near);
      expect(said![3]?.replace(/^not supported: /, "") ?? "").toMatch(missing);
      if (near !== undefined) expect(knownModelTypes()).toContain(near);
      expect(message.length).toBeLessThan(300);
    },
  );

  test("an unknown model type in options is reported with the nearest spelling", () => {
    expect(messageOf({ modelType: "lama", vocabSize: 3, hiddenSize: 16, numHiddenLayers: 1 })).toBe(
      'config.json: model_type "lama" is not supported (nearest: llama; registerFamily adds types)',
    );
  });

  test("is its own nearest type once a family is registered for it, and then its name implies no missing feature", () => {
    expect(unsupported.length).toBeGreaterThan(20);
    const unknown = { name: "gpt_neo", value: () => undefined, keys: [] };
    expect(nearestType(unknown)).toBe("gpt2");
    expect(neededByName("gpt_neo")).not.toEqual([]);
    const { weights, forward }: Pick<FamilyDefinition, "weights" | "forward"> = {
      weights: () => new Map(),
      forward: ({ ids }) => ids,
    };
    registerFamily({ modelType: "gpt_neo", architecture: "GPTNeoForCausalLM", weights, forward });
    expect(nearestType(unknown)).toBe("gpt_neo");
    expect(neededByName("gpt_neo")).toEqual([]);
  });

  test("is reported quickly, whatever its name and keys are", () => {
    const keys = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`${"k".repeat(50)}${i}`, i]));
    const start = performance.now();
    expect(messageOf({ ...llama, ...keys, model_type: "x".repeat(100_000) }).length).toBeLessThan(600);
    expect(performance.now() - start).toBeLessThan(1000);
  });
});
