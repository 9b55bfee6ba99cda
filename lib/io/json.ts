// Reads JSON from files. It checks the encoding, the nesting and the number of values before it parses.
import { HeddleError, type HeddleErrorCode, reasonOf } from "../core/errors.ts";
import { lazily } from "../core/lazy.ts";

/** A static import would evaluate all exports of node:buffer, which load further modules. */
const buffers = lazily<typeof import("node:buffer")>("node:buffer");

/** Any JSON value. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };
/** A JSON object. */
export type JsonObject = { [key: string]: JsonValue };
/** A JSON object whose values are not checked yet, or may be undefined. */
export type JsonFields = Record<string, unknown>;

/** Default maximum number of values. Keys count too, because a key takes as much memory as a value. */
const MAX_VALUES = 1 << 18;
/** Larger files may have one value per 32 bytes. The values then take at most about twice the file's size in memory. */
const BYTES_PER_VALUE = 32;
const MAX_DEPTH = 64;
/** Bytes or characters that are checked at a time. */
const WINDOW_BYTES = 1 << 16;

/** Limits of parsing, which keep hostile files from large allocations. */
export interface JsonLimits {
  /** Maximum number of values, keys included. Default 262,144, or one per 32 bytes of the source if that is more. */
  values?: number | undefined;
  /** Maximum depth of nesting. Default 64. */
  depth?: number | undefined;
  /** Code of the errors. Default INVALID_FILE. */
  code?: HeddleErrorCode | undefined;
}

/**
 * Parses JSON in UTF-8, with or without a byte order mark.
 * @param where name of the source in messages
 * @throws HeddleError `limits.code`
 */
export function parseJson(source: Uint8Array | string, where: string, limits: JsonLimits = {}): unknown {
  const { values = MAX_VALUES, depth = MAX_DEPTH, code = "INVALID_FILE" } = limits;
  // A short source cannot have too many values, and the nesting of its values is checked faster than that of its bytes.
  const isShort = source.length <= Math.min(MAX_VALUES, values);
  if (!isShort) checkJson(source, where, limits);
  const text = typeof source === "string" ? source : decodeUtf8(source, where, code);
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith("\ufeff") ? text.slice(1) : text);
  } catch (cause) {
    throw new HeddleError(code, `${where}: expected JSON: ${jsonFailure(cause)}`, { cause });
  }
  if (isShort && isDeeper(value, depth)) throw tooDeep(where, depth, code);
  return value;
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((one) => isDeeper(one, depth - 1));
}

const tooDeep = (where: string, depth: number, code: HeddleErrorCode) =>
  new HeddleError(code, `${where}: expected JSON nested at most ${depth} deep, got more`);

/** Returns why JSON.parse failed, on one line. V8's message contains a part of the text, with its line breaks. */
export function jsonFailure(cause: unknown): string {
  const reason = reasonOf(cause);
  const escaped = (c: string) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  return reason.replace(/\p{Cc}/gu, escaped).replace(/[\u2028\u2029]/g, " ");
}

/** Checks the nesting and the number of values before the source is parsed. @throws HeddleError `limits.code` */
export function checkJson(source: Uint8Array | string, where: string, limits: JsonLimits = {}): void {
  const { code = "INVALID_FILE" } = limits;
  const { values = Math.max(MAX_VALUES, source.length / BYTES_PER_VALUE), depth = MAX_DEPTH } = limits;
  const check = new SizeCheck(where, { values: Math.floor(values), depth, code });
  if (typeof source !== "string") check.update(source);
  // Convert the text in windows: a copy of all of it would double the memory.
  else
    for (let at = 0; at < source.length; at += WINDOW_BYTES)
      check.update(Buffer.from(source.slice(at, at + WINDOW_BYTES)));
}

/**
 * Parses a line of a file of rows. A short line is not checked: it has at most as many values as characters, and no recursive code reads it.
 * @throws SyntaxError for a short line that is not JSON
 * @throws HeddleError INVALID_FILE for a long line with too many values, with too deep nesting, or that is not JSON
 */
export function parseJsonRow(text: string, where: string): unknown {
  return text.length <= MAX_VALUES ? JSON.parse(text) : parseJson(text, where);
}

/**
 * Counts nesting and values in the bytes of a JSON source. Deep nesting would overflow the stack of recursive code, and
 * many values would exhaust the heap.
 */
class SizeCheck {
  private depth = 0;
  private values = 1;
  private inString = false;
  private isEscaped = false;

  constructor(
    private readonly where: string,
    private readonly limits: Required<JsonLimits>,
  ) {}

  /** Checks the next bytes of the source. @throws HeddleError for too deep nesting or too many values */
  update(bytes: Uint8Array): void {
    const { limits } = this;
    let { depth, values, inString } = this;
    let i = this.isEscaped ? 1 : 0;
    for (; i < bytes.length; i++) {
      const byte = bytes[i];
      if (inString) {
        if (byte === 0x5c) i++;
        else if (byte === 0x22) inString = false;
      } else if (byte === 0x22) inString = true;
      else if (byte === 0x2c || byte === 0x3a) {
        if (++values > limits.values) throw this.tooMany();
      } else if (byte === 0x7b || byte === 0x5b) {
        if (++depth > limits.depth) throw tooDeep(this.where, limits.depth, limits.code);
        if (++values > limits.values) throw this.tooMany();
      } else if (byte === 0x7d || byte === 0x5d) depth--;
    }
    this.isEscaped = i > bytes.length;
    Object.assign(this, { depth, values, inString });
  }

  private tooMany(): HeddleError {
    const { code, values } = this.limits;
    return new HeddleError(code, `${this.where}: expected JSON of at most ${values} values (keys included), got more`);
  }
}

/** Decodes UTF-8 and keeps a byte order mark. @throws HeddleError `code` with the offset of the first invalid byte */
export function decodeUtf8(bytes: Uint8Array, where: string, code: HeddleErrorCode = "INVALID_FILE"): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const malformed = malformedUtf8At(buffer);
  if (malformed >= 0)
    throw new HeddleError(code, `${where}: expected UTF-8, got an invalid sequence at byte ${malformed}`);
  return buffer.toString("utf8");
}

/** Returns the offset of the first byte sequence that is not UTF-8, or -1. */
export function malformedUtf8At(bytes: Buffer): number {
  const { isUtf8 } = buffers();
  if (isUtf8(bytes)) return -1;
  let begin = 0;
  for (let end = 0; begin < bytes.length; begin = end) {
    end = Math.min(begin + WINDOW_BYTES, bytes.length);
    // Do not split a character: move the end of the window back, over continuation bytes (10xxxxxx), to the first byte of the character.
    while (end < bytes.length && end > begin + 1 && (bytes[end]! & 0xc0) === 0x80) end--;
    if (!isUtf8(bytes.subarray(begin, end))) break;
  }
  // The decoder replaces malformed bytes by U+FFFD. Find the first U+FFFD that is not in the file itself.
  const text = bytes.toString("utf8", begin, begin + WINDOW_BYTES);
  let at = begin;
  for (let from = 0; ; ) {
    const found = text.indexOf("\ufffd", from);
    if (found < 0) return at;
    at += Buffer.byteLength(text.slice(from, found));
    // EF BF BD is U+FFFD in UTF-8, so this one is in the file itself.
    if (bytes.toString("latin1", at, at + 3) !== "\xef\xbf\xbd") return at;
    at += 3;
    from = found + 1;
  }
}
