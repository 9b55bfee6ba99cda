// The names and the gated units of routed experts, for several families.
import type { ModelConfig } from "../../formats/config/config.ts";
import { type ExpertsShape, gatedUnit } from "../../nn/experts.ts";
import { activationOf } from "../decoder-weights.ts";

/** Names of experts' tensors for GGUF. @param block the block in a layer @param router the router in it */
export function expertNames(block: string, router: string): Record<string, string> {
  const layer = `model.layers.{layer}.${block}`;
  return {
    [`${layer}.${router}`]: "blk.{layer}.ffn_gate_inp",
    [`${layer}.experts.gate_proj`]: "blk.{layer}.ffn_gate_exps",
    [`${layer}.experts.up_proj`]: "blk.{layer}.ffn_up_exps",
    [`${layer}.experts.down_proj`]: "blk.{layer}.ffn_down_exps",
  };
}

/** Experts of gated units with the configuration's activation. */
export function gatedExperts(config: ModelConfig, routing: Pick<ExpertsShape, "router" | "normalise" | "block">) {
  return { ...routing, perToken: config.numExpertsPerTok!, unit: gatedUnit(activationOf(config)) };
}
