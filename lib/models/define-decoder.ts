import { checkParts, type PartKind } from "../core/checked-parts.ts";
import { checkObject, invalidArgument } from "../core/errors.ts";
import { withoutUndefined } from "../core/without-undefined.ts";
import type { Optional } from "../formats/config/config-types.ts";
import type { CustomValues } from "../formats/config/family-format.ts";
import { Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import { type DecoderShape, decoder } from "../nn/decoder.ts";
import { checkDecoderFlags, checkParallelShape, PARALLEL } from "./decoder-flags.ts";
import {
  type DecoderWeightFlags,
  decoderHead,
  decoderShape,
  decoderWeights,
  type ExpertWeights,
} from "./decoder-weights.ts";
import type { CustomConfig, Head, WeightSpec } from "./family.ts";

/**
 * Options of the shared decoder that affect neither weights nor caches. Set `parallel` here if the configuration
 * selects "two norms". "one norm" changes the weights too, so it must be set in `flags.parallel`.
 * @experimental
 */
export interface DecoderShapeOptions
  extends Optional<
    Pick<
      DecoderShape,
      | "eps"
      | "embeddingScale"
      | "residualScale"
      | "attentionScale"
      | "attentionSoftcap"
      | "activation"
      | "experts"
      | "rotary"
      | "parallel"
    >
  > {}

/** A custom feed-forward block instead of down(act(gate) · up). @experimental */
export interface FeedForward<Config = CustomConfig> {
  /**
   * Returns the block's weights in a layer, by their names within the block: `{ "up_proj.weight": { shape: [inner,
   * width], init: "normal" } }`.
   */
  weights(config: Config, layer: number): Readonly<Record<string, WeightSpec>>;
  /**
   * Computes the block.
   * @param x (rows, hiddenSize)
   * @param prefix `model.layers.0.mlp` in layer 0, for `context.linear`
   * @returns (rows, hiddenSize)
   */
  forward(context: ForwardContext, x: Value, prefix: string, config: Config, layer: number): Value;
}

/** How a family on the shared decoder differs from Llama. @experimental */
export interface DecoderFamily<Config = CustomConfig> {
  /** Flags that decide which weights exist, or a function that derives them from the configuration. */
  flags?: DecoderWeightFlags | ((config: Config) => DecoderWeightFlags) | undefined;
  /**
   * Returns the weights of a layer's routed experts, or undefined for layers with a dense block. `shape` then needs
   * `experts` too.
   */
  experts?: ((config: Config, layer: number) => ExpertWeights | undefined) | undefined;
  /** Other differences from Llama. @param standard the decoder's defaults, such as `standard.rotary(layer)` */
  shape?: ((config: Config, standard: DecoderShape) => DecoderShapeOptions) | undefined;
  /**
   * The feed-forward block of layers without routed experts. Default: down(act(gate) · up) with the configuration's
   * hiddenAct.
   */
  feedForward?: FeedForward<Config> | undefined;
  /** The head's bias, soft cap and scale. Default: none. */
  logits?: ((config: Config) => Omit<Head, "weight">) | undefined;
}

const PARTS: Record<keyof DecoderFamily, PartKind> = {
  flags: "object",
  experts: "function",
  shape: "function",
  feedForward: "object",
  logits: "function",
};
const SHAPE: Record<keyof DecoderShapeOptions, PartKind> = {
  eps: "number",
  embeddingScale: "number",
  residualScale: "number",
  attentionScale: "number",
  attentionSoftcap: "number",
  activation: "string",
  experts: "function",
  rotary: "function",
  parallel: PARALLEL,
};

/**
 * Makes the functions for `registerFamily` from the shared decoder: RMSNorm, RoPE, grouped-query attention and a gated
 * feed-forward block. Weights have Llama's names. Weights that a flag adds have the names of the family that introduced
 * the flag. Flags combine freely, except that `parallel` needs a norm before the blocks.
 *
 * @throws HeddleError INVALID_ARGUMENT for unknown names, for values that a flag cannot have, and for flags that exclude each other
 * @example
 * registerFamily({
 *   modelType: "mine", architecture: "MineForCausalLM", custom: { everyNth: 4 },
 *   ...decoderFamily<{ everyNth: number }>({
 *     flags: { queryNorm: "head" },
 *     shape: ({ custom }, { rotary }) => ({ rotary: (layer) => ((layer + 1) % custom.everyNth ? rotary(layer) : undefined) }),
 *   }),
 * });
 * @experimental
 */
export function decoderFamily<Values extends CustomValues = CustomValues>(
  options: DecoderFamily<CustomConfig<Values>> = {},
): {
  /** The weights by Hugging Face name, in the order of a checkpoint. */
  weights(config: CustomConfig<Values>): Map<string, WeightSpec>;
  /** Computes final hidden states from token ids. @returns (rows, hiddenSize) of the wanted rows */
  forward(context: ForwardContext, config: CustomConfig<Values>): Value;
  /** Returns the head: `lm_head`, or the embedding if they are tied. */
  head(config: CustomConfig<Values>): Head;
} {
  const givenFlags = options?.flags;
  checkParts("decoderFamily", typeof givenFlags === "function" ? { ...options, flags: undefined } : options, PARTS);
  const { flags: flagsOption = {}, experts, shape, feedForward, logits } = options;
  const checked = (flags: DecoderWeightFlags): DecoderWeightFlags => {
    checkDecoderFlags(flags);
    return flags;
  };
  const fixed = typeof flagsOption === "function" ? undefined : checked(flagsOption);
  const flagsOf = (config: CustomConfig<Values>) =>
    fixed ?? checked((flagsOption as (config: CustomConfig<Values>) => DecoderWeightFlags)(config));
  if (feedForward) {
    const both = ["weights", "forward"];
    checkParts("decoderFamily.feedForward", feedForward, { weights: "function", forward: "function" }, both);
  }
  return {
    weights: (config) =>
      decoderWeights(config, flagsOf(config), {
        experts: experts && ((layer) => experts(config, layer)),
        feedForward: feedForward && ((layer) => weightsOf(feedForward, config, layer)),
      }),
    forward(context, config) {
      const flags = flagsOf(config);
      const standard = decoderShape(config, flags);
      const overrides = shape?.(config, standard) ?? {};
      checkParts("decoderFamily.shape", overrides, SHAPE);
      checkParallelShape(overrides.parallel, flags);
      const { qkvBias: _, headBias: __, ...shared } = flags;
      const block: DecoderShape["feedForward"] =
        feedForward &&
        ((x, prefix, layer) => {
          const output: unknown = feedForward.forward(context, x, prefix, config, layer);
          if (output instanceof Value) return output;
          throw invalidArgument("decoderFamily.feedForward.forward: result", "a value (rows, hiddenSize)", output);
        });
      return decoder(context, {
        ...standard,
        ...withoutUndefined(shared),
        ...withoutUndefined(overrides),
        ...(block && { feedForward: block }),
      });
    },
    head: (config) => ({ ...decoderHead(config, flagsOf(config)), ...logits?.(config) }),
  };
}

function weightsOf<Config>(block: FeedForward<Config>, config: Config, layer: number) {
  const weights = block.weights(config, layer);
  checkObject("decoderFamily.feedForward.weights: result", weights);
  return weights;
}
