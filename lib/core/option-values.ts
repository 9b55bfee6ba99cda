// Checks the values of options. Unless noted, an option may be left out.
import { invalidArgument } from "./errors.ts";
import { isWhole, wholeRange } from "./is-whole.ts";

/** Requires a function or undefined. @throws HeddleError INVALID_ARGUMENT */
export function checkFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function") throw invalidArgument(name, "a function", value);
}

/** Requires a boolean or undefined. @throws HeddleError INVALID_ARGUMENT */
export function checkFlag(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") throw invalidArgument(name, "true or false", value);
}

/** Requires a string or undefined. @throws HeddleError INVALID_ARGUMENT */
export function checkString(name: string, value: unknown): asserts value is string | undefined {
  if (value !== undefined && typeof value !== "string") throw invalidArgument(name, "a string", value);
}

/** Requires a whole number from `least` to `most`, and not undefined. @throws HeddleError INVALID_ARGUMENT */
export function checkWhole(name: string, value: unknown, least: number, most?: number): asserts value is number {
  if (!isWhole(value, least, most)) throw invalidArgument(name, wholeRange(least, most), value);
}
