import { clamp, embedding, layerNorm, recomputable, reshape, swiglu, type Value } from "../../graph/index.ts";
import { rotate } from "../../nn/rotary.ts";
import { decoderWeights } from "../decoder-weights.ts";
import type { FamilyDefinition } from "../family.ts";
import { ropeConstants, rotaryOf } from "../rope-frequencies.ts";

/**
 * OLMo 1 (Groeneveld et al. 2024): Llama with LayerNorm without weights, and optional clipping of queries, keys and
 * values.
 */
export const olmo: FamilyDefinition<{ clipQkv: null }> = {
  modelType: "olmo",
  architecture: "OlmoForCausalLM",
  // The epsilon is fixed in OLMo's published code, so config.json has no key for it.
  check: ({ layerNormEpsilon }) =>
    layerNormEpsilon === 1e-5 ? undefined : `layer_norm_eps: expected 1e-5 for olmo, got ${layerNormEpsilon}`,
  custom: { clipQkv: null },
  layerNorm: true,
  gguf: {
    architecture: "olmo",
    layout: "rope",
    keys: { "attention.clamp_kqv": "custom.clipQkv" },
    llamaCpp: { attentionBias: false, mlpBias: false, headsOfWidth: true },
  },
  weights: (config) => new Map([...decoderWeights(config)].filter(([name]) => !/norm\.weight$/.test(name))),
  // The norms' constant weights.
  constants: (config) => ropeConstants(config).set("ones", new Float32Array(config.hiddenSize).fill(1)),
  forward(context, config) {
    const { headDim, layerNormEpsilon: eps, numAttentionHeads: heads, numKeyValueHeads: keyHeads } = config;
    const { clipQkv } = config.custom;
    const norm = (x: Value, residual?: Value) =>
      layerNorm(x, context.constant("ones"), { eps, ...(residual && { residual }) });
    const block = (i: number, x: Value, residual: Value | undefined) => {
      const layer = `model.layers.${i}`;
      const wanted = (v: Value) => (i === config.numHiddenLayers - 1 && context.wanted ? context.wanted(v) : v);
      const before = norm(x, residual);
      const project = (name: string, count: number) => {
        const y = context.linear(before.y, `${layer}.self_attn.${name}_proj`);
        const bounded = clipQkv === null ? y : clamp(y, { low: -clipQkv, high: clipQkv });
        return reshape(bounded, [y.dim(0), count, headDim]);
      };
      const rotated = (name: string, count: number) => {
        const adjacent = context.interleaved(`${layer}.self_attn.${name}_proj`);
        return rotate(context, project(name, count), rotaryOf(config, i)!, adjacent && "input");
      };
      const o = context.attend(i, { q: rotated("q", heads), k: rotated("k", keyHeads), v: project("v", keyHeads) }, {});
      const attended = context.linear(wanted(reshape(o, [o.dim(0), heads * headDim])), `${layer}.self_attn.o_proj`);
      const between = norm(attended, wanted(before.h));
      const mlp = (y: Value, name: string) => context.linear(y, `${layer}.mlp.${name}_proj`);
      return { x: mlp(swiglu(mlp(between.y, "gate"), mlp(between.y, "up")), "down"), residual: between.h };
    };
    const table = context.weight("model.embed_tokens.weight");
    let stream: { x: Value; residual?: Value } = {
      x: context.embedded(embedding(table, context.ids, { dtype: context.dtype })),
    };
    for (let i = 0; i < config.numHiddenLayers; i++) stream = recomputable(() => block(i, stream.x, stream.residual));
    return norm(stream.x, stream.residual).y;
  },
};
