import { invalidArgument } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { checkWhole } from "../../core/option-values.ts";
import { fail, needDType, needFloat, needList, needNames, needShape, needValue } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import { fixed, type Value } from "../value.ts";

const scalar = [{ dtype: "f32" as const, shape: [1] }];

const globalNormNode = defineOp({
  name: "global_norm",
  infer(gradients) {
    for (const g of gradients) needDType("global_norm", "gradient", g, "f32");
    return scalar;
  },
});
/** Returns the L2 norm over all elements of all gradients, (1) f32. */
export function globalNorm(gradients: readonly Value[]): Value {
  needList("globalNorm: gradients", gradients);
  return globalNormNode(gradients)[0]!;
}

const squareSumsNode = defineOp({
  name: "square_sums",
  infer([g], { piece }) {
    const { shape } = needDType("square_sums", "g", g, "f32");
    const elements = shape.reduce<number>((n, d) => n * fixed(d, "square_sums: g"), 1);
    return [{ dtype: "f32" as const, shape: [Math.ceil(elements / (piece as number)), 3] }];
  },
});
/**
 * Returns the sum of squares of each piece of `g`, (pieces, 3) f32. The kernel computes a double and splits it into three f32 terms, whose
 * exact sum is the double.
 * @param g f32, of a fixed shape @param options.piece number of elements of a piece; the last one may be shorter
 */
export function squareSums(g: Value, options: { piece: number }): Value {
  const { piece } = needNames("squareSums: options", options, ["piece"]);
  checkWhole("squareSums: piece", piece, 1);
  return squareSumsNode([g], { piece })[0]!;
}

const clipFactorNode = defineOp({
  name: "clip_factor",
  infer([norm, max]) {
    needShape("clip_factor", "norm", needDType("clip_factor", "norm", norm, "f32"), [1]);
    needShape("clip_factor", "max", needDType("clip_factor", "max", max, "f32"), [1]);
    return scalar;
  },
});
/** Returns min(1, max / (norm + 1e-6)), or 1 if max is 0 (Pascanu et al. 2013). @param norm (1) f32 @param max (1) f32 */
export function clipFactor(norm: Value, max: Value): Value {
  return clipFactorNode([norm, max])[0]!;
}

const accumulateNode = defineOp({
  name: "accumulate",
  mutates: [0],
  infer([state, g, keep]) {
    needShape("accumulate", "g", needFloat("accumulate", "g", g), needDType("accumulate", "state", state, "f32").shape);
    needShape("accumulate", "keep", needDType("accumulate", "keep", keep, "f32"), [1]);
    return [];
  },
});
/** Sets state to keep · state + g. If keep is 0, g replaces the state even if the state is NaN. @param keep (1) f32 */
export function accumulate(state: Value, g: Value, keep: Value): void {
  accumulateNode([state, g, keep]);
}

const assignNode = defineOp({
  name: "assign",
  mutates: [0],
  infer([state, x]) {
    needShape("assign", "x", needFloat("assign", "x", x), needFloat("assign", "state", state).shape);
    return [];
  },
});
/** Sets state to x, rounded to the state's element type. */
export function assign(state: Value, x: Value): void {
  assignNode([state, x]);
}

const reduceScatterNode = defineOp({
  name: "reduce_scatter",
  mutates: [1],
  infer([g, own]) {
    needDType("reduce_scatter", "g", g, "f32");
    if (own) needDType("reduce_scatter", "own", own, "f32");
    return [];
  },
});
/**
 * Sums `g` over the ranks of the device's world. Each rank gets the sums of its range of the elements. All ranks must run the same nodes of
 * this kind, in the same order. A device without a world is its only rank.
 * @param own f32, this rank's sums; undefined if its range is empty
 * @param options.add whether the sums are added to `own` instead of overwriting it
 */
export function reduceScatter(g: Value, own: Value | undefined, options: RankRanges & { add: boolean }): void {
  const { first, ends, add } = needNames("reduceScatter: options", options, ["first", "ends", "add"]);
  if (typeof add !== "boolean") throw invalidArgument("reduceScatter: add", "true or false", add);
  reduceScatterNode([g, own], { ...rangeAttributes("reduceScatter", { first, ends }), add: add ? 1 : 0 });
}

/** Consecutive ranges of a value's elements, one for each of consecutive ranks. */
export interface RankRanges {
  /** The first rank that has a range. */
  first: number;
  /** By rank, from `first` on: the end of its range, which begins where the range before it ends. */
  ends: readonly number[];
}

function rangeAttributes(what: string, { first, ends }: RankRanges): Record<string, number> {
  if (!isWhole(first)) throw invalidArgument(`${what}: first`, "a rank from 0", first);
  if (!Array.isArray(ends) || ends.length === 0 || !ends.every((end, i) => isWhole(end) && end >= (ends[i - 1] ?? 0)))
    throw invalidArgument(`${what}: ends`, "an array of whole numbers that do not decrease", ends);
  const attributes: Record<string, number> = { first, ranks: ends.length };
  for (const [i, end] of ends.entries()) attributes[`end.${i}`] = end;
  return attributes;
}

const allGatherNode = defineOp({
  name: "all_gather",
  infer([own], _, wanted) {
    if (own) needFloat("all_gather", "own", own);
    return wanted;
  },
});
/**
 * Collects a value of which each rank of the device's world has a range of the elements. All ranks must run the same nodes of this kind, in
 * the same order. A device without a world is its only rank.
 * @param own this rank's range, which is converted to `options.dtype`; undefined if the range is empty
 * @param options.shape shape of the whole value
 */
export function allGather(
  own: Value | undefined,
  options: RankRanges & { shape: readonly number[]; dtype: "f32" | "bf16" },
): Value {
  const { first, ends, shape, dtype } = needNames("allGather: options", options, ["first", "ends", "shape", "dtype"]);
  if (dtype !== "f32" && dtype !== "bf16") throw invalidArgument("allGather: dtype", "f32 or bf16", dtype);
  return allGatherNode([own], rangeAttributes("allGather", { first, ends }), [{ dtype, shape }])[0]!;
}

const allReduceNode = defineOp({
  name: "all_reduce",
  mutates: [0],
  infer([x]) {
    const { dtype } = needFloat("all_reduce", "x", x);
    if (dtype === "f16") fail("all_reduce", "x", "f32 or bf16", dtype);
    return [];
  },
});
/**
 * Sums a tensor over the ranks of the device's world, in place, while the program continues. The sums are complete when the program has
 * ended, so later nodes must not use the tensor. All ranks must run the same nodes of this kind, in the same order. A device without a world
 * is its only rank.
 * @param x f32 or bf16, a tensor
 * @param options.first the first rank that has a range of the elements. Default 0
 * @param options.ends by rank, from `first` on: the end of its range, which begins where the range before it ends. A rank then gets only the
 * sums of its range, and its other elements do not change. Default: every rank gets all sums
 */
export function allReduce(
  x: Value,
  options: { first?: number | undefined; ends?: readonly number[] | undefined } = {},
): void {
  const { first = 0, ends } = needNames("allReduce: options", options, ["first", "ends"]);
  needValue("allReduce: x", x);
  if (x.source.kind !== "tensor")
    throw invalidArgument("allReduce: x", "a tensor, whose memory lasts until the sums are complete", `${x}`);
  allReduceNode([x], ends ? rangeAttributes("allReduce", { first, ends }) : { first: 0, ranks: 0 });
}

const OPERANDS = ["parameter", "gradient", "m", "v", "hyper", "factor"] as const;

const adamwNode = defineOp({
  name: "adamw",
  mutates: [0, 2, 3],
  infer([parameter, gradient, m, v, hyper, factor]) {
    const p = needFloat("adamw", "parameter", parameter);
    for (const [name, t] of [
      ["gradient", gradient],
      ["m", m],
      ["v", v],
    ] as const)
      needShape("adamw", name, needDType("adamw", name, t, "f32"), p.shape);
    needShape("adamw", "hyper", needDType("adamw", "hyper", hyper, "f32"), [7]);
    needShape("adamw", "factor", needDType("adamw", "factor", factor, "f32"), [1]);
    return [];
  },
});
/**
 * Performs an AdamW step in place (Loshchilov & Hutter 2019). As in PyTorch, the decay comes first.
 * @param operands.hyper (7) f32: learning rate, β1, β2, eps, weight decay, 1 − β1ᵗ, 1 − β2ᵗ
 * @param operands.factor (1) f32, factor of the gradient (for clipping)
 * @param options.decay whether weight decay applies to this tensor
 */
export function adamw(
  operands: { parameter: Value; gradient: Value; m: Value; v: Value; hyper: Value; factor: Value },
  options: { decay: boolean },
): void {
  const { parameter, gradient, m, v, hyper, factor } = needNames("adamw: operands", operands, OPERANDS);
  const { decay } = needNames("adamw: options", options, ["decay"]);
  adamwNode([parameter, gradient, m, v, hyper, factor], { decay: decay ? 1 : 0 });
}
