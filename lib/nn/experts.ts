import {
  type Activation,
  add,
  affine,
  cast,
  clamp,
  combineExperts,
  glu,
  mul,
  reshape,
  routeExperts,
  scale,
  sigmoid,
  type Value,
} from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";

/** Options of a layer's routed experts. @experimental */
export interface ExpertsShape {
  /** Number of experts per row. */
  perToken: number;
  /** Whether the routing weights of a row's experts are normalized to sum to 1. */
  normalize: boolean;
  /** Name of the routing layer below the block's prefix: `gate` (Qwen 3, Mixtral), `router` (gpt_oss). */
  router: string;
  /** Name of the block within a layer. Default: `mlp`. */
  block?: string | undefined;
  /** Whether there is a shared expert for all rows. Its output is multiplied by σ of the one logit of `shared_expert_gate` (Qwen 2). */
  shared?: boolean | undefined;
  /** Computes the gated unit of an expert. */
  unit: (gate: Value, up: Value) => Value;
}

/**
 * A mixture-of-experts feed-forward block: the router selects a few experts per row, and the result is the weighted sum of their outputs
 * (Shazeer et al. 2017; Fedus et al. 2021). @param x (rows, width) @returns (rows, width)
 */
export function routedExperts(context: ForwardContext, x: Value, prefix: string, shape: ExpertsShape): Value {
  const logits = context.linear(x, `${prefix}.${shape.router}`, { fp8: false });
  const { weights, experts } = routeExperts(logits, { k: shape.perToken, normalize: shape.normalize });
  const project = (v: Value, name: string) => context.experts(v, `${prefix}.experts.${name}_proj`, experts);
  const inner = shape.unit(project(x, "gate"), project(x, "up"));
  const routed = combineExperts(project(inner, "down"), weights);
  return shape.shared ? add(routed, sharedExpert(context, x, prefix, shape.unit)) : routed;
}

/** Computes the shared expert's output, multiplied by a gate per row. @param x (rows, width) @returns (rows, width) */
function sharedExpert(context: ForwardContext, x: Value, prefix: string, unit: ExpertsShape["unit"]): Value {
  const project = (v: Value, name: string) => context.linear(v, `${prefix}.shared_expert.${name}_proj`);
  const output = project(unit(project(x, "gate"), project(x, "up")), "down");
  const share = sigmoid(cast(context.linear(x, `${prefix}.shared_expert_gate`, { fp8: false }), "f32")); // (rows, 1)
  // A weighted sum over a single expert multiplies each row by its gate.
  return combineExperts(reshape(output, [output.dim(0), 1, output.last]), share);
}

/** Returns the unit act(gate) · up. */
export function gatedUnit(activation: Activation): ExpertsShape["unit"] {
  return (gate, up) => glu(gate, up, activation);
}

/** Returns gpt_oss's unit: (up + 1) · gate · σ(1.702 · gate), with gate clamped to at most `limit`, and up to [−limit, limit]. */
export function clampedUnit(limit: number, alpha = 1.702): ExpertsShape["unit"] {
  return (gate, up) => {
    const cut = clamp(gate, { high: limit });
    const swish = mul(cut, sigmoid(scale(cut, alpha)));
    return mul(affine(clamp(up, { low: -limit, high: limit }), 1, 1), swish);
  };
}
