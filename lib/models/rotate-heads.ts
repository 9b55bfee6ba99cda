import { checkObject, invalidArgument } from "../core/errors.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import type { Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import { rotate } from "../nn/rotary.ts";
import { rotaryOf } from "./rope-frequencies.ts";

/**
 * Applies RoPE to each head's queries or keys, by the row's position and the configuration: rope_theta, the scaling,
 * and the rotary fraction.
 * @param x (rows, heads, headDim)
 * @param projection name of the linear layer that computed x. The GGUF layout `rope` needs it, because files with this
 * layout store the weight rows of each head in another order.
 * @returns the same shape
 */
export function rotateHeads(
  context: ForwardContext,
  config: Omit<ModelConfig, "custom">,
  layer: number,
  x: Value,
  projection?: string,
): Value {
  if (typeof context?.constant !== "function") throw invalidArgument("context", "the context of `forward`", context);
  checkObject("config", config);
  if (!Number.isSafeInteger(layer)) throw invalidArgument("layer", "the number of a layer", layer);
  const rotary = rotaryOf(config, layer);
  const adjacent = projection !== undefined && context.interleaved(projection);
  return rotary ? rotate(context, x, rotary, adjacent && "input") : x;
}
