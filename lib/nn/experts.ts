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

/** Options of a layer's routed experts. */
export interface ExpertsShape {
  /** Experts a row is given to. */
  perToken: number;
  /** Whether the weights of a row's experts add up to one. */
  normalise: boolean;
  /** Name of the layer that chooses, below the block's prefix: `gate` (Qwen 3, Mixtral), `router` (gpt_oss). */
  router: string;
  /** Name of the block in a layer. Default: `mlp`. */
  block?: string | undefined;
  /** Whether `shared_expert`, which every row goes through, adds what it says times σ of `shared_expert_gate`'s one logit (Qwen 2). */
  shared?: boolean | undefined;
  /** The gated unit within an expert. */
  unit: (gate: Value, up: Value) => Value;
}

/**
 * A feed-forward block of routed experts: each row goes through the few that the router gives it, and gets the weighted sum
 * of what they say (Shazeer et al. 2017; Fedus et al. 2021). @param x (rows, width) @returns (rows, width)
 */
export function routedExperts(context: ForwardContext, x: Value, prefix: string, shape: ExpertsShape): Value {
  const logits = context.linear(x, `${prefix}.${shape.router}`);
  const { weights, experts } = routeExperts(logits, { k: shape.perToken, normalise: shape.normalise });
  const project = (v: Value, name: string) => context.experts(v, `${prefix}.experts.${name}_proj`, experts);
  const inner = shape.unit(project(x, "gate"), project(x, "up"));
  const said = combineExperts(project(inner, "down"), weights);
  return shape.shared ? add(said, sharedExpert(context, x, prefix, shape.unit)) : said;
}

/** The shared expert, weighted by a gate per row. @param x (rows, width) @returns (rows, width) */
function sharedExpert(context: ForwardContext, x: Value, prefix: string, unit: ExpertsShape["unit"]): Value {
  const project = (v: Value, name: string) => context.linear(v, `${prefix}.shared_expert.${name}_proj`);
  const said = project(unit(project(x, "gate"), project(x, "up")), "down");
  const share = sigmoid(cast(context.linear(x, `${prefix}.shared_expert_gate`), "f32")); // (rows, 1)
  return combineExperts(reshape(said, [said.dim(0), 1, said.last]), share);
}

/** act(gate) · up */
export function gatedUnit(activation: Activation): ExpertsShape["unit"] {
  return (gate, up) => glu(gate, up, activation);
}

/** gpt_oss's unit: (up + 1) · gate · σ(1.702 · gate), gate cut at `limit`, up to [−limit, limit]. */
export function clampedUnit(limit: number, alpha = 1.702): ExpertsShape["unit"] {
  return (gate, up) => {
    const cut = clamp(gate, { high: limit });
    const swish = mul(cut, sigmoid(scale(cut, alpha)));
    return mul(affine(clamp(up, { low: -limit, high: limit }), 1, 1), swish);
  };
}
