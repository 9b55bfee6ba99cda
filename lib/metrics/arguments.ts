// Argument checks for metrics. Messages name the argument.
import { checkAttached, HeddleError, invalidArgument } from "../core/errors.ts";
import { isWhole } from "../core/is-whole.ts";

/** Whether a value is an array or a typed array. */
function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

/** Requires an array, of `length` values if `length` is given. @throws HeddleError INVALID_ARGUMENT */
export function checkList(name: string, value: unknown, length?: number): asserts value is ArrayLike<unknown> {
  if (!isList(value)) throw invalidArgument(name, "an array", value);
  checkAttached(name, value);
  if (length !== undefined && value.length !== length)
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected ${length} values, got ${value.length}`);
}

/** Requires an array of numbers. NaN is allowed: a model may return it, and the metric is then NaN too. */
export function checkNumbers(name: string, value: unknown, length?: number): asserts value is ArrayLike<number> {
  checkList(name, value, length);
  if (!Array.isArray(value)) {
    if (value.length > 0 && typeof value[0] !== "number") throw invalidArgument(`${name}[0]`, "a number", value[0]);
    return;
  }
  for (let i = 0; i < value.length; i++)
    if (typeof value[i] !== "number") throw invalidArgument(`${name}[${i}]`, "a number", value[i]);
}

/** Requires an array of integers in [0, below). @throws HeddleError INVALID_ARGUMENT */
export function checkIndices(name: string, value: unknown, below: number, length?: number): void {
  checkList(name, value, length);
  for (let i = 0; i < value.length; i++) {
    const index = value[i];
    if (isWhole(index, 0, below - 1)) continue;
    throw invalidArgument(`${name}[${i}]`, `a whole number from 0 to below ${below}`, index);
  }
}
