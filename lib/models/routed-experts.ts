// GGUF names and gated units of routed experts, shared by several families.
import type { ModelConfig } from "../formats/config/config.ts";
import { type ExpertsShape, gatedUnit } from "../nn/experts.ts";
import { activationOf } from "./decoder-weights.ts";

/**
 * Returns the GGUF names of experts' tensors.
 * @param block name of the block in a layer
 * @param router name of the router within the block
 */
export function expertNames(block: string, router: string): Record<string, string> {
  const layer = `model.layers.{layer}.${block}`;
  return {
    [`${layer}.${router}`]: "blk.{layer}.ffn_gate_inp",
    [`${layer}.experts.gate_proj`]: "blk.{layer}.ffn_gate_exps",
    [`${layer}.experts.up_proj`]: "blk.{layer}.ffn_up_exps",
    [`${layer}.experts.down_proj`]: "blk.{layer}.ffn_down_exps",
  };
}

/** Describes experts that are gated linear units with the configuration's activation. */
export function gatedExperts(config: ModelConfig, routing: Pick<ExpertsShape, "router" | "normalize" | "block">) {
  return { ...routing, perToken: config.numExpertsPerTok!, unit: gatedUnit(activationOf(config)) };
}
