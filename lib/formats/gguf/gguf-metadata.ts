import type { NativeStringList } from "../../binding/tokenizer.ts";
import { HeddleError } from "../../core/errors.ts";
import type { GgufNumberArray, GgufValue } from "./gguf-types.ts";

/**
 * GGUF metadata with typed look-ups. For a missing key, a method whose name begins with `require` throws INVALID_FILE,
 * and the others return undefined. A value of another type is an INVALID_FILE error that names the key.
 */
export class GgufMetadata {
  constructor(
    readonly values: ReadonlyMap<string, GgufValue>,
    /** The file's path, for messages. */
    readonly path = "GGUF metadata",
  ) {}

  /** Returns the plain values by key. An array of strings that is stored in native memory stays a native list. */
  record(): Record<string, GgufValue["value"] | NativeStringList> {
    const plain = (entry: GgufValue) => (entry.type === "array" && entry.of === "string" && entry.list) || entry.value;
    return Object.fromEntries([...this.values].map(([key, entry]) => [key, plain(entry)]));
  }

  /** Returns the length of an array. */
  count(key: string): number | undefined {
    const entry = this.values.get(key);
    if (entry === undefined) return undefined;
    if (entry.type !== "array") throw this.mismatch(key, "an array", entry);
    return entry.of === "string" && entry.list ? entry.list.length : entry.value.length;
  }

  has(key: string): boolean {
    return this.values.has(key);
  }

  /** Returns any integer or float. 64-bit integers must be exact in a double. */
  number(key: string): number | undefined {
    const entry = this.values.get(key);
    if (entry === undefined) return undefined;
    if (typeof entry.value === "number") return entry.value;
    if (typeof entry.value === "bigint") {
      const value = Number(entry.value);
      if (Number.isSafeInteger(value)) return value;
    }
    throw this.mismatch(key, "a number", entry);
  }

  requireNumber(key: string): number {
    return this.number(key) ?? this.missing(key);
  }

  /** Returns a token's id. As in llama.cpp, -1 and the largest unsigned 32-bit number mean unset. */
  tokenId(key: string): number | undefined {
    const id = this.number(key);
    return id === 0xffffffff || id === -1 ? undefined : id;
  }

  /** Returns a float as the shortest decimal that rounds to the same float32: 9.999999747378752e-06 → 1e-5. */
  real(key: string): number | undefined {
    const value = this.number(key);
    return value === undefined ? undefined : tidy(value);
  }

  requireReal(key: string): number {
    return this.real(key) ?? this.missing(key);
  }

  /**
   * Returns a number that all `count` layers share: a single value, or an array of `count` equal ones. Errors:
   * INVALID_FILE, UNSUPPORTED if layers differ.
   */
  alike(key: string, count: number): number | undefined {
    if (this.values.get(key)?.type !== "array") return this.number(key);
    const values = this.numbers(key)!;
    if (values.length !== count) {
      const message = `expected a number, or one for each of ${count} layers, got ${values.length}`;
      throw new HeddleError("INVALID_FILE", `${this.path}: ${key}: ${message}`);
    }
    const first = Number(values[0]);
    for (const value of values) {
      if (Number(value) === first) continue;
      const message = `expected the same number for all layers, got ${first} and ${value}: layers that differ are not supported`;
      throw new HeddleError("UNSUPPORTED", `${this.path}: ${key}: ${message}`);
    }
    return first;
  }

  requireAlike(key: string, count: number): number {
    return this.alike(key, count) ?? this.missing(key);
  }

  string(key: string): string | undefined {
    const entry = this.values.get(key);
    if (entry === undefined || typeof entry.value === "string") return entry?.value;
    throw this.mismatch(key, "a string", entry);
  }

  requireString(key: string): string {
    return this.string(key) ?? this.missing(key);
  }

  boolean(key: string): boolean | undefined {
    const entry = this.values.get(key);
    if (entry === undefined || typeof entry.value === "boolean") return entry?.value;
    throw this.mismatch(key, "a boolean", entry);
  }

  strings(key: string): string[] | undefined {
    const entry = this.values.get(key);
    if (entry === undefined) return undefined;
    if (entry.type === "array" && entry.of === "string") return entry.value;
    throw this.mismatch(key, "an array of strings", entry);
  }

  /** Returns an array of numbers as the typed array that it was stored as. */
  numbers(key: string): GgufNumberArray | undefined {
    const entry = this.values.get(key);
    if (entry === undefined) return undefined;
    if (entry.type === "array" && entry.of !== "string" && entry.of !== "bool" && entry.of !== "array") {
      return entry.value;
    }
    throw this.mismatch(key, "an array of numbers", entry);
  }

  private mismatch(key: string, expected: string, entry: GgufValue): HeddleError {
    const got = entry.type === "array" ? `an array of ${entry.of}` : entry.type;
    return new HeddleError("INVALID_FILE", `${this.path}: ${key}: expected ${expected}, got ${got}`);
  }

  private missing(key: string): never {
    throw new HeddleError("INVALID_FILE", `${this.path}: ${key}: expected in the metadata, got nothing`);
  }
}

/** Returns the shortest decimal that rounds to the same float32: 9.999999747378752e-06 → 1e-5. */
export function tidy(value: number): number {
  const exact = Math.fround(value);
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(exact.toPrecision(digits));
    if (Math.fround(short) === exact) return short;
  }
  return value;
}
