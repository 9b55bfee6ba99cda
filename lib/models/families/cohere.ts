import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

const defaults = {
  layerNormEpsilon: 1e-5,
  maxPositionEmbeddings: 8192,
  logitScale: 0.0625,
  tieWordEmbeddings: true,
};
const keys = { layer_norm_eps: "layerNormEpsilon", logit_scale: "logitScale" } as const;
// Additional keys in Command R's official files.
const mustBe = { use_parallel_block: true, use_gated_activation: true };
const ggufKeys = { logit_scale: "logitScale" } as const;
const limits = { attentionBias: false, mlpBias: false, tiedHead: true };

const flags = { layerNorm: "plain", parallel: "one norm", interleaved: true } as const;
const logits = ({ logitScale = 1 }: { logitScale?: number | undefined }) => ({ scale: logitScale });

/**
 * Command R and R+ (Cohere 2024): attention and the feed-forward block are parallel and share a norm without bias. Logits are
 * scaled. In Command R+, each head of q and k also has a norm.
 */
export const cohere: FamilyDefinition = {
  modelType: "cohere",
  architecture: "CohereForCausalLM",
  calls: ["command_r_action"],
  defaults: { ...defaults, useQkNorm: false },
  keys: { ...keys, use_qk_norm: "useQkNorm" },
  mustBe,
  // Command R's max_position_embeddings is a sixteenth of the trained length, which another key holds.
  longestKey: "model_max_length",
  layerNorm: true,
  gguf: {
    architecture: "command-r",
    keys: ggufKeys,
    byTensors: (has) => ({ useQkNorm: has("blk.0.attn_q_norm.weight") }),
    llamaCpp: {
      ...limits,
      // llama.cpp expects QK norms exactly in models with 64 layers or more.
      unopened: ({ useQkNorm = false, numHiddenLayers: layers }) =>
        useQkNorm === layers >= 64 ? undefined : `${layers} layers with${useQkNorm ? "" : "out"} QK norm`,
    },
  },
  ...decoderFamily({
    flags: ({ useQkNorm }) => (useQkNorm ? { ...flags, queryNorm: "each head" } : flags),
    logits,
  }),
};

/**
 * Command R7B (Cohere 2024) and Command A (Cohere 2025): like Command R, but three of four layers have a sliding window, and only these have
 * RoPE.
 */
export const cohere2: FamilyDefinition = {
  modelType: "cohere2",
  architecture: "Cohere2ForCausalLM",
  calls: ["command_r"],
  defaults,
  keys,
  mustBe: { ...mustBe, use_qk_norm: false },
  fixed: { rotary_pct: 1 },
  windows: { kind: "pattern", period: 4, otherwise: 4096 },
  layerNorm: true,
  gguf: {
    architecture: "cohere2",
    keys: ggufKeys,
    llamaCpp: { ...limits, windows: true, headsOfWidth: true },
  },
  ...decoderFamily({
    flags,
    logits,
    shape: (_, { window, rotary }) => ({
      rotary: (layer) => (window(layer) === undefined ? undefined : rotary(layer)),
    }),
  }),
};
