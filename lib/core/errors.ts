import { brand } from "./instanceof.ts";

/** Every failure that heddle reports has one of these codes. docs/errors.md says what each one means and what to do. */
export type HeddleErrorCode =
  | "INVALID_ARGUMENT" // an option or a value a caller passed
  | "SHAPE_MISMATCH" // operands of an op do not fit
  | "INVALID_FILE" // a file's bytes break its format
  | "NOT_FOUND" // a file, tensor or name is missing
  | "UNSUPPORTED" // understood, and not provided; the message names the feature
  | "CONTEXT_OVERFLOW" // more tokens than the context holds
  | "DISPOSED" // use after dispose()
  | "ABORTED" // an AbortSignal fired
  | "NUMERICAL" // NaN or infinity where a number was needed
  | "OUT_OF_MEMORY"
  | "IO" // the operating system refused (disk full, permission)
  | "INTERNAL"; // a defect in heddle: please report it

/**
 * The only error class heddle throws. `message` reads "name: what is wrong, expected X, got Y".
 *
 * @example
 * try { await LanguageModel.load("missing"); }
 * catch (error) { if (error instanceof HeddleError && error.code === "NOT_FOUND") … }
 */
export class HeddleError extends Error {
  override readonly name = "HeddleError";
  readonly code: HeddleErrorCode;
  /** Programs may throw it too, and stages pass it on unchanged. @param options.cause the underlying error */
  constructor(code: HeddleErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Link to the documentation of the error's code. */
  get docs(): string {
    return `https://unpkg.com/heddle/docs/errors.md#${this.code.toLowerCase()}`;
  }

  /** Includes the message, which JSON.stringify leaves out of an Error. */
  toJSON(): { name: string; code: HeddleErrorCode; message: string } {
    const { name, code, message } = this;
    return { name, code, message };
  }

  static {
    brand(HeddleError, "HeddleError");
  }
}

/** One wording for every parameter error: `temperature: expected a number ≥ 0, got -1`. */
export function invalidArgument(name: string, expected: string, got: unknown): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got ${describe(got)}`);
}

/** Whether a typed array's memory was transferred. JavaScript's own methods then throw a TypeError. */
function isDetached(value: unknown): value is ArrayBufferView {
  if (!ArrayBuffer.isView(value)) return false;
  try {
    if (value.byteLength > 0) return false;
    new Uint8Array(value.buffer);
    return false;
  } catch {
    return true; // a DataView's byteLength throws as well
  }
}

/** Throws INVALID_ARGUMENT for a typed array whose memory was transferred. */
export function checkAttached(name: string, value: unknown): void {
  if (isDetached(value)) throw invalidArgument(name, "an array that is not detached", value);
}

/** Throws INVALID_ARGUMENT unless the options are an object. Call it before reading them. */
export function checkObject(name: string, value: unknown): void {
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
    throw invalidArgument(name, "an object", value);
}

/** Throws INVALID_ARGUMENT unless the path is a nonempty string. */
export function checkPath(name: string, value: unknown, expected = "a path"): asserts value is string {
  if (typeof value !== "string" || value === "") throw invalidArgument(name, expected, value);
}

/** The error for a call that reads text on a model without a tokenizer. */
export function withoutTokenizer(name: string): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${name}: expected a model with a tokenizer, got one without`);
}

/** The values of a seed: those that every random generator here distinguishes. */
export const SEEDS = "a whole number from 0 to 2^53 - 1";

export function isSeed(seed: unknown): seed is number {
  return Number.isSafeInteger(seed) && (seed as number) >= 0;
}

/** @throws HeddleError INVALID_ARGUMENT unless it is a seed */
export function checkSeed(seed: unknown, name = "seed"): asserts seed is number {
  if (!isSeed(seed)) throw invalidArgument(name, SEEDS, seed);
}

/** Returns seed + count, wrapping around the largest safe integer, beyond which neighbours are equal. */
export function seedAfter(seed: number, count: number): number {
  const room = Number.MAX_SAFE_INTEGER - seed;
  return count <= room ? seed + count : count - room - 1;
}

/** Throws INVALID_ARGUMENT unless it is undefined or an AbortSignal, of any realm. */
export function checkSignal(signal: unknown): asserts signal is AbortSignal | undefined {
  if (signal === undefined) return;
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function")
    throw invalidArgument("signal", "an AbortSignal", signal);
}

/** The error of work that its signal ended. */
export function aborted(signal: AbortSignal, what = "model"): HeddleError {
  return new HeddleError("ABORTED", `${what}: aborted by its signal`, { cause: signal.reason });
}

/**
 * Throws ABORTED if `signal` has fired; `what` names the work: "load: aborted by its signal".
 * @throws HeddleError INVALID_ARGUMENT as checkSignal
 */
export function throwIfAborted(signal: AbortSignal | undefined, what?: string): void {
  checkSignal(signal);
  if (signal?.aborted) throw aborted(signal, what);
}

/** Characters of a foreign text in a message. */
const EXCERPT = 300;

/** A text from a file, a request or another library as one short line of a message: white space is one blank, and the rest is cut. */
export function excerpt(text: string, most = EXCERPT): string {
  const line = text
    .slice(0, 2 * most)
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return line.length > most || text.length > 2 * most ? `${line.slice(0, most - 1).toWellFormed()}…` : line;
}

/** A short, single-line rendering of any value for an error message. Never throws, whatever the value does when it is looked at. */
export function describe(value: unknown): string {
  try {
    return rendering(value, true);
  } catch {
    return "a value that cannot be shown";
  }
}

function rendering(value: unknown, whole: boolean): string {
  if (typeof value === "string")
    return value.length > 80 ? `${JSON.stringify(value.slice(0, 77))}…` : JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value))
    // Arrays in an array by their length alone: they may hold each other.
    return value.length > 8 || !whole
      ? `an array of ${value.length}`
      : `[${value.map((v) => rendering(v, false)).join(", ")}]`;
  if (value instanceof Error) return excerpt(String(value.message));
  if (typeof value === "object" && value !== null) {
    const name: unknown = value.constructor?.name;
    if (isDetached(value)) return `a detached ${name}`;
    return typeof name === "string" && name && value.constructor !== Object ? `a ${name}` : "an object";
  }
  return String(value);
}
