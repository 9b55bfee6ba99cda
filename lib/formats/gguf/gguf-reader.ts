// A bounded cursor over the head of a GGUF file. It reads through a window, so a 100 GB file needs no more memory than
// its metadata. It checks every length in the file against the rest of the file before it allocates.
import { binding } from "../../binding/index.ts";
import type { NativeStringList } from "../../binding/tokenizer.ts";
import { excerpt, HeddleError } from "../../core/errors.ts";
import type { Slices } from "../../core/slices.ts";
import type { MappedFile } from "../../io/mapped-file.ts";
import { truncatedFile } from "../../io/truncated-file.ts";
import {
  GGUF_VALUE_BYTES,
  GGUF_VALUE_TYPES,
  type GgufArray,
  type GgufNumberArray,
  type GgufValue,
  type GgufValueType,
} from "./gguf-types.ts";

const WINDOW_BYTES = 1 << 20;
/** Size of the length field before each string. */
const LENGTH_BYTES = 8;
const MAX_STRING_BYTES = 64 * 1024 * 1024;
/**
 * Maximum number of bytes of all keys, names and texts together. The largest known vocabulary, with its merges and
 * tokenizer.json, takes a tenth of it.
 */
const MAX_TEXT_BYTES = 512 * 1024 * 1024;
/** Limits for all arrays of a file together. */
const ARRAY_LIMITS = {
  /** Sixteen times the largest known vocabulary. */
  string: { most: 4_194_304, what: "strings in the file's arrays" },
  /** The scores and types of the largest known vocabulary, 262,144 tokens, take a thirtieth. */
  number: { most: 64 * 1024 * 1024, what: "bytes of numbers in the file's arrays" },
  /** Known files have one boolean per layer. Each takes eight bytes in memory, and one in the file. */
  bool: { most: 65_536, what: "booleans in the file's arrays" },
  array: { most: 65_536, what: "nested arrays in the file" },
};
const MAX_NESTING = 4;

const NUMBER_ARRAYS: Readonly<Record<string, new (buffer: ArrayBuffer) => GgufNumberArray>> = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
};

/** Reads values of a GGUF file in order, through a window over the file. All counts and lengths are bounded. */
export class GgufReader {
  readonly size: number;
  private window = Buffer.alloc(0);
  private windowStart = 0;
  private at = 0;
  private textBytes = 0;
  private readonly inArrays = { string: 0, number: 0, bool: 0, array: 0 };

  constructor(
    private readonly file: MappedFile,
    readonly path: string,
  ) {
    this.size = file.size;
  }

  /** Position in bytes from the beginning of the file. */
  get position(): number {
    return this.windowStart + this.at;
  }

  invalid(message: string): HeddleError {
    return new HeddleError("INVALID_FILE", `${this.path}: ${message}`);
  }

  private truncated(bytes: number, within: string): HeddleError {
    return truncatedFile(this.path, this.size, { bytes, within });
  }

  /** Makes `bytes` bytes readable at window[at]. */
  private need(bytes: number, name: string): void {
    if (this.window.length - this.at >= bytes) return;
    const position = this.position;
    const left = this.size - position;
    if (bytes > left) throw this.truncated(position + bytes, name);
    this.window = Buffer.from(this.file.bytes(position, Math.min(left, Math.max(bytes, WINDOW_BYTES))));
    this.windowStart = position;
    this.at = 0;
  }

  u32(name: string): number {
    this.need(4, name);
    const value = this.window.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  u64(name: string): bigint {
    this.need(8, name);
    const value = this.window.readBigUInt64LE(this.at);
    this.at += 8;
    return value;
  }

  /** Reads a 64-bit count of at most `most`. */
  count(name: string, most: number): number {
    const value = this.u64(name);
    if (value > BigInt(most)) throw this.invalid(`${name}: expected at most ${most}, got ${value}`);
    return Number(value);
  }

  string(name: string, most = MAX_STRING_BYTES): string {
    this.need(8, name);
    const low = this.window.readUInt32LE(this.at);
    const high = this.window.readUInt32LE(this.at + 4);
    const length = high * 4294967296 + low;
    if (length > most) throw this.invalid(`${name}: expected a string of at most ${most} bytes, got ${length}`);
    this.at += 8;
    this.countText(length, name);
    if (length > WINDOW_BYTES) return this.longString(length, name);
    this.need(length, name);
    const value = this.window.toString("utf8", this.at, this.at + length);
    this.at += length;
    return value;
  }

  /** Decodes a long string directly from the file, because reading it into the window would make another copy. */
  private longString(length: number, name: string): string {
    const { position } = this;
    if (length > this.size - position) throw this.truncated(position + length, name);
    const value = this.file.text(position, length);
    this.skip(length);
    return value;
  }

  /** Reads a metadata value: its type number, then its bytes. */
  *value(key: string): Slices<GgufValue> {
    const type = this.valueType(key);
    if (type === "array") return yield* this.array(key, 1);
    if (type === "string") return { type, value: this.string(key) };
    return this.scalar(key, type);
  }

  private valueType(key: string): GgufValueType {
    const number = this.u32(`${excerpt(key, 100)}: type`);
    const type = GGUF_VALUE_TYPES[number];
    if (type === undefined) {
      throw this.invalid(`${excerpt(key, 100)}: type: expected 0 to ${GGUF_VALUE_TYPES.length - 1}, got ${number}`);
    }
    return type;
  }

  private scalar(key: string, type: Exclude<GgufValueType, "array" | "string">): GgufValue {
    const bytes = GGUF_VALUE_BYTES[type];
    this.need(bytes, excerpt(key, 100));
    const { window, at } = this;
    this.at += bytes;
    switch (type) {
      case "u8":
        return { type, value: window.readUInt8(at) };
      case "i8":
        return { type, value: window.readInt8(at) };
      case "u16":
        return { type, value: window.readUInt16LE(at) };
      case "i16":
        return { type, value: window.readInt16LE(at) };
      case "u32":
        return { type, value: window.readUInt32LE(at) };
      case "i32":
        return { type, value: window.readInt32LE(at) };
      case "f32":
        return { type, value: window.readFloatLE(at) };
      case "f64":
        return { type, value: window.readDoubleLE(at) };
      case "u64":
        return { type, value: window.readBigUInt64LE(at) };
      case "i64":
        return { type, value: window.readBigInt64LE(at) };
      case "bool":
        return { type, value: this.boolean(key, window.readUInt8(at)) };
    }
  }

  private boolean(key: string, byte: number): boolean {
    if (byte > 1) throw this.invalid(`${excerpt(key, 100)}: expected a boolean 0 or 1, got ${byte}`);
    return byte === 1;
  }

  private *array(key: string, depth: number): Slices<GgufArray> {
    if (depth > MAX_NESTING) {
      throw this.invalid(`${excerpt(key, 100)}: expected arrays nested at most ${MAX_NESTING} deep, got more`);
    }
    const of = this.valueType(key);
    const length = this.count(`${excerpt(key, 100)}: array length`, Number.MAX_SAFE_INTEGER);
    this.countElements(key, of, length);
    // Check the length against the file's size. Each element takes a minimum of bytes: a string its length field, an
    // array its type and length.
    const least = of === "string" ? 8 : of === "array" ? 12 : GGUF_VALUE_BYTES[of];
    const end = this.position + length * least;
    if (end > this.size) throw this.truncated(end, excerpt(key, 100));
    switch (of) {
      case "string": {
        return stringArray(yield* this.stringList(key, length));
      }
      case "bool": {
        this.need(length, excerpt(key, 100));
        const bytes = this.window.subarray(this.at, this.at + length);
        this.at += length;
        return { type: "array", of, value: Array.from(bytes, (byte) => this.boolean(key, byte)) };
      }
      case "array": {
        const value: GgufArray[] = [];
        for (let i = 0; i < length; i++) value.push(yield* this.array(key, depth + 1));
        return { type: "array", of, value };
      }
      default: {
        const bytes = length * GGUF_VALUE_BYTES[of];
        // Large numeric arrays bypass the window, and are copied once, into their final buffer.
        const buffer = this.file.bytes(this.position, bytes);
        this.skip(bytes);
        yield;
        return { type: "array", of, value: new NUMBER_ARRAYS[of]!(buffer) };
      }
    }
  }

  /** Adds an array's length to the total of its kind. @throws HeddleError INVALID_FILE if the total exceeds the limit */
  private countElements(key: string, of: GgufValueType, length: number): void {
    const kind = of === "string" || of === "bool" || of === "array" ? of : "number";
    const amount =
      this.inArrays[kind] +
      length * (kind === "number" ? GGUF_VALUE_BYTES[of as Exclude<GgufValueType, "string" | "array">] : 1);
    const { most, what } = ARRAY_LIMITS[kind];
    if (amount > most) throw this.invalid(`${excerpt(key, 100)}: expected at most ${most} ${what}, got more`);
    this.inArrays[kind] = amount;
  }

  /**
   * Reads an array of strings into native memory. A vocabulary has hundreds of thousands of strings, and JavaScript uses
   * few of them.
   */
  private *stringList(key: string, length: number): Slices<NativeStringList> {
    const list = new binding.NativeStringList();
    while (list.length < length) {
      const before = list.length;
      // Reads all strings that are complete in the window.
      const taken = list.read(this.window.subarray(this.at), length - before);
      this.at += taken;
      this.countText(taken - LENGTH_BYTES * (list.length - before), key);
      if (list.length === length) break;
      yield;
      // The next string crosses the window's end, or its length is invalid.
      const text = this.string(key);
      list.add(text, Uint32Array.of(text.length));
    }
    return list;
  }

  private countText(bytes: number, name: string): void {
    this.textBytes += bytes;
    if (this.textBytes > MAX_TEXT_BYTES) {
      throw this.invalid(`${name}: expected at most ${MAX_TEXT_BYTES} bytes of text in the file's head, got more`);
    }
  }

  private skip(bytes: number): void {
    if (this.at + bytes <= this.window.length) this.at += bytes;
    else {
      this.windowStart = this.position + bytes;
      this.window = Buffer.alloc(0);
      this.at = 0;
    }
  }
}

/** Returns an array whose JavaScript strings are created on first use. */
function stringArray(list: NativeStringList): GgufArray {
  let made: string[] | undefined;
  const array: GgufArray = {
    type: "array",
    of: "string",
    get value() {
      made ??= list.strings();
      return made;
    },
  };
  return Object.defineProperty(array, "list", { value: list });
}
