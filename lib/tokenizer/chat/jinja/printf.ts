// Python's two kinds of string formatting, "%5.2f" % x and "{:>5}".format(x), as far as templates use them.
import { type Growth, growing } from "../../chat-json.ts";
import { LimitError } from "./limits.ts";
import { charactersIn, offsetOf, pythonRepr, pythonText, type RuntimeValue } from "./repr.ts";

/** Maximum width and precision of a format. */
const MAX_WIDTH = 10_000;

type Named = ReadonlyMap<string, RuntimeValue>;

function whole(digits: string | undefined, otherwise: number): number {
  if (digits === undefined || digits === "") return otherwise;
  const value = Number(digits);
  if (value > MAX_WIDTH) throw new LimitError(`a format of more than ${MAX_WIDTH} characters`);
  return value;
}

function numberOf(value: RuntimeValue): number {
  if (typeof value.value === "number" || typeof value.value === "boolean") return Number(value.value);
  throw new Error(`format: expected a number, got ${value.type}`);
}

/** Formats a number with up to a hundred decimals. Ties round to even, as in Python. */
export function fixed(value: number, digits: number): string {
  const count = Math.min(100, digits);
  const text = value.toFixed(count);
  // Only a multiple of 2^-(digits + 1) can be a tie. toFixed rounds ties away from zero. Powers of ten are exact up to 10^22.
  const isHalf =
    count < 22 && Number.isInteger(value * 2 ** (count + 1)) && Math.abs((value * 10 ** count) % 1) === 0.5;
  return isHalf ? ((2 * Math.round((value * 10 ** count) / 2)) / 10 ** count).toFixed(count) : text;
}

/** Formats a number by a conversion letter of Python; undefined for letters that do not format numbers. */
function digitsOf(value: RuntimeValue, letter: string, precision: number | undefined): string | undefined {
  switch (letter) {
    case "d":
    case "i":
    case "u":
      return BigInt(Math.trunc(numberOf(value))).toString();
    case "f":
    case "F":
      return fixed(numberOf(value), precision ?? 6);
    case "e":
      return numberOf(value)
        .toExponential(Math.min(100, precision ?? 6))
        .replace(/e([+-])(\d)$/u, "e$10$2");
    case "x":
    case "X": {
      const hex = BigInt(Math.trunc(numberOf(value))).toString(16);
      return letter === "X" ? hex.toUpperCase() : hex;
    }
    case "o":
      return BigInt(Math.trunc(numberOf(value))).toString(8);
    case "b":
      return BigInt(Math.trunc(numberOf(value))).toString(2);
    case "%":
      return `${fixed(100 * numberOf(value), precision ?? 6)}%`;
    default:
      return undefined;
  }
}

function padded(text: string, width: number, { fill, align }: { fill: string; align: string }): string {
  const missing = width - charactersIn(text);
  if (missing <= 0) return text;
  if (align === "<") return text + fill.repeat(missing);
  if (align === "^") return fill.repeat(Math.floor(missing / 2)) + text + fill.repeat(Math.ceil(missing / 2));
  const sign = align === "=" && /^[+-]/u.test(text) ? text[0]! : "";
  return sign + fill.repeat(missing) + text.slice(sign.length);
}

/**
 * Number of parts that are joined at a time. A string that grows by concatenation would keep a node in memory for each
 * part.
 */
const MAX_PARTS = 4096;

/** Builds a text part by part, within the limits. */
class Joiner {
  private readonly growth: Growth;
  private readonly done: string[] = [];
  private parts: string[] = [];

  constructor(growth: Growth) {
    this.growth = growth;
  }

  add(part: string): void {
    this.growth.add(part.length);
    if (this.parts.push(part) < MAX_PARTS) return;
    this.done.push(this.parts.join(""));
    this.parts = [];
  }

  get text(): string {
    return this.done.join("") + this.parts.join("");
  }
}

/** Replaces all matches of a pattern. @throws LimitError */
function joined(text: string, pattern: RegExp, part: (match: RegExpExecArray) => string): string {
  return growing((growth) => {
    const out = new Joiner(growth);
    let at = 0;
    for (const match of text.matchAll(pattern)) {
      out.add(text.slice(at, match.index));
      out.add(part(match));
      at = match.index + match[0].length;
    }
    out.add(text.slice(at));
    return out.text;
  });
}

/** Returns the length in UTF-16 units of the character at an offset; 1 at the end. */
const sizeAt = (text: string, at: number) => ((text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);

/**
 * Python's str.replace: replaces the first `most` occurrences of `from`. An empty `from` occurs before and after each character. @throws
 * LimitError
 */
export function replaced(text: string, from: string, to: string, most = Number.POSITIVE_INFINITY): string {
  if (most <= 0 || !text.includes(from)) return text;
  return growing((growth) => {
    const out = new Joiner(growth);
    let at = 0;
    for (let count = 0; count < most; count++) {
      const next = from !== "" ? text.indexOf(from, at) : count === 0 ? 0 : at + sizeAt(text, at);
      if (next < 0 || next > text.length) break;
      out.add(text.slice(at, next));
      out.add(to);
      at = next + from.length;
    }
    out.add(text.slice(at));
    return out.text;
  });
}

/** Formats as `"%s of %(x)05.1f" % values` does. @throws Error for too few or too many values */
export function formatted(text: string, given: readonly RuntimeValue[], named: Named): string {
  let used = 0;
  const pattern = /%(?:\((\w+)\))?([-+ 0#]*)(\d*)(?:\.(\d*))?([a-zA-Z%])/gu;
  const out = joined(text, pattern, ([, name, flags = "", width, precision, letter = ""]) => {
    if (letter === "%") return "%";
    const value = name === undefined ? given[used++] : named.get(name);
    if (!value) throw new Error("format: not enough values for the format");
    const digits = precision === undefined ? undefined : whole(precision, 0);
    const number = digitsOf(value, letter, digits);
    let body = number ?? (letter === "r" ? pythonRepr(value) : pythonText(value));
    if (number === undefined && !"sr".includes(letter))
      throw new Error(`format: expected %s, %d or %f, got %${letter}`);
    if (number === undefined && digits !== undefined) body = body.slice(0, offsetOf(body, digits));
    if (number !== undefined && /[+ ]/u.test(flags) && !body.startsWith("-"))
      body = (flags.includes("+") ? "+" : " ") + body;
    const zeros = flags.includes("0") && number !== undefined && !flags.includes("-");
    const align = flags.includes("-") ? "<" : zeros ? "=" : ">";
    return padded(body, whole(width, 0), { fill: zeros ? "0" : " ", align });
  });
  if (used < given.length) throw new Error("format: too many values for the format");
  return out;
}

/**
 * Formats as `"{} {1:>5} {name:.2f}".format(…)` does. It does not support attributes of values, with which a template could leave the
 * sandbox.
 */
export function braced(text: string, given: readonly RuntimeValue[], named: Named): string {
  let next = 0;
  return joined(text, /\{\{|\}\}|\{(\w*)(?:!([rs]))?(?::([^{}]*))?\}|[{}]/gu, (match) => {
    const [all, name, conversion, spec = ""] = match;
    if (all === "{{" || all === "}}") return all[0]!;
    if (name === undefined) throw new Error("format: expected {name:format}, got an unmatched brace");
    const value = name === "" ? given[next++] : /^\d+$/u.test(name) ? given[Number(name)] : named.get(name);
    if (!value) throw new Error(`format: expected a value for {${name}}, got none`);
    const parts = /^(?:(.)?([<>^=]))?([+ -]?)(0?)(\d*)(,?)(?:\.(\d+))?([a-zA-Z%]?)$/su.exec(spec);
    if (!parts) throw new Error(`format: expected a format such as >5 or .2f, got ${spec.slice(0, 40)}`);
    const [, fill, align, sign, zero, width, comma, precision, letter = ""] = parts;
    const digits = precision === undefined ? undefined : whole(precision, 0);
    const isNumber = typeof value.value === "number" && conversion === undefined;
    let body = digitsOf(value, letter || (isNumber && digits !== undefined ? "f" : ""), digits);
    const isText = body === undefined && !isNumber;
    body ??= conversion === "r" ? pythonRepr(value) : pythonText(value);
    if (isText && digits !== undefined) body = body.slice(0, offsetOf(body, digits));
    if (comma) body = body.replace(/^([+-]?\d+)/u, (number) => number.replace(/\B(?=(?:\d{3})+$)/gu, ","));
    if (sign && sign !== "-" && !body.startsWith("-")) body = sign + body;
    const how = { fill: fill ?? (zero ? "0" : " "), align: align ?? (zero ? "=" : isText ? "<" : ">") };
    return padded(body, whole(width, 0), how);
  });
}
