// Checks a caller's token ids, and converts them to the array that native code takes.
import { checkAttached, invalidArgument } from "../core/errors.ts";

/** Whether a value is a 32-bit unsigned integer: `>>> 0` changes every other number. */
function isId(value: unknown): value is number {
  return typeof value === "number" && value >>> 0 === value;
}

/** Converts ids for native code. @throws HeddleError INVALID_ARGUMENT unless `ids` is an iterable of 32-bit unsigned integers */
export function idArray(ids: Iterable<number>, name: string, firstIndex = 0): Uint32Array {
  checkAttached(name, ids);
  if (ids instanceof Uint32Array) return ids;
  if (typeof ids?.[Symbol.iterator] !== "function" || typeof ids === "string")
    throw invalidArgument(name, "an iterable of token ids", ids);
  const given: number[] = Array.from(ids);
  const array = new Uint32Array(given.length);
  for (const [i, id] of given.entries()) {
    if (!isId(id)) throw invalidArgument(`${name}[${firstIndex + i}]`, "a token id, a whole number from 0", id);
    array[i] = id;
  }
  return array;
}
