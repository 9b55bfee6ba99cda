// Parses JSON of clients in slices, because JSON.parse of megabytes would block the event loop.
import type { Slices } from "../core/slices.ts";

/** Number of bytes that are parsed by one JSON.parse, and scanned between two yields. */
export const JSON_PART = 32 << 10;

/** Number of bytes of a string that are scanned one by one. For longer strings, the faster indexOf pays off. */
const LOOK = 64;

/** Maximum length of an escape, such as \\u00e9. */
const LONGEST_ESCAPE = 6;

const [QUOTE, COMMA, BACKSLASH, LETTER_U] = [0x22, 0x2c, 0x5c, 0x75];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT, COLON] = [0x5b, 0x5d, 0x7b, 0x7d, 0x3a];

/** Per byte, whether it has a meaning for the scan outside of strings. */
const IS_MARK = new Uint8Array(256);
for (const byte of [QUOTE, COMMA, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT, COLON]) IS_MARK[byte!] = 1;

/** Limits on JSON. */
interface JsonLimits {
  /** Maximum nesting depth of objects and arrays. */
  depth: number;
  /** Maximum number of objects, arrays and keys. Numbers are cheap, and limited by the body's size. */
  values: number;
  /** Maximum number of strings, including keys. */
  strings: number;
  /**
   * Maximum number of keys of one object. Listing an object's keys cannot be sliced, and takes long for very many keys.
   */
  keys: number;
}

/** Limits on JSON of clients: request bodies, and arguments of tool calls in messages. */
export const JSON_LIMITS: JsonLimits = { depth: 64, values: 1 << 17, strings: 1 << 18, keys: 1 << 14 };

/** The error for JSON that exceeds a limit. */
export class JsonLimitError extends Error {
  readonly limit: keyof JsonLimits;

  constructor(limit: keyof JsonLimits) {
    super(`JSON exceeds the limit of ${limit}`);
    this.limit = limit;
  }
}

/** An object or array whose end has not been reached. */
interface Frame {
  isArray: boolean;
  /** Offset after its opening bracket. */
  begin: number;
  /** Offset of its last comma after the parsed part, or -1. */
  comma: number;
  /** Whether it has a member or a comma. If so, a closing bracket right after the last comma is a syntax error. */
  hasMembers: boolean;
  /** Whether its last member was parsed in parts. Only white space may then come before the next comma. */
  afterParts: boolean;
  /** The object's members, or the array's elements, one list per parsed part. Undefined while the frame may still be parsed whole. */
  made: unknown[][] | Record<string, unknown> | undefined;
  /** Its key in the enclosing object. */
  key: string | undefined;
  /** Number of its keys so far. */
  keys: number;
}

function frameAt(isArray: boolean, begin: number): Frame {
  return { isArray, begin, comma: -1, hasMembers: false, afterParts: false, made: undefined, key: undefined, keys: 0 };
}

/**
 * Parses UTF-8 bytes to the same value as JSON.parse. A scan finds brackets and commas. Once more than `part` bytes are pending,
 * JSON.parse parses the complete members among them. These are then added to the enclosing object or array.
 * @throws SyntaxError or TypeError for invalid JSON or UTF-8, JsonLimitError
 */
export function* parseInSlices(bytes: Buffer, limits: JsonLimits, part = JSON_PART): Slices<unknown> {
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const parts = new Parts(bytes, { begin: hasMark ? 3 : 0, part, limits });
  for (let end = 0; end < bytes.length; ) {
    end = Math.min(bytes.length, end + part);
    while (!parts.scan(end)) {
      const closed = parts.closed();
      if (closed) yield* parts.finish(closed, parts.at - 1);
      if (closed) parts.close();
      else yield* parts.take();
    }
    yield* parts.take();
    yield;
  }
  return yield* parts.end();
}

/** The unparsed rest of the JSON. Complete members are parsed and removed from it. */
class Parts {
  /** Offset up to which everything has been scanned. */
  at: number;
  /** Offset up to which everything has been parsed. */
  private pending: number;
  private inText = false;
  /** Offsets of the quotes of the last string. */
  private textBegin = -1;
  private textEnd = -1;
  /** Offsets of the next quote and backslash, as last searched. */
  private nextQuote = -1;
  private nextBackslash = -1;
  /** Number of objects, arrays and keys so far. */
  private values = 0;
  private strings = 0;
  private readonly bytes: Buffer;
  private readonly part: number;
  private readonly limits: JsonLimits;
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** The stack of open frames. The outermost is an array without brackets that contains the whole value. */
  private readonly frames: Frame[];
  /** Number of frames, from the outermost on, that are parsed in parts. */
  private parted = 1;
  /** The innermost frame. */
  private frame: Frame;

  constructor(bytes: Buffer, { begin, part, limits }: { begin: number; part: number; limits: JsonLimits }) {
    this.bytes = bytes;
    this.part = part;
    this.limits = limits;
    this.at = begin;
    this.pending = begin;
    this.frame = { ...frameAt(true, begin), made: [] };
    this.frames = [this.frame];
  }

  /**
   * Scans up to `end`. It is a plain function, because V8 optimizes generators poorly.
   * @returns false if pending members must be parsed first. This happens at the end of a frame that is parsed in parts,
   * and at a comma when more than `part` bytes are pending
   */
  scan(end: number): boolean {
    const { bytes } = this;
    let [at, from] = [this.at, this.pending + this.part];
    while (at < end) {
      if (this.inText) {
        at = this.skipText(at, end);
        continue;
      }
      // Most bytes of large arrays are numbers and commas, so this loop has no calls and writes no fields.
      const skipsCommas = !this.frame.afterParts && this.frames.length > 1;
      let comma = -1;
      for (; at < end; at++) {
        const byte = bytes[at]!;
        if (IS_MARK[byte] === 0) continue;
        if (byte !== COMMA || !skipsCommas) break;
        comma = at;
        if (at > from) break;
      }
      if (comma >= 0) {
        this.frame.comma = comma;
        this.frame.hasMembers = true;
        if (comma > from) return this.stop(comma);
      }
      if (at >= end) break;
      const byte = bytes[at]!;
      if (byte === COMMA) {
        this.commaAfterParts(at);
        from = this.pending + this.part;
      } else if (byte === QUOTE) {
        if (++this.strings > this.limits.strings) throw new JsonLimitError("strings");
        this.inText = true;
        this.textBegin = at;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (this.frames.length > this.limits.depth) throw new JsonLimitError("depth");
        this.count();
        this.frame = frameAt(byte === OPEN_ARRAY, at + 1);
        this.frames.push(this.frame);
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        if (this.frames.length === 1 || this.frame.isArray !== (byte === CLOSE_ARRAY))
          throw new SyntaxError("a bracket that closes nothing");
        if (this.frame.made) return this.stop(at);
        this.pop();
      } else {
        this.count();
        if (++this.frame.keys > this.limits.keys) throw new JsonLimitError("keys");
      }
      at++;
    }
    this.at = at;
    return true;
  }

  /** Skips a string's content up to `end`, and its closing quote. Returns the offset after the skipped bytes. */
  private skipText(begin: number, end: number): number {
    const { bytes } = this;
    let [at, look] = [begin, begin + LOOK];
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) {
        this.inText = false;
        this.textEnd = at;
        return at + 1;
      }
      if (byte === BACKSLASH) {
        at++;
        look = at + LOOK;
      } else if (at >= look) {
        at = Math.min(end, this.plainUntil(at)) - 1;
        look = at + LOOK;
      }
    }
    return at;
  }

  private stop(at: number): false {
    this.at = at + 1;
    return false;
  }

  /** Returns the offset of the next quote or backslash inside a string, from `at` on. */
  private plainUntil(at: number): number {
    const { bytes } = this;
    // Maps -1 (not found) to the length, and any other index to itself.
    const next = (byte: number) => (bytes.indexOf(byte, at) + bytes.length + 1) % (bytes.length + 1);
    if (this.nextQuote < at) this.nextQuote = next(QUOTE);
    if (this.nextBackslash < at) this.nextBackslash = next(BACKSLASH);
    return Math.min(this.nextQuote, this.nextBackslash);
  }

  private count(): void {
    if (++this.values > this.limits.values) throw new JsonLimitError("values");
  }

  private pop(): Frame {
    const { frames } = this;
    frames.pop();
    this.frame = frames[frames.length - 1]!;
    return this.frame;
  }

  /** Handles a comma after a member that was parsed in parts. */
  private commaAfterParts(at: number): void {
    if (this.frames.length === 1) throw new SyntaxError("a comma after the value");
    this.checkBlank(at);
    this.frame.afterParts = false;
    this.frame.hasMembers = true;
    this.pending = at + 1;
  }

  /** Returns the frame whose end was scanned last, if it is parsed in parts. */
  closed(): Frame | undefined {
    const { frame, at, bytes } = this;
    const last = bytes[at - 1];
    return frame.made && this.frames.length > 1 && (last === CLOSE_ARRAY || last === CLOSE_OBJECT) ? frame : undefined;
  }

  /** Ends the innermost frame: adds its value to the enclosing frame. */
  close(): void {
    const value = madeOf(this.frame);
    const { key } = this.frame;
    const outer = this.pop();
    if (outer.isArray) (outer.made as unknown[][]).push([value]);
    else setOwn(outer.made as Record<string, unknown>, key!, value);
    outer.afterParts = true;
    this.pending = this.at;
    this.parted--;
  }

  /** Parses complete members until at most `part` bytes, or a single value, are pending. */
  *take(): Slices<void> {
    while (this.at - this.pending > this.part) {
      const frame = this.frames[this.parted - 1]!;
      if (frame.comma >= 0) {
        yield* this.add(frame, frame.comma);
        this.pending = frame.comma + 1;
        frame.comma = -1;
      } else if (this.frames.length > this.parted) {
        const inner = this.frames[this.parted]!;
        inner.made = inner.isArray ? [] : {};
        this.descend(frame, inner);
        this.pending = inner.begin;
        this.parted++;
      } else return;
      yield;
    }
  }

  /** Parses the rest, and returns the whole value. */
  *end(): Slices<unknown> {
    const { frames, bytes } = this;
    if (frames.length > 1 || this.inText) throw new SyntaxError("the JSON ends within a value");
    const [whole] = frames as [Frame];
    yield* this.finish(whole, bytes.length);
    const values = madeOf(whole) as unknown[];
    if (values.length !== 1) throw new SyntaxError("no value");
    return values[0];
  }

  /** Adds the last members of a frame. */
  *finish(frame: Frame, at: number): Slices<void> {
    if (frame.afterParts) this.checkBlank(at);
    else if (frame.hasMembers || !this.isBlank(at)) yield* this.add(frame, at);
  }

  /** Reads the key (in an object) or the white space (in an array) before a frame that will be parsed in parts. */
  private descend(frame: Frame, inner: Frame): void {
    if (frame.afterParts) throw new SyntaxError("two values without a comma");
    const before = this.text(this.pending, inner.begin - 1);
    frame.hasMembers = true;
    if (frame.isArray) this.checkBlank(inner.begin - 1);
    else {
      [inner.key] = Object.keys(JSON.parse(`{${before}null}`) as object);
      setOwn(frame.made as Record<string, unknown>, inner.key!, null); // reserves its position among the keys
    }
  }

  /** Adds the members between `pending` and `end`. @throws SyntaxError if there are none */
  private *add(frame: Frame, end: number): Slices<void> {
    const { textBegin, textEnd } = this;
    const isLong = textEnd - textBegin > 2 * this.part && textBegin >= this.pending && textEnd < end;
    // A very long string is the only member here, because `take` has parsed the members before it. If it is a key,
    // JSON.parse gets it whole.
    const long = isLong && this.isBlank(end, textEnd + 1) ? yield* this.longText(textBegin, textEnd) : undefined;
    const members = long === undefined ? this.text(this.pending, end) : `${this.text(this.pending, textBegin)}""`;
    if (frame.isArray) {
      const items = JSON.parse(`[${members}]`) as unknown[];
      if (items.length === 0) throw new SyntaxError("a comma without a value");
      if (long !== undefined) items[items.length - 1] = long;
      (frame.made as unknown[][]).push(items);
    } else {
      const made = frame.made as Record<string, unknown>;
      const entries = JSON.parse(`{${members}}`) as Record<string, unknown>;
      const keys = Object.keys(entries);
      if (keys.length === 0) throw new SyntaxError("a comma without a value");
      for (const key of keys) setOwn(made, key, long ?? entries[key]);
    }
    frame.hasMembers = true;
  }

  /** Parses the content of a string that is too long for one part. */
  private *longText(begin: number, end: number): Slices<string> {
    const { bytes } = this;
    let out = "";
    for (let from = begin + 1; from < end; ) {
      let to = Math.min(end, from + this.part);
      to = Math.max(to, this.escapeEnd(from, to));
      while (to < end && (bytes[to]! & 0xc0) === 0x80) to++;
      out += JSON.parse(`"${this.text(from, to)}"`) as string;
      from = to;
      yield;
    }
    return out;
  }

  /** Returns the end of an escape that begins in the last bytes before `to`, or 0. `from` must not be inside an escape. */
  private escapeEnd(from: number, to: number): number {
    const { bytes } = this;
    let last = to - 1;
    while (last >= from && last > to - LONGEST_ESCAPE && bytes[last] !== BACKSLASH) last--;
    let first = last;
    while (first >= from && bytes[first] === BACKSLASH) first--;
    if ((last - first) % 2 === 0) return 0; // an even number of backslashes: each pair is an escaped backslash
    return last + (bytes[last + 1] === LETTER_U ? LONGEST_ESCAPE : 2);
  }

  private text(begin: number, end: number): string {
    return this.decoder.decode(this.bytes.subarray(begin, end));
  }

  private isBlank(end: number, begin = this.pending): boolean {
    const { bytes } = this;
    for (let at = begin; at < end; at++) {
      const byte = bytes[at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return false;
    }
    return true;
  }

  private checkBlank(end: number): void {
    if (!this.isBlank(end)) throw new SyntaxError("a value without a comma");
  }
}

function madeOf({ made }: Frame): unknown {
  if (!Array.isArray(made)) return made;
  return made.length === 1 ? made[0] : ([] as unknown[]).concat(...made);
}

/** Sets an own property, even if it is named `__proto__`. */
export function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__")
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  else object[key] = value;
}
