import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { plainMlp } from "../plain-mlp.ts";

/**
 * Phi 1, 1.5 and 2 (Gunasekar et al. 2023, Li et al. 2023): LayerNorm, parallel attention and feed-forward blocks with
 * one norm, partial RoPE, GELU without a gate, and biases on all matrices including the head.
 */
export const phi: FamilyDefinition = {
  modelType: "phi",
  architecture: "PhiForCausalLM",
  defaults: { layerNormEpsilon: 1e-5, hiddenAct: "gelu_pytorch_tanh", attentionBias: true },
  fileDefaults: { partialRotaryFactor: 0.5 },
  keys: { layer_norm_eps: "layerNormEpsilon" },
  mustBe: { qk_layernorm: false },
  layerNorm: true,
  ungated: true,
  gguf: {
    architecture: "phi2",
    names: {
      "model.embed_tokens": "token_embd",
      "model.final_layernorm": "output_norm",
      lm_head: "output",
      "model.layers.{layer}.input_layernorm": "blk.{layer}.attn_norm",
      "model.layers.{layer}.self_attn.q_proj": "blk.{layer}.attn_q",
      "model.layers.{layer}.self_attn.k_proj": "blk.{layer}.attn_k",
      "model.layers.{layer}.self_attn.v_proj": "blk.{layer}.attn_v",
      "model.layers.{layer}.self_attn.dense": "blk.{layer}.attn_output",
      "model.layers.{layer}.mlp.fc1": "blk.{layer}.ffn_up",
      "model.layers.{layer}.mlp.fc2": "blk.{layer}.ffn_down",
    },
    complete: true,
    llamaCpp: { attentionBias: true, tiedHead: false, headsOfWidth: true },
  },
  ...decoderFamily({
    flags: {
      layerNorm: "biased",
      parallel: "one norm",
      headBias: true,
      names: { norm: "model.final_layernorm", output: "dense" },
    },
    feedForward: plainMlp("fc1", "fc2", () => true),
  }),
};
