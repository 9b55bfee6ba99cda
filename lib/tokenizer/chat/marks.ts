// Inserts ChatGuard's marks, which are private-use characters, into texts of any size, and removes them. It works unit by unit, which is
// faster than a regular expression. Long work is a generator that yields regularly.
import { isHighSurrogate } from "../../core/surrogates.ts";
import { BEGINS, CHANGES, COMPOSES, type GuardCharacters } from "./guard-characters.ts";

/** Number of UTF-16 units processed between two yields. */
const WINDOW = 1 << 15;
/** Number of units that are read beyond a window. They complete an escape `\uXXXX` whose backslash is the window's last unit. */
const LOOKAHEAD = 5;
const BACKSLASH = 0x5c;
const LETTER_U = 0x75;

/** A window of a text. It is shared, because it is consumed before the next yield. */
const scratch = new Uint16Array(WINDOW + LOOKAHEAD);
const scratchBytes = Buffer.from(scratch.buffer);
/** A window of a text with marks, at most one per unit. */
const written = new Uint16Array(2 * WINDOW + 2);
const writtenBytes = Buffer.from(written.buffer);

/** Reads a window into `scratch`. @returns the number of units read, including up to LOOKAHEAD after the window */
function read(text: string, begin: number): number {
  return scratchBytes.write(text.slice(begin, begin + WINDOW + LOOKAHEAD), "utf16le") / 2;
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}

/** Returns the first character of a nonempty text. */
export function firstCharacter(text: string): string {
  return String.fromCodePoint(text.codePointAt(0)!);
}

/** Effects of normalization on characters, for a Marker. */
interface MarkedCharacters {
  /** The flags of characters: see guard-characters.ts. */
  characters: GuardCharacters;
  /**
   * First code points of guarded tokens. Such a character is marked only if a head (see Marker) begins there, or if normalization may change
   * the next character or combine both.
   */
  openers: ReadonlySet<number>;
}

/** Inserts a mark after the first character of each occurrence of a head. */
export class Marker {
  private readonly mark: number;
  private readonly pattern: RegExp | undefined;
  private readonly heads: readonly string[];
  private readonly normalized: MarkedCharacters | undefined;
  /** 1 for each UTF-16 unit with which a head begins. */
  private readonly begins = new Uint8Array(1 << 16);

  /**
   * @param heads beginnings of guarded tokens: a character, and at most LOOKAHEAD units after it
   * @param normalized if given, characters are also marked if normalization may turn them into the beginning of a token
   */
  constructor(heads: Iterable<string>, mark: string, normalized?: MarkedCharacters) {
    this.mark = mark.charCodeAt(0);
    this.heads = [...new Set(heads)];
    this.normalized = normalized;
    for (const head of this.heads) this.begins[head.charCodeAt(0)] = 1;
    if (this.heads.length > 0) this.pattern = new RegExp(this.heads.map(escaped).join("|"));
  }

  /** Returns `text` with marks. `text` must be well-formed. */
  *apply(text: string): Generator<void, string, undefined> {
    const from = this.normalized ? 0 : this.pattern ? text.search(this.pattern) : -1;
    if (from < 0) return text;
    const { begins, mark, normalized } = this;
    let out = text.slice(0, from);
    for (let begin = from; begin < text.length; ) {
      const units = read(text, begin);
      const end = Math.min(units, WINDOW);
      normalized?.characters.learn(text.slice(begin, begin + units));
      let [at, length] = [0, 0];
      while (at < end) {
        const unit = scratch[at]!;
        let size = begins[unit] === 0 ? 0 : this.sizeAt(at, units);
        if (size === 0 && normalized) size = changedSizeAt(at, units, normalized);
        written[length++] = unit;
        at++;
        if (size === 2) written[length++] = scratch[at++]!;
        if (size > 0) written[length++] = mark;
      }
      out += writtenBytes.toString("utf16le", 0, 2 * length);
      begin += at;
      yield;
    }
    return out;
  }

  /** Returns the number of units of the first character if a head begins here, else 0. */
  private sizeAt(at: number, units: number): number {
    for (const head of this.heads) {
      let same = 0;
      while (same < head.length && at + same < units && scratch[at + same] === head.charCodeAt(same)) same++;
      if (same === head.length) return isHighSurrogate(scratch[at]!) ? 2 : 1;
    }
    return 0;
  }
}

/** Returns the code point at an index of `scratch`. For the second unit of a surrogate pair, returns that unit. */
function codeAt(at: number, units: number): number {
  const unit = scratch[at]!;
  if (!isHighSurrogate(unit) || at + 1 >= units) return unit;
  return ((unit & 0x3ff) << 10) + (scratch[at + 1]! & 0x3ff) + 0x10000;
}

/** Characters that may compose with the previous one, including the vowels and finals of Korean syllables. */
const combining = /[\p{M}\u1160-\u11ff]/u;

/** Returns the number of units of a character that normalization may turn into the beginning of a token, else 0. */
function changedSizeAt(at: number, units: number, { characters, openers }: MarkedCharacters): number {
  const code = codeAt(at, units);
  const kind = characters.of(code);
  if ((kind & (BEGINS | COMPOSES)) === 0) return 0;
  const size = code < 0x10000 ? 1 : 2;
  if ((kind & BEGINS) !== 0 && !openers.has(code)) return size;
  if (at + size >= units) return 0;
  const next = codeAt(at + size, units);
  return (characters.of(next) & CHANGES) !== 0 || combining.test(String.fromCodePoint(next)) ? size : 0;
}

/** Returns the code unit of a JSON escape whose backslash is at index `at` of `scratch`, or −1 for any other text. */
function escapeAt(at: number, units: number): number {
  if (at + 6 > units || scratch[at + 1] !== LETTER_U) return -1;
  let code = 0;
  for (let i = at + 2; i < at + 6; i++) {
    const unit = scratch[i]!;
    const letter = (unit | 0x20) - 0x57; // 10 to 15 for A to F, in either case
    const digit = unit >= 0x30 && unit <= 0x39 ? unit - 0x30 : letter >= 10 && letter < 16 ? letter : -1;
    if (digit < 0) return -1;
    code = 16 * code + digit;
  }
  return code;
}

/** Returns a text without its marks, and the marks' offsets in ascending order. A mark may also occur as its JSON escape. */
export function* withoutMarks(
  text: string,
  mark: string,
): Generator<void, { text: string; barriers: Uint32Array }, undefined> {
  const code = mark.charCodeAt(0);
  const from = text.search(new RegExp(`${mark}|\\\\u`));
  if (from < 0) return { text, barriers: new Uint32Array(0) };
  const barriers: number[] = [];
  let out = text.slice(0, from);
  for (let begin = from; begin < text.length; ) {
    const units = read(text, begin);
    const end = Math.min(units, WINDOW);
    let [at, length] = [0, 0];
    for (; at < end; at++) {
      const unit = scratch[at]!;
      if (unit === code) barriers.push(out.length + length);
      else if (unit === BACKSLASH && escapeAt(at, units) === code) {
        barriers.push(out.length + length);
        at += 5;
      } else written[length++] = unit;
    }
    out += writtenBytes.toString("utf16le", 0, 2 * length);
    begin += at;
    yield;
  }
  return { text: out, barriers: Uint32Array.from(barriers) };
}

const FIRST_MARK = 0xe000;
const LAST_MARK = 0xf8ff;

/** Collects the private-use characters that occur in texts, literally or as JSON escapes. */
export class UsedMarks {
  private readonly used = new Set<number>();

  *add(text: string): Generator<void, void, undefined> {
    const from = text.search(/[\ue000-\uf8ff]|\\u/);
    for (let begin = from < 0 ? text.length : from; begin < text.length; begin += WINDOW) {
      const units = read(text, begin);
      for (let at = 0; at < Math.min(units, WINDOW); at++) {
        const unit = scratch[at]!;
        const code = unit === BACKSLASH ? escapeAt(at, units) : unit;
        if (code >= FIRST_MARK && code <= LAST_MARK) this.used.add(code);
      }
      yield;
    }
  }

  /** Returns an unused private-use character and marks it as used; undefined if all are used. */
  take(): string | undefined {
    const mark = this.unused();
    if (mark !== undefined) this.used.add(mark.charCodeAt(0));
    return mark;
  }

  /** Returns an unused private-use character; undefined if all are used. */
  unused(): string | undefined {
    for (let code = FIRST_MARK; code <= LAST_MARK; code++) if (!this.used.has(code)) return String.fromCharCode(code);
    return undefined;
  }
}
