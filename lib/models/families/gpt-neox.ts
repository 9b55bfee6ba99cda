import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { plainMlp } from "../plain-mlp.ts";

/**
 * GPT-NeoX (Black et al. 2022), including Pythia: layer norms, parallel attention and feed-forward blocks, each head's q, k and v in one
 * projection, partial RoPE, GELU without a gate.
 */
export const gptNeox: FamilyDefinition = {
  modelType: "gpt_neox",
  architecture: "GPTNeoXForCausalLM",
  defaults: { layerNormEpsilon: 1e-5, hiddenAct: "gelu", attentionBias: true, useParallelResidual: true },
  fileDefaults: { partialRotaryFactor: 0.25 },
  keys: {
    layer_norm_eps: "layerNormEpsilon",
    rotary_emb_base: "ropeTheta",
    rotary_pct: "partialRotaryFactor",
    use_parallel_residual: "useParallelResidual",
  },
  layerNorm: true,
  ungated: true,
  wholeHeads: true,
  headName: "embed_out",
  classifierNames: { token: "classifier" },
  trunk: { prefix: "gpt_neox.", bare: "embed_in.weight" },
  // Attention masks, which older versions of transformers stored.
  unread: () => /\.(attn|attention)\.(bias|masked_bias)$/,
  gguf: {
    architecture: "gptneox",
    layout: "qkv",
    names: {
      "gpt_neox.embed_in": "token_embd",
      "gpt_neox.final_layer_norm": "output_norm",
      embed_out: "output",
      "gpt_neox.layers.{layer}.input_layernorm": "blk.{layer}.attn_norm",
      "gpt_neox.layers.{layer}.attention.query_key_value": "blk.{layer}.attn_qkv",
      "gpt_neox.layers.{layer}.attention.dense": "blk.{layer}.attn_output",
      "gpt_neox.layers.{layer}.post_attention_layernorm": "blk.{layer}.ffn_norm",
      "gpt_neox.layers.{layer}.mlp.dense_h_to_4h": "blk.{layer}.ffn_up",
      "gpt_neox.layers.{layer}.mlp.dense_4h_to_h": "blk.{layer}.ffn_down",
    },
    complete: true,
    keys: { use_parallel_residual: "useParallelResidual" },
    defaults: () => ({ useParallelResidual: true }),
    llamaCpp: { attentionBias: true, tiedHead: false, hiddenAct: "gelu_pytorch_tanh" },
  },
  ...decoderFamily({
    flags: {
      layerNorm: "biased",
      fused: "qkv by head",
      names: {
        embedding: "gpt_neox.embed_in",
        layers: "gpt_neox.layers",
        norm: "gpt_neox.final_layer_norm",
        head: "embed_out",
        attention: "attention",
        qkv: "query_key_value",
        output: "dense",
      },
    },
    shape: ({ useParallelResidual }) => (useParallelResidual ? { parallel: "two norms" } : {}),
    feedForward: plainMlp("dense_h_to_4h", "dense_4h_to_h", () => true),
  }),
};
