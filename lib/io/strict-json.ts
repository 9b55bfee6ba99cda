// A JSON parser for untrusted headers. Unlike JSON.parse it refuses duplicate keys, and it limits depth, values, keys and string lengths.
import { malformedUtf8At } from "./json.ts";

/** A parsed value. Objects become Maps, so that no key (`__proto__`) is special. */
export type StrictJson = string | number | boolean | null | StrictJson[] | Map<string, StrictJson>;

/** Limits of the parser. Errors name the limit that was exceeded. */
interface StrictJsonLimits {
  depth: number;
  /** Total number of values. An object counts as OBJECT_WEIGHT values. */
  values: number;
  /** Maximum number of keys of one object. */
  keys: number;
  /** Maximum length of a string in the source, in bytes. */
  stringBytes: number;
}

/** Number of values that an object counts as: a Map takes about as much memory as eight numbers of an array. */
const OBJECT_WEIGHT = 8;

/** The error for an object that has the same key twice. */
export class DuplicateKey extends Error {
  readonly key: string;

  constructor(key: string, at: number) {
    super(`duplicate key ${JSON.stringify(key.slice(0, 100))} at byte ${at}`);
    this.key = key;
  }
}

/**
 * Parses JSON in UTF-8. Throws an Error with a short reason ("duplicate key \"a\" at byte 12"), to which callers add
 * the file's name. After a check of the encoding it parses in one pass. It decodes ASCII strings without escapes
 * directly.
 */
export function parseStrictJson(bytes: Buffer, limits: StrictJsonLimits): StrictJson {
  let at = 0;
  let values = 0;

  function fail(reason: string): never {
    throw new Error(`${reason} at byte ${at}`);
  }

  function skipSpace(): void {
    for (;;) {
      const byte = bytes[at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      at++;
    }
  }

  function expect(byte: number): void {
    if (bytes[at] !== byte) fail(`expected ${JSON.stringify(String.fromCharCode(byte))}`);
    at++;
  }

  function string(): string {
    expect(0x22);
    const start = at;
    let plain = true;
    for (;;) {
      const byte = bytes[at];
      if (byte === undefined) fail("unterminated string");
      if (byte === 0x22) break;
      if (byte < 0x20) fail("control character in a string");
      if (byte === 0x5c) {
        plain = false;
        at++;
      } else if (byte >= 0x80) plain = false;
      at++;
      if (at - start > limits.stringBytes) fail(`string of more than ${limits.stringBytes} bytes`);
    }
    const end = at++;
    if (plain) return bytes.toString("latin1", start, end);
    try {
      return JSON.parse(bytes.toString("utf8", start - 1, end + 1)) as string;
    } catch {
      return fail("malformed string");
    }
  }

  function number(): number {
    const start = at;
    // Fast path: an integer of at most 15 digits, which a double holds exactly. JSON forbids leading zeros.
    let whole = 0;
    while (at - start < 15 && isDigit(bytes[at])) whole = whole * 10 + bytes[at++]! - 0x30;
    if (at > start && !isNumberByte(bytes[at]) && (bytes[start] !== 0x30 || at === start + 1)) return whole;

    // Read at most 65 bytes, which bounds the regular expression's work. The caller rejects the rest of a longer number.
    while (isNumberByte(bytes[at]) && at - start <= 64) at++;
    const text = bytes.toString("latin1", start, at);
    if (!/^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text)) fail("malformed number");
    return Number(text);
  }

  function word(text: string, value: boolean | null): boolean | null {
    if (bytes.toString("latin1", at, at + text.length) !== text) fail("unexpected character");
    at += text.length;
    return value;
  }

  function value(depth: number): StrictJson {
    if (depth > limits.depth) fail(`nested more than ${limits.depth} deep`);
    skipSpace();
    values += bytes[at] === 0x7b ? OBJECT_WEIGHT : 1;
    if (values > limits.values) fail(`more than ${limits.values} values`);
    switch (bytes[at]) {
      case 0x7b: {
        at++;
        const map = new Map<string, StrictJson>();
        skipSpace();
        if (bytes[at] === 0x7d) {
          at++;
          return map;
        }
        for (;;) {
          skipSpace();
          const key = string();
          if (map.size === limits.keys) fail(`object of more than ${limits.keys} keys`);
          if (map.has(key)) throw new DuplicateKey(key, at);
          skipSpace();
          expect(0x3a);
          map.set(key, value(depth + 1));
          skipSpace();
          if (bytes[at] === 0x2c) at++;
          else {
            expect(0x7d);
            return map;
          }
        }
      }
      case 0x5b: {
        at++;
        const list: StrictJson[] = [];
        skipSpace();
        if (bytes[at] === 0x5d) {
          at++;
          return list;
        }
        for (;;) {
          list.push(value(depth + 1));
          skipSpace();
          if (bytes[at] === 0x2c) at++;
          else {
            expect(0x5d);
            return list;
          }
        }
      }
      case 0x22:
        return string();
      case 0x74:
        return word("true", true);
      case 0x66:
        return word("false", false);
      case 0x6e:
        return word("null", null);
      default:
        if (bytes[at] !== 0x2d && !isDigit(bytes[at])) fail("expected a value");
        return number();
    }
  }

  const malformed = malformedUtf8At(bytes);
  if (malformed >= 0) throw new Error(`invalid UTF-8 at byte ${malformed}`);
  const result = value(0);
  skipSpace();
  if (at !== bytes.length) fail("unexpected bytes after the value");
  return result;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** Whether a byte is a digit or one of "+-.eE". */
function isNumberByte(byte: number | undefined): boolean {
  return isDigit(byte) || byte === 0x2b || byte === 0x2d || byte === 0x2e || byte === 0x45 || byte === 0x65;
}
