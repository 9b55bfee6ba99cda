import type { ModelConfig } from "../formats/config/config.ts";
import { gelu } from "../graph/index.ts";
import type { FeedForward } from "./define-decoder.ts";
import type { WeightSpec } from "./family.ts";

/**
 * A feed-forward block without a gate: outer(GELU(inner(x))).
 * @param inner name of the first matrix within the block
 * @param outer name of the second matrix
 * @param biased whether both matrices have biases
 */
export function plainMlp(
  inner: string,
  outer: string,
  biased: (config: ModelConfig) => boolean,
): FeedForward<ModelConfig> {
  return {
    weights(config) {
      const { hiddenSize, intermediateSize } = config;
      const linear = (name: string, shape: readonly [number, number], init: WeightSpec["init"]) => ({
        [`${name}.weight`]: { shape, init },
        ...(biased(config) && { [`${name}.bias`]: { shape: [shape[0]], init: "zeros" as const } }),
      });
      return {
        ...linear(inner, [intermediateSize, hiddenSize], "normal"),
        ...linear(outer, [hiddenSize, intermediateSize], "residual"),
      };
    },
    forward(context, x, prefix, { hiddenAct }) {
      const approximate = hiddenAct === "gelu" ? "none" : "tanh";
      return context.linear(gelu(context.linear(x, `${prefix}.${inner}`), { approximate }), `${prefix}.${outer}`);
    },
  };
}
