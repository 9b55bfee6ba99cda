import { HeddleError, invalidArgument } from "../core/errors.ts";
import { type DType, isFloat, isQuantized } from "./dtype.ts";
import { type Dim, type Shape, sameShape, showShape, Value } from "./value.ts";

/** Throws SHAPE_MISMATCH "op: operand: expected …, got …". The checks below call it. */
export function fail(op: string, what: string, expected: string, got: unknown): never {
  throw new HeddleError("SHAPE_MISMATCH", `${op}: ${what}: expected ${expected}, got ${got}`);
}

/** Requires an operand that an op cannot do without. @throws HeddleError SHAPE_MISMATCH */
export function need(op: string, what: string, value: Value | undefined): Value {
  return value ?? fail(op, what, "an operand", "none");
}

/** Requires an operand of type f32, bf16 or f16, with `rank` dimensions if given. @throws HeddleError SHAPE_MISMATCH */
export function needFloat(op: string, what: string, value: Value | undefined, rank?: number): Value {
  const v = need(op, what, value);
  if (!isFloat(v.dtype)) fail(op, what, "f32, bf16 or f16", v.dtype);
  if (rank !== undefined && v.rank !== rank) fail(op, what, `${rank} dimensions`, showShape(v.shape));
  return v;
}

/** Requires a matrix of a floating or quantized type, as files store weights. */
export function needWeight(op: string, what: string, value: Value | undefined): Value {
  const v = need(op, what, value);
  if (!isFloat(v.dtype) && !isQuantized(v.dtype)) fail(op, what, "f32, bf16, f16 or a quantized type", v.dtype);
  if (v.rank !== 2) fail(op, what, "2 dimensions", showShape(v.shape));
  return v;
}

/** Requires an operand of one type, with `rank` dimensions if given. @throws HeddleError SHAPE_MISMATCH */
export function needDType(op: string, what: string, value: Value | undefined, dtype: DType, rank?: number): Value {
  const v = need(op, what, value);
  if (v.dtype !== dtype) fail(op, what, dtype, v.dtype);
  if (rank !== undefined && v.rank !== rank) fail(op, what, `${rank} dimensions`, showShape(v.shape));
  return v;
}

/** Requires a value of exactly this shape, and returns it. @throws HeddleError SHAPE_MISMATCH */
export function needShape(op: string, what: string, value: Value, shape: Shape): Value {
  if (!sameShape(value.shape, shape)) fail(op, what, showShape(shape), showShape(value.shape));
  return value;
}

/** Requires a dimension to be the expected one: the same size, or the same symbol. @throws HeddleError SHAPE_MISMATCH */
export function needDim(op: string, what: string, got: Dim, expected: Dim): void {
  if (got !== expected) fail(op, what, String(expected), got);
}

/**
 * Requires a graph value. Ops call it if they read an operand's shape or type before they create their node. @throws HeddleError
 * INVALID_ARGUMENT
 */
export function needValue(where: string, value: unknown): asserts value is Value {
  if (!(value instanceof Value))
    throw invalidArgument(where, "a value of the graph, from input(), tensor() or an op", value);
}

/** Requires a number. Ops call it if they use the number before they create their node. @throws HeddleError INVALID_ARGUMENT */
export function needNumber(where: string, value: unknown): asserts value is number {
  if (typeof value !== "number") throw invalidArgument(where, "a number", value);
}

/** Requires an array. @throws HeddleError INVALID_ARGUMENT */
export function needList(where: string, list: unknown): void {
  if (!Array.isArray(list)) throw invalidArgument(where, "an array", list);
}

/**
 * Checks the names of an op's options or named operands. A misspelt name would be silently ignored.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function needNames<T extends object>(where: string, given: T, names: readonly (keyof T & string)[]): T {
  if (typeof given !== "object" || given === null) throw invalidArgument(where, "an object", given);
  for (const key of Object.keys(given))
    if (!names.includes(key as keyof T & string))
      throw new HeddleError("INVALID_ARGUMENT", `${where}: expected ${names.join(", ")}, got ${key}`);
  return given;
}
