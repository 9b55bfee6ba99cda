import { brand } from "./instanceof.ts";
import { isObject } from "./is-object.ts";
import { isWhole } from "./is-whole.ts";

/** Every failure that heddle reports has one of these codes. docs/errors.md says what each one means and what to do. */
export type HeddleErrorCode =
  | "INVALID_ARGUMENT" // an option or a value a caller passed
  | "SHAPE_MISMATCH" // the shapes of an op's operands do not fit
  | "INVALID_FILE" // a file's bytes break its format
  | "NOT_FOUND" // a file, tensor or name is missing
  | "UNSUPPORTED" // valid, but not supported; the message names the feature
  | "INVALID_ANSWER" // an answer was cut off, or does not match its schema
  | "CONTEXT_OVERFLOW" // more tokens than the context holds
  | "DISPOSED" // use after dispose()
  | "ABORTED" // an AbortSignal fired
  | "NUMERICAL" // NaN or infinity where a finite number was needed
  | "OUT_OF_MEMORY" // too little memory for the weights, the cache or a step
  | "DEVICE_LOST" // a GPU failed, and this process cannot use it any more
  | "IO" // the operating system refused an operation (disk full, permission)
  | "INTERNAL"; // a defect in heddle: please report it

/**
 * The only error class that heddle throws. Messages about values read "name: expected X, got Y".
 *
 * @example
 * try { await LanguageModel.load("missing"); }
 * catch (error) { if (error instanceof HeddleError && error.code === "NOT_FOUND") … }
 */
export class HeddleError extends Error {
  /** The class's name, as stack traces show it. */
  override readonly name = "HeddleError";
  /** The kind of failure. docs/errors.md says what to do for each code. */
  readonly code: HeddleErrorCode;
  /** Programs may throw this error too. Training stages rethrow it unchanged. @param options.cause the underlying error */
  constructor(code: HeddleErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /**
   * Link to the documentation of the error's code: the repository's page at the tag of this version. A build without a known repository
   * links to the file in its own docs folder.
   */
  get docs(): string {
    const docs = addressOf("../../docs/", import.meta.url); // the build replaces the address: see tsdown.config.ts
    return `${docs}errors.md#${this.code.toLowerCase()}`;
  }

  /** Returns the error's fields for JSON.stringify, which omits the message of a plain Error. */
  toJSON(): { name: string; code: HeddleErrorCode; message: string } {
    const { name, code, message } = this;
    return { name, code, message };
  }

  static {
    brand(HeddleError, "HeddleError");
  }
}

/** Returns the address of a path relative to a module. Bundlers that make CommonJS may know no address of the module. */
function addressOf(path: string, module: string | undefined): string {
  return module === undefined ? path : new URL(path, module).href;
}

/** Returns the error for a wrong argument, worded the same everywhere: `temperature: expected a number ≥ 0, got -1`. */
export function invalidArgument(name: string, expected: string, got: unknown): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got ${describe(got)}`);
}

/** Whether a typed array's buffer was transferred (is detached). Its methods then throw a TypeError. */
function isDetached(value: unknown): value is ArrayBufferView {
  if (!ArrayBuffer.isView(value)) return false;
  try {
    if (value.byteLength > 0) return false;
    new Uint8Array(value.buffer); // throws if the buffer is detached, not if the array is merely empty
    return false;
  } catch {
    return true; // a DataView's byteLength throws as well
  }
}

/** Throws INVALID_ARGUMENT for a typed array whose buffer is detached. */
export function checkAttached(name: string, value: unknown): void {
  if (isDetached(value)) throw invalidArgument(name, "an array that is not detached", value);
}

/** Throws INVALID_ARGUMENT unless the value is an object. Call it before reading the object's properties. */
export function checkObject(name: string, value: unknown): void {
  if (!isObject(value) || ArrayBuffer.isView(value)) throw invalidArgument(name, "an object", value);
}

/** Throws INVALID_ARGUMENT unless the path is a nonempty string. */
export function checkPath(name: string, value: unknown, expected = "a path"): asserts value is string {
  if (typeof value !== "string" || value === "") throw invalidArgument(name, expected, value);
}

/** Returns the error for a model without a tokenizer, for calls that need one. */
export function withoutTokenizer(name: string): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${name}: expected a model with a tokenizer, got one without`);
}

/** The range of valid seeds, worded for messages. Every random generator of the package distinguishes all of these seeds. */
export const SEEDS = "a whole number from 0 to 2^53 - 1";

/** Whether a value is a valid seed. */
export function isSeed(seed: unknown): seed is number {
  return isWhole(seed);
}

/** Requires a seed. @throws HeddleError INVALID_ARGUMENT */
export function checkSeed(seed: unknown, name = "seed"): asserts seed is number {
  if (!isSeed(seed)) throw invalidArgument(name, SEEDS, seed);
}

/** Returns seed + count. The sum wraps around to 0 after the largest safe integer, because larger integers are not all distinct. */
export function seedAfter(seed: number, count: number): number {
  const room = Number.MAX_SAFE_INTEGER - seed;
  return count <= room ? seed + count : count - room - 1;
}

/** Throws INVALID_ARGUMENT unless the signal is undefined or an AbortSignal, of any realm. */
export function checkSignal(signal: unknown): asserts signal is AbortSignal | undefined {
  if (signal === undefined) return;
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function")
    throw invalidArgument("signal", "an AbortSignal", signal);
}

/** Returns the error for work that was aborted by its signal. */
export function aborted(signal: AbortSignal, what = "model"): HeddleError {
  return new HeddleError("ABORTED", `${what}: aborted by its signal`, { cause: signal.reason });
}

/**
 * Throws ABORTED if `signal` has fired. `what` names the work in the message: "load: aborted by its signal".
 * @throws HeddleError INVALID_ARGUMENT for an invalid signal
 */
export function throwIfAborted(signal: AbortSignal | undefined, what?: string): void {
  checkSignal(signal);
  if (signal?.aborted) throw aborted(signal, what);
}

/** Returns the message of a thrown Error. Any other thrown value is converted to text. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Maximum number of characters that a message quotes from a file, a request or another library. */
const EXCERPT = 300;

/**
 * Returns a text from a file, a request or another library as one short line. Each run of white space and control characters becomes
 * one space. A text longer than `most` is truncated.
 */
export function excerpt(text: string, most = EXCERPT): string {
  const line = text
    .slice(0, 2 * most) // skip the rest of a long text, which is cut off anyway
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return line.length > most || text.length > 2 * most ? `${line.slice(0, most - 1).toWellFormed()}…` : line;
}

/** Renders any value on one short line, for an error message. It never throws, even if the value's getters do. */
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
    // Nested arrays show their length only, because an array may contain itself.
    return value.length > 8 || !whole
      ? `an array of ${value.length}`
      : `[${value.map((v) => rendering(v, false)).join(", ")}]`;
  if (value instanceof Error) return excerpt(String(value.message));
  if (typeof value === "object" && value !== null) {
    const name: unknown = value.constructor?.name;
    if (isDetached(value)) return `a detached ${name}`;
    return typeof name === "string" && name && value.constructor !== Object ? `a ${name}` : "an object";
  }
  return typeof value === "bigint" ? `${value}n` : String(value);
}
