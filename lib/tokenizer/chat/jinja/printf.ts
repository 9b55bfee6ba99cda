// Python's two kinds of string formatting, "%5.2f" % x and "{:>5}".format(x), as far as templates use them.
import { isWhole } from "../../../core/is-whole.ts";
import { type Growth, growing } from "../../chat-json.ts";
import { LimitError } from "./limits.ts";
import { exponential, fixed, general } from "./number-format.ts";
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

/** How a conversion formats a number. */
interface NumberForm {
  precision?: number | undefined;
  /** The flag `#`: a prefix such as 0x, and zeros at the end of `%g`. */
  isAlternate?: boolean;
}

const BASES: Readonly<Record<string, number>> = { x: 16, o: 8, b: 2 };

/** Formats a number by a conversion letter of Python; undefined for letters that do not format numbers. */
function digitsOf(
  value: RuntimeValue,
  letter: string,
  { precision, isAlternate = false }: NumberForm,
): string | undefined {
  const isUpper = /[A-Z]/u.test(letter);
  const small = letter.toLowerCase();
  let text: string;
  switch (small) {
    case "d":
    case "i":
    case "u":
    case "x":
    case "o":
    case "b": {
      const whole = BigInt(Math.trunc(numberOf(value)));
      const digits = (whole < 0n ? -whole : whole).toString(BASES[small] ?? 10).padStart(precision ?? 0, "0");
      text = (whole < 0n ? "-" : "") + (isAlternate && small in BASES ? `0${small}` : "") + digits;
      break;
    }
    case "f":
      text = fixed(numberOf(value), precision ?? 6) + (isAlternate && precision === 0 ? "." : "");
      break;
    case "e":
      text = exponential(numberOf(value), precision ?? 6);
      break;
    case "g":
      text = general(numberOf(value), precision ?? 6, isAlternate);
      break;
    case "%":
      text = `${fixed(100 * numberOf(value), precision ?? 6)}%`;
      break;
    default:
      return undefined;
  }
  return isUpper ? text.toUpperCase() : text;
}

/** Returns the character of `%c`: a text of one character, or a code point. */
function characterOf(value: RuntimeValue): string {
  const given = value.value;
  if (typeof given === "string" && charactersIn(given) === 1) return given;
  if (isWhole(given, 0, 0x10ffff)) return String.fromCodePoint(given);
  throw new Error(`format: expected a character or its code for %c, got ${value.type}`);
}

function padded(text: string, width: number, { fill, align }: { fill: string; align: string }): string {
  const missing = width - charactersIn(text);
  if (missing <= 0) return text;
  if (align === "<") return text + fill.repeat(missing);
  if (align === "^") return fill.repeat(Math.floor(missing / 2)) + text + fill.repeat(Math.ceil(missing / 2));
  const sign = align === "=" ? /^[-+ ]?(?:0[xXoObB])?/u.exec(text)![0] : "";
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

/** Formats as `"%s of %(x)05.1f" % right` does. @throws Error for too few or too many values */
export function formatted(text: string, right: RuntimeValue): string {
  const given = right.type === "TupleValue" ? (right.value as RuntimeValue[]) : [right];
  const named: Named = right.type === "ObjectValue" ? (right.value as Named) : new Map();
  let used = 0;
  const pattern = /%(?:\((\w+)\))?([-+ 0#]*)(\d*)(?:\.(\d*))?([a-zA-Z%])/gu;
  const out = joined(text, pattern, ([, name, flags = "", width, precision, letter = ""]) => {
    if (letter === "%") return "%";
    // In Python, no unnamed conversion may follow a named one.
    if (name !== undefined) used = given.length;
    const value = name === undefined ? given[used++] : named.get(name);
    if (!value) throw new Error("format: not enough values for the format");
    const digits = precision === undefined ? undefined : whole(precision, 0);
    const number = /[bBDIU]/u.test(letter)
      ? undefined
      : digitsOf(value, letter, { precision: digits, isAlternate: flags.includes("#") });
    if (number === undefined && !"src".includes(letter))
      throw new Error(`format: expected %s, %d or %f, got %${letter}`);
    let body = number ?? (letter === "c" ? characterOf(value) : letter === "r" ? pythonRepr(value) : pythonText(value));
    if (number === undefined && digits !== undefined) body = body.slice(0, offsetOf(body, digits));
    if (number !== undefined && /[+ ]/u.test(flags) && !body.startsWith("-"))
      body = (flags.includes("+") ? "+" : " ") + body;
    const zeros = flags.includes("0") && number !== undefined && !flags.includes("-");
    const align = flags.includes("-") ? "<" : zeros ? "=" : ">";
    return padded(body, whole(width, 0), { fill: zeros ? "0" : " ", align });
  });
  // As in Python, dicts and lists need not be used.
  if (used < given.length && right.type !== "ObjectValue" && right.type !== "ArrayValue")
    throw new Error("format: too many values for the format");
  return out;
}

/** Formats a number for `{:…}`; undefined for other values, and for a number without letter and precision. */
function bracedNumber(
  value: RuntimeValue,
  letter: string,
  form: NumberForm,
  conversion: string | undefined,
): string | undefined {
  const isWhole = value.type === "IntegerValue";
  if (conversion !== undefined || !(isWhole || value.type === "FloatValue" || value.type === "BooleanValue")) {
    if (letter !== "" && letter !== "s") throw new Error(`format: expected a number for ${letter}, got ${value.type}`);
    return undefined;
  }
  if (/^[iuBDIUO]$/u.test(letter)) throw new Error(`format: expected a letter such as d or f, got ${letter}`);
  const isForWholes = /^[dxXobc]$/u.test(letter) || (/^n?$/u.test(letter) && isWhole);
  if (isForWholes && form.precision !== undefined)
    throw new Error("format: expected no precision for a whole number, got one");
  if (isForWholes && value.type === "FloatValue")
    throw new Error(`format: expected a whole number for ${letter}, got a float`);
  if (letter === "c") return characterOf(value);
  if (letter === "n") return digitsOf(value, isWhole ? "d" : "g", form);
  if (letter !== "") return digitsOf(value, letter, form);
  if (value.type !== "FloatValue" || form.precision === undefined) return undefined;
  return general(Number(value.value), form.precision, form.isAlternate, true);
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
    const parts = /^(?:(.)?([<>^=]))?([+ -]?)(#?)(0?)(\d*)([,_]?)(?:\.(\d+))?([a-zA-Z%]?)$/su.exec(spec);
    if (!parts) throw new Error(`format: expected a format such as >5 or .2f, got ${spec.slice(0, 40)}`);
    const [, fill, align, sign, alternate, zero, width, comma, precision, letter = ""] = parts;
    const digits = precision === undefined ? undefined : whole(precision, 0);
    const isNumber = typeof value.value === "number" && conversion === undefined;
    const form = { precision: digits, isAlternate: alternate !== "" };
    let body = bracedNumber(value, letter, form, conversion);
    const isText = body === undefined && !isNumber;
    if (body === undefined && letter !== "" && !(letter === "s" && isText))
      throw new Error(`format: expected a format of ${value.type}, got ${letter}`);
    body ??= conversion === "r" ? pythonRepr(value) : pythonText(value);
    if (isText && digits !== undefined) body = body.slice(0, offsetOf(body, digits));
    if (comma) body = body.replace(/^([+-]?\d+)/u, (number) => number.replace(/\B(?=(?:\d{3})+$)/gu, comma));
    if (sign && sign !== "-" && !body.startsWith("-")) body = sign + body;
    const how = { fill: fill ?? (zero ? "0" : " "), align: align ?? (zero ? "=" : isText ? "<" : ">") };
    return padded(body, whole(width, 0), how);
  });
}
