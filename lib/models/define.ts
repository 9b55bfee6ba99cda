import type { ModelConfig } from "../formats/config.ts";
import { type BuiltInModelType, formatOf } from "../formats/families.ts";
import { type DecoderShape, decoder } from "../nn/decoder.ts";
import {
  type DecoderWeightFlags,
  decoderConstants,
  decoderHead,
  decoderShape,
  decoderWeights,
  type ExpertWeights,
} from "./decoder-weights.ts";
import type { Family, Head } from "./family.ts";

/** A family on the shared decoder: its flags, and what of the shape its configuration decides. */
export interface DecoderFamily {
  flags?: DecoderWeightFlags;
  /** The weights of a layer's routed experts; undefined where it has one block for all rows. */
  experts?: (config: ModelConfig, layer: number) => ExpertWeights | undefined;
  shape?: (config: ModelConfig) => Partial<DecoderShape>;
  /** What its head does to logits. */
  logits?: (config: ModelConfig) => Omit<Head, "weight">;
}

/** A family whose forward pass is lib/nn/decoder.ts. */
export function decoderFamily(
  modelType: BuiltInModelType,
  { flags = {}, experts, shape, logits }: DecoderFamily = {},
): Family {
  const { qkvBias: _, ...shared } = flags;
  return {
    modelTypes: [modelType],
    architecture: formatOf(modelType).architecture,
    weights: (config) => decoderWeights(config, flags, experts && ((layer) => experts(config, layer))),
    constants: decoderConstants,
    head: (config) => ({ ...decoderHead(config), ...logits?.(config) }),
    forward: (context, config) => decoder(context, { ...decoderShape(config), ...shared, ...shape?.(config) }),
  };
}
