import { invalidArgument } from "../core/errors.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import type { Activation } from "../graph/index.ts";
import type { DecoderShape } from "../nn/decoder.ts";
import { decoderNames } from "../nn/decoder-names.ts";
import type { Head, WeightSpec } from "./family.ts";
import { rotaryOf } from "./rope-frequencies.ts";

/** The flags of lib/nn/decoder.ts that decide which weights exist. @experimental */
export type DecoderWeightFlags = Pick<
  DecoderShape,
  "norms" | "normOffset" | "layerNorm" | "parallel" | "queryNorm" | "fused" | "interleaved" | "sinks" | "names"
> & {
  /**
   * Whether q, k and v have biases: always (true, Qwen 2), or according to attentionBias, which then applies to them
   * only (GLM 4).
   */
  qkvBias?: boolean | "attentionBias" | undefined;
  /** Whether the head has a bias, even if it is tied to the embedding (Phi). */
  headBias?: boolean | undefined;
};

/** The weights of a layer's routed experts. @experimental */
export interface ExpertWeights {
  /** Name of the block in a layer. Default: `mlp`. */
  block?: string | undefined;
  /** Name of the router below the block. */
  router: string;
  /** Inner width of an expert. */
  width: number;
  /** Inner width of the shared expert. Default: no shared expert. */
  shared?: number | undefined;
  /** Whether the router and the experts have biases. */
  bias?: boolean | undefined;
}

/** Maps names to weights and refuses duplicates, because `names` of the flags may give two weights the same name. */
class DistinctWeights extends Map<string, WeightSpec> {
  override set(name: string, spec: WeightSpec): this {
    if (this.has(name)) throw invalidArgument("decoderFamily.flags.names", "a unique name for each weight", name);
    return super.set(name, spec);
  }
}

/** Returns the weights of the decoders in lib/nn/decoder.ts, by their Hugging Face names. */
export function decoderWeights(
  config: ModelConfig,
  flags: DecoderWeightFlags = {},
  blocks: {
    experts?: ((layer: number) => ExpertWeights | undefined) | undefined;
    /** Weights of a custom feed-forward block. */
    feedForward?: ((layer: number) => Readonly<Record<string, WeightSpec>>) | undefined;
  } = {},
): Map<string, WeightSpec> {
  const { hiddenSize, intermediateSize, vocabSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const { norms = "before", queryNorm, fused } = flags;
  const names = decoderNames(flags);
  const [q, kv] = [numAttentionHeads * headDim, numKeyValueHeads * headDim];
  if (fused === "qkv by head" && numKeyValueHeads !== numAttentionHeads)
    throw invalidArgument(
      "numKeyValueHeads",
      `numAttentionHeads ${numAttentionHeads}, because each head's q, k and v are in one projection`,
      numKeyValueHeads,
    );
  const out = new DistinctWeights();
  const matrix = (name: string, rows: number, columns: number, init: WeightSpec["init"] = "normal") =>
    out.set(`${name}.weight`, { shape: [rows, columns], init });
  const bias = (name: string, width: number) => out.set(`${name}.bias`, { shape: [width], init: "zeros" });
  const normInit = flags.normOffset ? "zeros" : "ones";
  const norm = (name: string, width = hiddenSize) => {
    out.set(`${name}.weight`, { shape: [width], init: normInit });
    if (flags.layerNorm === "biased") bias(name, width);
  };

  const mlp = (prefix: string) => {
    const gates: [string, number][] =
      fused === true || fused === "gate_up"
        ? [[names.gateUp, 2 * intermediateSize]]
        : [
            ["gate_proj", intermediateSize],
            ["up_proj", intermediateSize],
          ];
    for (const [name, width] of gates) {
      matrix(`${prefix}.${name}`, width, hiddenSize);
      if (config.mlpBias) bias(`${prefix}.${name}`, width);
    }
    matrix(`${prefix}.${names.down}`, hiddenSize, intermediateSize, "residual");
    if (config.mlpBias) bias(`${prefix}.${names.down}`, hiddenSize);
  };

  matrix(names.embedding, vocabSize, hiddenSize);
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const layer = `${names.layers}.${i}`;
    const attention = `${layer}.${names.attention}`;
    if (norms !== "after") norm(`${layer}.${names.beforeAttention}`);
    const projections: [string, number][] =
      fused === true || fused === "qkv by head"
        ? [[names.qkv, q + 2 * kv]]
        : [
            ["q_proj", q],
            ["k_proj", kv],
            ["v_proj", kv],
          ];
    for (const [name, width] of projections) {
      matrix(`${attention}.${name}`, width, hiddenSize);
      if (flags.qkvBias === true || config.attentionBias) bias(`${attention}.${name}`, width);
    }
    if (queryNorm) {
      if (queryNorm === "each head") {
        for (const [name, heads] of [
          [names.queryNorm, numAttentionHeads] as const,
          [names.keyNorm, numKeyValueHeads] as const,
        ])
          out.set(`${attention}.${name}.weight`, { shape: [heads, headDim], init: normInit });
      } else {
        norm(`${attention}.${names.queryNorm}`, queryNorm === "width" ? q : headDim);
        norm(`${attention}.${names.keyNorm}`, queryNorm === "width" ? kv : headDim);
      }
    }
    matrix(`${attention}.${names.output}`, hiddenSize, q, "residual");
    if (config.attentionBias && !flags.qkvBias) bias(`${attention}.${names.output}`, hiddenSize);
    if (flags.sinks) out.set(`${attention}.sinks`, { shape: [numAttentionHeads], init: "zeros" });
    if (norms !== "before") norm(`${layer}.${names.afterAttention}`);
    if (norms !== "after" && flags.parallel !== "one norm") norm(`${layer}.${names.beforeMlp}`);
    const routed = blocks.experts?.(i);
    if (routed) routedWeights(out, `${layer}.${routed.block ?? names.mlp}`, config, routed);
    else if (blocks.feedForward)
      for (const [name, spec] of Object.entries(blocks.feedForward(i))) out.set(`${layer}.${names.mlp}.${name}`, spec);
    else mlp(`${layer}.${names.mlp}`);
    if (norms !== "before") norm(`${layer}.${names.afterMlp}`);
  }
  norm(names.norm);
  if (!config.tieWordEmbeddings) matrix(names.head, vocabSize, hiddenSize);
  if (flags.headBias) bias(names.head, vocabSize);
  return out;
}

/**
 * Adds the weights of routed experts. Matrices are stacked as (experts, outputs, inputs). lib/formats/experts.ts stacks
 * the matrices of Hugging Face folders.
 */
function routedWeights(
  out: Map<string, WeightSpec>,
  prefix: string,
  { hiddenSize, numExperts = 0 }: ModelConfig,
  { router, width, shared, bias = false }: ExpertWeights,
): void {
  const layer = (name: string, shape: number[], init: WeightSpec["init"] = "normal") => {
    out.set(`${prefix}.${name}.weight`, { shape, init });
    if (bias) out.set(`${prefix}.${name}.bias`, { shape: shape.slice(0, -1), init: "zeros" });
  };
  layer(router, [numExperts, hiddenSize]);
  for (const name of ["gate", "up"]) layer(`experts.${name}_proj`, [numExperts, width, hiddenSize]);
  layer("experts.down_proj", [numExperts, hiddenSize, width], "residual");
  if (shared === undefined) return;
  for (const name of ["gate", "up"]) layer(`shared_expert.${name}_proj`, [shared, hiddenSize]);
  layer("shared_expert.down_proj", [hiddenSize, shared], "residual");
  layer("shared_expert_gate", [1, hiddenSize]);
}

/**
 * Returns the window of a layer, or undefined for full attention. Bidirectional Gemma 3 needs no conversion:
 * transformers replaces the file's number by `sliding_window // 2 + 1` (configuration_gemma3.py), and a query sees keys
 * at distances below the new number (`_bidirectional_window_overlay` in modeling_gemma3.py). So the query sees half the
 * file's number of keys on either side, as in `attention` without `causal`.
 */
export function slidingWindow(config: ModelConfig, layer: number): number | undefined {
  return config.layerTypes[layer] === "sliding_attention" ? (config.slidingWindow ?? undefined) : undefined;
}

/** Returns the activation of the gated unit for `hidden_act` of config.json. */
export function activationOf(config: ModelConfig): Activation {
  return config.hiddenAct === "gelu_pytorch_tanh" ? "gelu_tanh" : config.hiddenAct;
}

/** Returns the decoder shape of a configuration. Families add their flags. */
export function decoderShape(config: ModelConfig, { layerNorm }: DecoderWeightFlags = {}): DecoderShape {
  return {
    layers: config.numHiddenLayers,
    heads: config.numAttentionHeads,
    keyHeads: config.numKeyValueHeads,
    headDim: config.headDim,
    eps: layerNorm ? config.layerNormEpsilon : config.rmsNormEps,
    activation: activationOf(config),
    causal: !config.useBidirectionalAttention,
    window: (layer) => slidingWindow(config, layer),
    rotary: (layer) => rotaryOf(config, layer),
  };
}

/** Returns the head of the decoders in lib/nn/decoder.ts. */
export function decoderHead(config: ModelConfig, flags: DecoderWeightFlags = {}): Head {
  const { embedding, head } = decoderNames(flags);
  return {
    weight: `${config.tieWordEmbeddings ? embedding : head}.weight`,
    ...(flags.headBias && { bias: `${head}.bias` }),
  };
}
