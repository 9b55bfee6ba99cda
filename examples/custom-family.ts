// A custom model family in one file: a StableLM (Bellagente et al. 2024), with partial RoPE, layer norms, and optionally parallel
// attention and feed-forward blocks. Its name is not `stablelm`, because heddle already has a family of that name. Import the file before loading models.
// Folders and GGUF files of the family then load like any others:
//   import "./custom-family.ts";
//   const model = await LanguageModel.load("my-model");
// On the command line: NODE_OPTIONS="--import ./custom-family.mjs" npx heddle generate "Hello" --model my-model
import { HeddleError } from "heddle";
import {
  add,
  embedding,
  layerNorm,
  recomputable,
  registerFamily,
  reshape,
  rotateHeads,
  swiglu,
  type Value,
  type WeightSpec,
} from "heddle/graph";

registerFamily({
  modelType: "custom_stablelm",
  architecture: "CustomStableLmForCausalLM",
  defaults: { layerNormEpsilon: 1e-5, partialRotaryFactor: 0.25, maxPositionEmbeddings: 4096 },
  keys: { layer_norm_eps: "layerNormEpsilon", use_qkv_bias: "attentionBias" },
  custom: { useParallelResidual: false, qkLayernorm: false },
  gguf: { architecture: "custom-stablelm" },

  weights(config) {
    const { hiddenSize: width, intermediateSize: inner, vocabSize, headDim } = config;
    if (config.custom.qkLayernorm) throw new HeddleError("UNSUPPORTED", "qk_layernorm: true is not supported");
    const [q, kv] = [config.numAttentionHeads * headDim, config.numKeyValueHeads * headDim];
    const out = new Map<string, WeightSpec>();
    const matrix = (name: string, rows: number, columns: number, init: WeightSpec["init"] = "normal") =>
      out.set(`${name}.weight`, { shape: [rows, columns], init });
    const norm = (name: string) => {
      out.set(`${name}.weight`, { shape: [width], init: "ones" });
      out.set(`${name}.bias`, { shape: [width], init: "zeros" });
    };
    matrix("model.embed_tokens", vocabSize, width);
    for (let i = 0; i < config.numHiddenLayers; i++) {
      const layer = `model.layers.${i}`;
      for (const [name, rows] of [
        ["q_proj", q],
        ["k_proj", kv],
        ["v_proj", kv],
      ] as const) {
        matrix(`${layer}.self_attn.${name}`, rows, width);
        if (config.attentionBias) out.set(`${layer}.self_attn.${name}.bias`, { shape: [rows], init: "zeros" });
      }
      matrix(`${layer}.self_attn.o_proj`, width, q, "residual");
      matrix(`${layer}.mlp.gate_proj`, inner, width);
      matrix(`${layer}.mlp.up_proj`, inner, width);
      matrix(`${layer}.mlp.down_proj`, width, inner, "residual");
      norm(`${layer}.input_layernorm`);
      if (!config.custom.useParallelResidual) norm(`${layer}.post_attention_layernorm`);
    }
    norm("model.norm");
    if (!config.tieWordEmbeddings) matrix("lm_head", vocabSize, width);
    return out;
  },

  forward(context, config) {
    const { headDim, numAttentionHeads: heads, numKeyValueHeads: keyHeads } = config;
    const norm = (x: Value, name: string) =>
      layerNorm(x, context.weight(`${name}.weight`), {
        eps: config.layerNormEpsilon,
        bias: context.weight(`${name}.bias`),
      }).y;
    /** (rows, width) → (rows, width) */
    const attention = (i: number, x: Value) => {
      const project = (name: string, count: number) =>
        reshape(context.linear(x, `model.layers.${i}.self_attn.${name}_proj`), [x.dim(0), count, headDim]);
      const turned = (name: string, count: number) => rotateHeads(context, config, i, project(name, count));
      const o = context.attend(i, { q: turned("q", heads), k: turned("k", keyHeads), v: project("v", keyHeads) }, {});
      return context.linear(reshape(o, [x.dim(0), heads * headDim]), `model.layers.${i}.self_attn.o_proj`);
    };
    /** (rows, width) → (rows, width) */
    const mlp = (i: number, x: Value) => {
      const project = (y: Value, name: string) => context.linear(y, `model.layers.${i}.mlp.${name}_proj`);
      return project(swiglu(project(x, "gate"), project(x, "up")), "down");
    };
    const block = (i: number, x: Value) => {
      const normed = norm(x, `model.layers.${i}.input_layernorm`);
      const attended = add(x, attention(i, normed));
      if (config.custom.useParallelResidual) return add(attended, mlp(i, normed));
      return add(attended, mlp(i, norm(attended, `model.layers.${i}.post_attention_layernorm`)));
    };
    const table = context.weight("model.embed_tokens.weight");
    let x = context.embedded(embedding(table, context.ids, { dtype: context.dtype }));
    for (let i = 0; i < config.numHiddenLayers; i++) x = recomputable(() => block(i, x)); // gradientCheckpointing computes these again
    return norm(x, "model.norm");
  },
});
