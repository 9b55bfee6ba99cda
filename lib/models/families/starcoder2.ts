import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { plainMlp } from "../plain-mlp.ts";

/** StarCoder 2 (Lozhkov et al. 2024): LayerNorm, GELU without a gate, biases on all matrices, and a sliding window. */
export const starcoder2: FamilyDefinition = {
  modelType: "starcoder2",
  architecture: "Starcoder2ForCausalLM",
  defaults: {
    layerNormEpsilon: 1e-5,
    hiddenAct: "gelu_pytorch_tanh",
    maxPositionEmbeddings: 4096,
    attentionBias: true,
    tieWordEmbeddings: true,
  },
  fileDefaults: { numKeyValueHeads: 2 },
  keys: { norm_epsilon: "layerNormEpsilon", use_bias: "attentionBias" },
  mustBe: { norm_type: "layer_norm", mlp_type: "default" },
  windows: { kind: "all", otherwise: null },
  layerNorm: true,
  ungated: true,
  gguf: {
    architecture: "starcoder2",
    names: {
      "model.layers.{layer}.mlp.c_fc": "blk.{layer}.ffn_up",
      "model.layers.{layer}.mlp.c_proj": "blk.{layer}.ffn_down",
    },
    llamaCpp: { attentionBias: true, headsOfWidth: true },
  },
  ...decoderFamily({
    flags: { layerNorm: "biased" },
    feedForward: plainMlp("c_fc", "c_proj", ({ attentionBias }) => attentionBias),
  }),
};
