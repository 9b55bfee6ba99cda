// Parses regular expressions to trees. The syntax is the regular subset of JavaScript's, over code points (flag u).
import { HeddleError } from "../core/errors.ts";
import { type CodePoints, complement, LAST_CODE_POINT, union } from "./code-points.ts";
import { limits, tooLarge, unsupported, Work } from "./limits.ts";

/** A regular expression as a tree. */
export type Pattern =
  | { kind: "set"; set: CodePoints }
  | { kind: "concat"; parts: readonly Pattern[] }
  | { kind: "either"; parts: readonly Pattern[] }
  | { kind: "repeat"; part: Pattern; least: number; most: number }
  | { kind: "start" }
  | { kind: "end" };

/** All code points. */
export const ANYTHING: CodePoints = [[0, LAST_CODE_POINT]];
/** The pattern that matches only the empty text. */
export const empty: Pattern = { kind: "concat", parts: [] };
/** Makes a pattern of one character from ranges of code points, both ends included. */
export const set = (...ranges: [number, number][]): Pattern => ({ kind: "set", set: union(ranges) });
/** Makes a pattern of parts in sequence. */
export const concat = (...parts: Pattern[]): Pattern => ({ kind: "concat", parts });
/** Makes a pattern that matches any of the parts. */
export const either = (...parts: Pattern[]): Pattern => ({ kind: "either", parts });
/** Makes a pattern that repeats a part from `least` to `most` times. */
export const repeat = (part: Pattern, least: number, most = Number.POSITIVE_INFINITY): Pattern => ({
  kind: "repeat",
  part,
  least,
  most,
});
const anyText = repeat({ kind: "set", set: ANYTHING }, 0);

const DIGITS: CodePoints = [[0x30, 0x39]];
const WORD: CodePoints = union(DIGITS, [[0x41, 0x5a]], [[0x5f, 0x5f]], [[0x61, 0x7a]]);
const LINE_ENDS: CodePoints = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const SPACES: CodePoints = union(LINE_ENDS, [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]);
const CLASSES: Readonly<Record<string, CodePoints>> = {
  d: DIGITS,
  D: complement(DIGITS),
  w: WORD,
  W: complement(WORD),
  s: SPACES,
  S: complement(SPACES),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/**
 * Parses a pattern as with flag `u` alone. Two things differ from that flag: a lone `]`, `{` or `}` matches itself, and any punctuation may
 * be escaped. `.` excludes line breaks. Greedy and lazy quantifiers are equivalent here, and so are named and unnamed groups.
 * @param where the pattern's name in messages
 * @throws HeddleError INVALID_ARGUMENT for an invalid or long pattern, UNSUPPORTED for look-around, back references and \b
 */
export function parsePattern(source: string, where: string, work = new Work()): Pattern {
  if (source.length > limits.patternLength) throw tooLarge(where, limits.patternLength, "characters");
  work.spend(CHARACTER * source.length, where);
  return new Parser(source, where, work).parse();
}

/** Units of work for reading a character. */
const CHARACTER = 60;
/** Units of work for reading a range in a class. */
const RANGE = 20;

class Parser {
  private readonly source: string;
  private readonly where: string;
  private readonly work: Work;
  private at = 0;

  constructor(source: string, where: string, work: Work) {
    this.source = source;
    this.where = where;
    this.work = work;
  }

  parse(): Pattern {
    const pattern = this.alternatives(0);
    if (this.at < this.source.length) throw this.invalid("a pattern without unmatched )");
    return pattern;
  }

  private invalid(expected: string): HeddleError {
    const got =
      this.at < this.source.length
        ? JSON.stringify(this.source.slice(this.at, this.at + 20))
        : "the end of the pattern";
    return new HeddleError("INVALID_ARGUMENT", `${this.where}: expected ${expected} at ${this.at}, got ${got}`);
  }

  private take(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  private alternatives(depth: number): Pattern {
    if (depth > limits.patternDepth) throw tooLarge(this.where, limits.patternDepth, "nested groups");
    const parts = [this.sequence(depth)];
    while (this.take("|")) parts.push(this.sequence(depth));
    return parts.length === 1 ? parts[0]! : { kind: "either", parts };
  }

  private sequence(depth: number): Pattern {
    const parts: Pattern[] = [];
    while (this.at < this.source.length && this.source[this.at] !== "|" && this.source[this.at] !== ")") {
      const part = this.atom(depth);
      parts.push(part.kind === "start" || part.kind === "end" ? part : this.quantified(part));
    }
    return parts.length === 1 ? parts[0]! : { kind: "concat", parts };
  }

  private quantified(part: Pattern): Pattern {
    const range = this.quantifier();
    if (!range) return part;
    this.take("?"); // lazy: matches the same texts
    if (/^(?:[*+?]|\{\d+(?:,\d*)?\})/.test(this.source.slice(this.at, this.at + 24)))
      throw this.invalid("one quantifier");
    return { kind: "repeat", part, least: range[0], most: range[1] };
  }

  private quantifier(): [number, number] | undefined {
    if (this.take("*")) return [0, Number.POSITIVE_INFINITY];
    if (this.take("+")) return [1, Number.POSITIVE_INFINITY];
    if (this.take("?")) return [0, 1];
    const braces = /^\{(\d{1,9})(,(\d{0,9}))?\}/.exec(this.source.slice(this.at, this.at + 24));
    if (!braces) return undefined;
    const [text, first, comma, second] = braces;
    const least = Number(first);
    const most = comma === undefined ? least : second === "" ? Number.POSITIVE_INFINITY : Number(second);
    if (most < least) throw this.invalid("a quantifier whose minimum is at most its maximum");
    this.at += text.length;
    return [least, most];
  }

  private atom(depth: number): Pattern {
    if (this.take("(")) return this.group(depth);
    if (this.take("^")) return { kind: "start" };
    if (this.take("$")) return { kind: "end" };
    if (this.take(".")) return { kind: "set", set: complement(LINE_ENDS) };
    if (this.take("[")) return { kind: "set", set: this.characterClass() };
    if (this.take("\\")) {
      if (this.source[this.at] === "b" || this.source[this.at] === "B")
        throw unsupported(this.where, `\\${this.source[this.at]}`);
      return { kind: "set", set: this.escape() };
    }
    if (/^(?:[*+?]|\{\d+(?:,\d*)?\})/.test(this.source.slice(this.at, this.at + 24)))
      throw this.invalid("something before a quantifier");
    const c = this.character();
    return { kind: "set", set: [[c, c]] };
  }

  private group(depth: number): Pattern {
    if (this.take("?")) {
      for (const kind of ["=", "!", "<=", "<!"])
        if (this.take(kind)) throw unsupported(this.where, `look-around, (?${kind}`);
      const named = /^<[\p{ID_Start}$_][\p{ID_Continue}$]*>/u.exec(this.source.slice(this.at, this.at + 64));
      if (named) this.at += named[0].length;
      else if (!this.take(":")) throw this.invalid("(?: or (?<name>");
    }
    const inner = this.alternatives(depth + 1);
    if (!this.take(")")) throw this.invalid("a )");
    return inner;
  }

  private character(): number {
    const c = this.source.codePointAt(this.at);
    if (c === undefined) throw this.invalid("a character");
    this.at += c > 0xffff ? 2 : 1;
    return c;
  }

  private escape(inClass = false): CodePoints {
    const letter = this.source[this.at];
    if (letter === undefined) throw this.invalid("a character after \\");
    this.at++;
    const known = CLASSES[letter];
    if (known) return known;
    const one = (c: number): CodePoints => [[c, c]];
    if (letter === "0" && /\d/.test(this.source[this.at] ?? "")) throw unsupported(this.where, "an octal escape");
    if (Object.hasOwn(CONTROLS, letter)) return one(CONTROLS[letter]!);
    if (inClass && letter === "b") return one(8);
    if (letter === "x" || letter === "u") return one(this.hexadecimal(letter));
    if (letter === "c") {
      const control = /^[A-Za-z]/.exec(this.source.slice(this.at, this.at + 1));
      if (!control) throw this.invalid("a letter after \\c");
      this.at++;
      return one(control[0].charCodeAt(0) % 32);
    }
    if (/[1-9k]/.test(letter)) throw unsupported(this.where, "a back reference");
    if (letter === "p" || letter === "P") throw unsupported(this.where, `\\${letter}{…}`);
    if (/[A-Za-z]/.test(letter)) {
      this.at -= 2;
      throw this.invalid("an escape of JavaScript");
    }
    this.at--;
    return one(this.character());
  }

  private hexadecimal(letter: "x" | "u"): number {
    const rest = this.source.slice(this.at, this.at + 12);
    const found =
      letter === "x" ? /^([0-9a-fA-F]{2})/.exec(rest) : /^(?:([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,6})\})/.exec(rest);
    if (!found) throw this.invalid(`hexadecimal digits after \\${letter}`);
    this.at += found[0].length;
    let value = Number.parseInt(found[1] ?? found[2]!, 16);
    const second = value >= 0xd800 && value < 0xdc00 ? /^\\u(d[c-f][0-9a-f]{2})/i.exec(rest.slice(4)) : null;
    if (second) {
      this.at += 6;
      value = 0x10000 + ((value - 0xd800) << 10) + (Number.parseInt(second[1]!, 16) - 0xdc00);
    }
    if (value > LAST_CODE_POINT) throw this.invalid("a code point up to 10FFFF");
    return value;
  }

  private characterClass(): CodePoints {
    const negated = this.take("^");
    const sets: CodePoints[] = [];
    while (!this.take("]")) {
      if (this.at >= this.source.length) throw this.invalid("a ]");
      const low = this.member();
      const next = this.source[this.at + 1];
      if (this.source[this.at] !== "-" || next === "]" || next === undefined) {
        sets.push(low);
        continue;
      }
      this.at++;
      const high = this.member();
      const [a, b] = [single(low), single(high)];
      if (a === undefined || b === undefined || a > b) throw this.invalid("a range from a character to a later one");
      sets.push([[a, b]]);
    }
    this.work.spend(RANGE * sets.reduce((sum, { length }) => sum + length, 1), this.where);
    const all = union(...sets);
    return negated ? complement(all) : all;
  }

  private member(): CodePoints {
    if (this.take("\\")) return this.escape(true);
    const c = this.character();
    return [[c, c]];
  }
}

function single(of: CodePoints): number | undefined {
  return of.length === 1 && of[0]![0] === of[0]![1] ? of[0]![0] : undefined;
}

/**
 * Converts a pattern to one without anchors that matches whole texts. With `search` the pattern may occur anywhere in a text. Anchors are
 * supported only where nothing comes before `^` or after `$`.
 * @throws HeddleError UNSUPPORTED for other anchors
 */
export function wholeTexts(pattern: Pattern, where: string, { search }: { search: boolean }): Pattern {
  const withAnchors = new Set<Pattern>();
  findAnchors(pattern, withAnchors);
  return anchored(pattern, { first: true, last: true, search, where, withAnchors });
}

interface Place {
  /** Whether nothing comes before the pattern. */
  first: boolean;
  /** Whether nothing comes after the pattern. */
  last: boolean;
  search: boolean;
  where: string;
  /** The anchors, and all patterns that contain one. */
  withAnchors: ReadonlySet<Pattern>;
}

function anchored(pattern: Pattern, place: Place): Pattern {
  const { first, last, search, where, withAnchors } = place;
  if (pattern.kind === "either") return either(...pattern.parts.map((part) => anchored(part, place)));
  const all: readonly Pattern[] = pattern.kind === "concat" ? pattern.parts : [pattern];
  let [from, until] = [0, all.length];
  while (first && all[from]?.kind === "start") from++;
  while (last && until > from && all[until - 1]!.kind === "end") until--;
  const [starts, ends] = [from > 0, until < all.length];
  const parts = all.slice(from, until);
  let [openStart, openEnd] = [first && !starts && search, last && !ends && search];
  const out = parts.map((part, i) => {
    if (!withAnchors.has(part)) return part;
    if (part.kind !== "either" && part.kind !== "concat") throw unsupported(where, "an anchor in the middle");
    const inner = { ...place, first: first && i === 0 && !starts, last: last && i === parts.length - 1 && !ends };
    // The recursive call adds `anyText` to each alternative of the group that has no anchor on that side, so do not add it here.
    if (inner.first) openStart = false;
    if (inner.last) openEnd = false;
    return anchored(part, inner);
  });
  return concat(...(openStart ? [anyText] : []), ...out, ...(openEnd ? [anyText] : []));
}

/** Collects all parts of a pattern that are or contain an anchor. @returns whether there is any */
function findAnchors(pattern: Pattern, found: Set<Pattern>): boolean {
  let any = pattern.kind === "start" || pattern.kind === "end";
  if (pattern.kind === "repeat") any = findAnchors(pattern.part, found);
  else if (pattern.kind === "concat" || pattern.kind === "either")
    for (const part of pattern.parts) any = findAnchors(part, found) || any;
  if (any) found.add(pattern);
  return any;
}
