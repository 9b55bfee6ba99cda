import { add, embedding, gelu, layerNorm, recomputable, reshape, split, type Value } from "../../graph/index.ts";
import type { FamilyDefinition, WeightSpec } from "../family.ts";

/**
 * GPT-2 (Radford et al. 2019): LayerNorm, learned positions, GELU, one projection for q, k and v, and weights stored as
 * (in, out).
 */
export const gpt2: FamilyDefinition = {
  modelType: "gpt2",
  architecture: "GPT2LMHeadModel",
  defaults: { hiddenAct: "gelu_pytorch_tanh", tieWordEmbeddings: true, maxPositionEmbeddings: 1024 },
  keys: {
    n_embd: "hiddenSize",
    n_inner: "intermediateSize",
    n_layer: "numHiddenLayers",
    n_head: "numAttentionHeads",
    n_positions: "maxPositionEmbeddings",
    layer_norm_epsilon: "layerNormEpsilon",
  },
  toJson: (config) => ({
    activation_function: config.hiddenAct === "gelu_pytorch_tanh" ? "gelu_new" : config.hiddenAct,
    layer_norm_epsilon: config.layerNormEpsilon,
    n_ctx: config.maxPositionEmbeddings,
    n_embd: config.hiddenSize,
    n_head: config.numAttentionHeads,
    n_inner: config.intermediateSize === 4 * config.hiddenSize ? null : config.intermediateSize,
    n_layer: config.numHiddenLayers,
    n_positions: config.maxPositionEmbeddings,
    scale_attn_weights: true,
  }),
  mustBe: { scale_attn_by_inverse_layer_idx: false, add_cross_attention: false, scale_attn_weights: true },
  positions: "from 0",
  layerNorm: true,
  ungated: true,
  activationKey: "activation_function",
  classifierNames: { token: "classifier" },
  trunk: { prefix: "transformer.", bare: "wte.weight" },
  // Attention masks, which older versions of transformers stored.
  unread: () => /\.attn\.(bias|masked_bias)$/,
  gguf: {
    architecture: "gpt2",
    layout: "transpose",
    names: {
      "transformer.wte": "token_embd",
      "transformer.wpe": "position_embd",
      "transformer.ln_f": "output_norm",
      lm_head: "output",
      "transformer.h.{layer}.ln_1": "blk.{layer}.attn_norm",
      "transformer.h.{layer}.attn.c_attn": "blk.{layer}.attn_qkv",
      "transformer.h.{layer}.attn.c_proj": "blk.{layer}.attn_output",
      "transformer.h.{layer}.ln_2": "blk.{layer}.ffn_norm",
      "transformer.h.{layer}.mlp.c_fc": "blk.{layer}.ffn_up",
      "transformer.h.{layer}.mlp.c_proj": "blk.{layer}.ffn_down",
    },
    complete: true,
    // Attention always has biases in this family, whatever `attentionBias` says. The reader of GGUF files infers true from
    // these biases, so restore the value that config.json gives.
    defaults: () => ({ attentionBias: false }),
  },
  weights(config) {
    const { hiddenSize: width, intermediateSize: inner } = config;
    const out = new Map<string, WeightSpec>();
    const set = (name: string, shape: number[], init: WeightSpec["init"], transposed = false) =>
      out.set(name, { shape, init, ...(transposed && { transposed }) });
    const norm = (name: string) => {
      set(`${name}.weight`, [width], "ones");
      set(`${name}.bias`, [width], "zeros");
    };
    const conv = (name: string, inputs: number, outputs: number, init: WeightSpec["init"] = "normal") => {
      set(`${name}.weight`, [inputs, outputs], init, true);
      set(`${name}.bias`, [outputs], "zeros");
    };
    set("transformer.wte.weight", [config.vocabSize, width], "normal");
    set("transformer.wpe.weight", [config.maxPositionEmbeddings, width], "normal");
    for (let i = 0; i < config.numHiddenLayers; i++) {
      const h = `transformer.h.${i}`;
      norm(`${h}.ln_1`);
      conv(`${h}.attn.c_attn`, width, 3 * width);
      conv(`${h}.attn.c_proj`, width, width, "residual");
      norm(`${h}.ln_2`);
      conv(`${h}.mlp.c_fc`, width, inner);
      conv(`${h}.mlp.c_proj`, inner, width, "residual");
    }
    norm("transformer.ln_f");
    if (!config.tieWordEmbeddings) set("lm_head.weight", [config.vocabSize, width], "normal");
    return out;
  },
  constants: () => new Map(),
  head: (config) => ({ weight: config.tieWordEmbeddings ? "transformer.wte.weight" : "lm_head.weight" }),
  forward(context, config) {
    const { weight, dtype, ids, positions } = context;
    const heads = config.numAttentionHeads;
    const width = config.hiddenSize;
    const conv = (x: Value, name: string) => context.linear(x, name, { transposed: true });
    const norm = (x: Value, name: string, residual?: Value) =>
      layerNorm(x, weight(`transformer.${name}.weight`), {
        eps: config.layerNormEpsilon,
        bias: weight(`transformer.${name}.bias`),
        ...(residual && { residual }),
      });
    const tokens = context.embedded(embedding(weight("transformer.wte.weight"), ids, { dtype }));
    const block = (i: number, x: Value, residual: Value | undefined) => {
      const h = `transformer.h.${i}`;
      const before = norm(x, `h.${i}.ln_1`, residual);
      const rows = before.y.dim(0);
      const [q, k, v] = split(conv(before.y, `${h}.attn.c_attn`), [width, width, width]).map((p) =>
        reshape(p, [rows, heads, width / heads]),
      );
      const wanted = (x: Value) => (i === config.numHiddenLayers - 1 && context.wanted ? context.wanted(x) : x);
      const o = wanted(reshape(context.attend(i, { q: q!, k: k!, v: v! }, {}), [rows, width]));
      const between = norm(conv(o, `${h}.attn.c_proj`), `h.${i}.ln_2`, wanted(before.h));
      const approximate = config.hiddenAct === "gelu" ? "none" : "tanh";
      const output = conv(gelu(conv(between.y, `${h}.mlp.c_fc`), { approximate }), `${h}.mlp.c_proj`);
      return { x: output, residual: between.h };
    };
    let stream: { x: Value; residual?: Value } = {
      x: add(tokens, embedding(weight("transformer.wpe.weight"), positions, { dtype })),
    };
    for (let i = 0; i < config.numHiddenLayers; i++) stream = recomputable(() => block(i, stream.x, stream.residual));
    return norm(stream.x, "ln_f", stream.residual).y;
  },
};
