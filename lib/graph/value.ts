import { describe, HeddleError, invalidArgument } from "../core/errors.ts";
import { brand } from "../core/instanceof.ts";
import { isWhole } from "../core/is-whole.ts";
import { checkWhole } from "../core/option-values.ts";
import { DTYPES, type DType, isDType } from "./dtype.ts";

/**
 * A symbolic dimension. Its size may differ from run to run, up to `bound`. Programs are planned for the bound, so one program serves all
 * prompt lengths and batch sizes up to it.
 */
export class Dimension {
  /** Name in messages. */
  readonly name: string;
  /** Maximum size. */
  readonly bound: number;
  /**
   * @param name name in messages
   * @param bound maximum size
   * @throws HeddleError INVALID_ARGUMENT unless the bound is a whole number of at least 1
   */
  constructor(name: string, bound: number) {
    if (typeof name !== "string") throw invalidArgument("dimension: name", "a string", name);
    checkWhole(name, bound, 1);
    this.name = name;
    this.bound = bound;
  }
  /** Returns the name. */
  toString(): string {
    return this.name;
  }

  static {
    brand(Dimension, "Dimension");
  }
}

/** The size of a dimension: a number, or symbolic. */
export type Dim = number | Dimension;
/** The sizes of all dimensions, in row-major order. */
export type Shape = readonly Dim[];

/** Formats a shape: `(rows, 576)`. */
export function showShape(shape: Shape): string {
  return `(${shape.join(", ")})`;
}

/** Formats a shape like showShape, even if its entries are invalid. */
function describeShape(shape: readonly unknown[]): string {
  return `(${shape.map((dim) => (dim instanceof Dimension ? dim.name : describe(dim))).join(", ")})`;
}

/** Whether two shapes have the same dimensions. Symbolic dimensions are compared by identity. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** Returns the size of a fixed dimension. @throws HeddleError SHAPE_MISMATCH for a symbolic or missing one */
export function fixed(dim: Dim | undefined, what: string): number {
  if (typeof dim === "number") return dim;
  throw new HeddleError("SHAPE_MISMATCH", `${what}: expected a fixed dimension, got ${dim ?? "none"}`);
}

/** The type and shape of a value. */
export interface TensorType {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions. A `Dimension` is a size that each run chooses. */
  readonly shape: Shape;
}

const isDim = (dim: unknown) => dim instanceof Dimension || isWhole(dim);

/** Checks a type. @throws HeddleError INVALID_ARGUMENT for an invalid type, or one with too many elements */
export function checkType(type: TensorType, what: string): void {
  if (typeof type !== "object" || type === null) throw invalidArgument(what, "a dtype and a shape", type);
  const { dtype, shape } = type;
  if (!isDType(dtype)) throw invalidArgument(`${what}: dtype`, `one of ${Object.keys(DTYPES).join(", ")}`, dtype);
  const expected = "whole numbers of at least 0, or Dimensions";
  if (!Array.isArray(shape)) throw invalidArgument(`${what}: shape`, `an array of ${expected}`, shape);
  const elements = (dims: Shape) => dims.reduce<number>((n, d) => n * (d instanceof Dimension ? d.bound : d), 1);
  if (!shape.every(isDim) || elements(shape) > Number.MAX_SAFE_INTEGER)
    throw new HeddleError("INVALID_ARGUMENT", `${what}: shape: expected ${expected}, got ${describeShape(shape)}`);
}

/** One operation of a trace. `inputs` may hold undefined for an absent optional operand. */
export interface Node {
  /** Name of the op, as in `opNames`. */
  readonly op: string;
  /** The operands. An optional operand that was left out is undefined. */
  readonly inputs: readonly (Value | undefined)[];
  /** The op's parameters. */
  readonly attributes: Readonly<Record<string, number>>;
  /** The results. */
  readonly outputs: readonly Value[];
  /** Whether the op writes one of its operands. Such a node runs even if nothing reads its outputs. */
  readonly effect: boolean;
  /** The line of code that made the node. Recorded only if HEDDLE_CHECK is set and not 0. */
  readonly origin: string;
}

/** The source of a value: a node's output, an input, or a persistent tensor. */
export type Source =
  | { kind: "node"; node: Node; index: number }
  | { kind: "input"; name: string }
  | { kind: "tensor"; name: string };

/** A value of the graph: the type and source of a tensor that exists only when the program runs. It holds no data. */
export class Value implements TensorType {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions. A `Dimension` is a size that each run chooses. */
  readonly shape: Shape;
  /** @internal */ source: Source;
  /**
   * Use ops, `input` or `tensor` to make values. Only lib/graph has sources to pass.
   * @param what the value's name in messages
   * @throws HeddleError INVALID_ARGUMENT for an invalid type
   */
  constructor(type: TensorType, source: Source, what = "value") {
    checkType(type, what);
    if (typeof source !== "object" || source === null) throw invalidArgument(`${what}: source`, "an object", source);
    this.dtype = type.dtype;
    this.shape = type.shape;
    this.source = source;
  }
  /** The number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }
  /**
   * Returns dimension `i`; negative values count from the end. @throws HeddleError SHAPE_MISMATCH if it does not exist, INVALID_ARGUMENT
   */
  dim(i: number): Dim {
    if (!Number.isInteger(i)) throw invalidArgument("dim", "a whole number", i);
    const d = this.shape.at(i);
    if (d === undefined)
      throw new HeddleError("SHAPE_MISMATCH", `dim: expected an index within ${showShape(this.shape)}, got ${i}`);
    return d;
  }
  /** The size of the last dimension. @throws HeddleError SHAPE_MISMATCH if it is symbolic or missing */
  get last(): number {
    return fixed(this.shape.at(-1), "last dimension");
  }
  /** Formats the type: `f32(rows, 576)`. */
  toString(): string {
    return `${this.dtype}${showShape(this.shape)}`;
  }

  static {
    brand(Value, "Value");
  }
}
