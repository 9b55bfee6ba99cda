import { describe, HeddleError, invalidArgument } from "../core/errors.ts";
import type { DType } from "./dtype.ts";
import { checkType, type Node, type Shape, sameShape, type TensorType, Value } from "./value.ts";

/** The parts of a tensor that is divided among ranks. */
export interface DividedTensor {
  /** This rank's part, a tensor of the same trace. Undefined if it has none. */
  readonly own: Value | undefined;
  /** The ranges of the ranks, as in `RankRanges` of lib/graph/ops/optimizer.ts. */
  readonly first: number;
  readonly ends: readonly number[];
}

/** A recording of the nodes that a function makes, in order. */
export class Trace {
  /** The nodes in the order in which the traced function made them. */
  readonly nodes: Node[] = [];
  /** Inputs of the program, by name. */
  readonly inputs = new Map<string, Value>();
  /** Tensors to bind, by name. */
  readonly tensors = new Map<string, Value>();
  /** @internal Tensors of which this process has only a part. Programs collect the whole tensor before nodes that read it. */
  readonly divided = new Map<Value, DividedTensor>();
  /** Ranges of nodes made within `recomputable`: index of the first, and one past the last. They are in order and do not nest. */
  readonly segments: { from: number; to: number }[] = [];
  /** @internal Whether `recomputable` is running. */ inSegment = false;
}

/** The active trace. All copies of the package (ESM and CommonJS) share it, so that their values can be combined. */
const active: { trace?: Trace | undefined } = sharedPlace();

function sharedPlace(): { trace?: Trace | undefined } {
  const all = globalThis as { [place: symbol]: object };
  const place = Symbol.for("heddle.trace");
  all[place] ??= {};
  return all[place];
}

const recordOrigins = Boolean(process.env.HEDDLE_CHECK && process.env.HEDDLE_CHECK !== "0");

/**
 * Runs `build`, which must be synchronous, and returns its trace and its result. Traces do not nest.
 * @throws HeddleError INVALID_ARGUMENT within another trace; any error of `build`
 */
export function record<T>(build: () => T): { trace: Trace; result: T } {
  if (typeof build !== "function") throw invalidArgument("record", "a function", build);
  if (active.trace)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "compile: expected to be called outside another compile(), got a call inside",
    );
  const trace = new Trace();
  active.trace = trace;
  try {
    return { trace, result: build() };
  } finally {
    active.trace = undefined;
  }
}

/** Returns the trace that is being recorded. @throws HeddleError INVALID_ARGUMENT if no trace is being recorded */
export function activeTrace(): Trace {
  if (!active.trace)
    throw new HeddleError("INVALID_ARGUMENT", "op: expected to be called inside compile(), got a call outside");
  return active.trace;
}

/**
 * Marks the nodes that `build` traces, such as a layer, as recomputable: a backward pass may compute them again from their inputs instead
 * of keeping intermediate values. A nested segment belongs to the outer one.
 */
export function recomputable<T>(build: () => T): T {
  if (typeof build !== "function") throw invalidArgument("recomputable", "a function", build);
  const trace = activeTrace();
  if (trace.inSegment) return build();
  const from = trace.nodes.length;
  trace.inSegment = true;
  try {
    return build();
  } finally {
    trace.inSegment = false;
    trace.segments.push({ from, to: trace.nodes.length });
  }
}

function named(map: Map<string, Value>, kind: "input" | "tensor", name: string, dtype: DType, shape: Shape): Value {
  if (typeof name !== "string") throw invalidArgument(`${kind}: name`, "a string", name);
  checkType({ dtype, shape }, `${kind} ${name}`);
  const known = map.get(name);
  if (known) {
    if (known.dtype !== dtype || !sameShape(known.shape, shape))
      throw new HeddleError(
        "SHAPE_MISMATCH",
        `${kind} ${name}: expected ${known}, got ${new Value({ dtype, shape }, known.source)}`,
      );
    return known;
  }
  const value = new Value({ dtype, shape }, { kind, name }, kind);
  map.set(name, value);
  return value;
}

/** Declares an input: data that JavaScript passes to each run, which copies it. */
export function input(name: string, dtype: DType, shape: Shape): Value {
  return named(activeTrace().inputs, "input", name, dtype, shape);
}

/** Declares a persistent tensor (a weight, an optimizer moment, a cache), which is bound by name before the program runs. */
export function tensor(name: string, dtype: DType, shape: Shape): Value {
  return named(activeTrace().tensors, "tensor", name, dtype, shape);
}

/** Marks a tensor of the active trace as divided among ranks. */
export function divideTensor(value: Value, parts: DividedTensor): void {
  activeTrace().divided.set(value, parts);
}

/** Returns the file, as a path or URL, of a line of a stack trace. */
const fileOf = (line: string) => /^\s*at (?:.*? \()?(.*):\d+:\d+\)?$/.exec(line)?.[1] ?? "";

/**
 * Returns the first stack line outside lib/graph: the line of the model's author. In the published package all of lib/graph is in this
 * function's file.
 */
function callerLine(): string {
  const [here = "", ...lines] = (new Error().stack ?? "").split("\n").slice(1);
  const own = fileOf(here);
  const folder = /^.*[\\/]lib[\\/]graph[\\/](?=trace\.ts$)/.exec(own)?.[0];
  const isOwn = (file: string) => file === own || (folder !== undefined && file.startsWith(folder));
  return (lines.find((line) => !isOwn(fileOf(line))) ?? "").replace(/^\s*at\s+/, "");
}

/** Repeats a node with other inputs of the same types, and returns the new node. */
export function repeatNode(node: Node, inputs: readonly (Value | undefined)[]): Node {
  addNode(node.op, inputs, node.attributes, node.outputs, node.effect);
  return activeTrace().nodes.at(-1)!;
}

/**
 * Adds a node to the active trace. Only `defineOp` and `repeatNode` call it.
 * @throws HeddleError INVALID_ARGUMENT unless all attributes are numbers and all output types are valid
 */
export function addNode(
  op: string,
  inputs: readonly (Value | undefined)[],
  attributes: Readonly<Record<string, number>>,
  outputs: readonly TensorType[],
  effect = false,
): readonly Value[] {
  for (const [name, value] of Object.entries(attributes))
    if (typeof value !== "number" || Number.isNaN(value))
      throw new HeddleError("INVALID_ARGUMENT", `${op}: ${name}: expected a number, got ${describe(value)}`);
  const values: Value[] = [];
  const node: Node = { op, inputs, attributes, outputs: values, effect, origin: recordOrigins ? callerLine() : "" };
  outputs.forEach((type, index) => {
    values.push(new Value(type, { kind: "node", node, index }, op));
  });
  activeTrace().nodes.push(node);
  return values;
}
