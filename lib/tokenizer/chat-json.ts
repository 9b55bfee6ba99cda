// Converts template values to JSON and to Python's string form. Counts the output while it is written, because it can
// grow exponentially: a value may contain another value twice, at each level of nesting.

import { isHighSurrogate } from "../core/surrogates.ts";
import { checkTaken, giveBack, LimitError, renderLimits, sizes, spend } from "./chat/jinja/limits.ts";
import type { RuntimeValue } from "./chat/jinja/repr.ts";

/** Number of UTF-16 units that are converted at a time. */
const CHUNK = 1 << 16;

/** Counts the output of one conversion against the limits. */
export class Growth {
  private units = 0;

  /** Counts UTF-16 units of output. @throws LimitError */
  add(units: number): void {
    this.units += units;
    if (this.units > renderLimits.characters)
      throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
    spend(sizes.unit * units);
  }

  /** Ends the conversion and returns its bytes to the budget. A caller that keeps the text must count it. */
  end(): void {
    giveBack(sizes.unit * this.units);
  }
}

/** Runs a conversion with a counter of its output. */
export function growing<T>(write: (growth: Growth) => T): T {
  const growth = new Growth();
  try {
    return write(growth);
  } finally {
    growth.end();
  }
}

/** Applies `rewrite` to a text in chunks. `rewrite` must convert each character independently of the others. */
export function rewritten(text: string, growth: Growth, rewrite: (part: string) => string): string {
  const parts: string[] = [];
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + CHUNK);
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end--;
    const part = rewrite(text.slice(at, end));
    growth.add(part.length);
    parts.push(part);
    at = end;
  }
  return parts.length === 1 ? parts[0]! : parts.join("");
}

/** Returns Python's repr of a float. Below 1e-4 and from 1e16 on it has an exponent of at least two digits, otherwise a decimal point. */
export function pythonFloat(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return value.toExponential().replace(/e([+-])(\d)$/u, "e$10$2");
  const sign = Object.is(value, -0) ? "-" : "";
  return Number.isInteger(value) ? `${sign}${value}.0` : String(value);
}

/** Formatting options of JSON. */
interface JsonForm {
  /** The indentation of a level, or its width. Without it, everything is on one line. */
  indent?: number | string | null;
  ensureAscii?: boolean;
  separators?: readonly [string, string] | null;
  sortKeys?: boolean;
  /** JSON text for undefined values. Default "null". */
  undefined?: string;
}

/** Parses the argument `separators` of json.dumps, a tuple such as `(",", ":")`. */
export function separatorsOf(given: RuntimeValue | undefined): [string, string] | null {
  if (given === undefined) return null;
  const [item, key, ...more] = Array.isArray(given.value) ? (given.value as RuntimeValue[]) : [];
  if (typeof item?.value !== "string" || typeof key?.value !== "string" || more.length > 0)
    throw new Error("separators must be a tuple of two strings");
  return [item.value, key.value];
}

/** Converts a value to JSON. @throws LimitError; Error for values that JSON cannot represent */
export function jsonOf(value: RuntimeValue, form: JsonForm = {}): string {
  return growing((growth) => written(value, { form, growth, depth: 0 }));
}

/** Compares strings by code points, as Python does. */
export function comparedTexts(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)]; // NaN at the end of a string
  if (Number.isNaN(x) || Number.isNaN(y)) return Math.sign(a.length - b.length);
  const isSurrogate = (unit: number) => unit >= 0xd800 && unit < 0xe000;
  if (isSurrogate(x) !== isSurrogate(y)) return isSurrogate(x) ? 1 : -1;
  return Math.sign(x - y);
}

interface Writing {
  form: JsonForm;
  growth: Growth;
  depth: number;
}

const stringified = (part: string) => JSON.stringify(part).slice(1, -1);
const asciiOf = (part: string) =>
  stringified(part).replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

function jsonText(text: string, { form, growth }: Writing): string {
  if (form.ensureAscii) checkTaken(text);
  return `"${rewritten(text, growth, form.ensureAscii ? asciiOf : stringified)}"`;
}

function written(value: RuntimeValue, writing: Writing): string {
  const { form, growth, depth } = writing;
  switch (value.type) {
    case "NullValue":
      return "null";
    case "UndefinedValue":
      return form.undefined ?? "null";
    case "FloatValue":
      return Number.isFinite(value.value) ? pythonFloat(value.value as number) : JSON.stringify(value.value);
    case "IntegerValue":
    case "BooleanValue":
      return JSON.stringify(value.value);
    case "StringValue":
      return jsonText(value.value as string, writing);
    case "ArrayValue":
    case "TupleValue":
    case "NamespaceValue":
    case "ObjectValue":
      break;
    default:
      throw new Error(`Cannot convert to JSON: ${value.type}`);
  }
  // As in Python, an indent of 0 or less breaks lines without indenting them.
  const isBroken = form.indent != null;
  const [itemSeparator, keySeparator] = form.separators ?? (isBroken ? [",", ": "] : [", ", ": "]);
  const step = typeof form.indent === "string" ? form.indent : " ".repeat(Math.max(0, form.indent ?? 0));
  growth.add(step.length * (depth + 1));
  const outer = isBroken ? `\n${step.repeat(depth)}` : "";
  const inner = isBroken ? outer + step : "";
  const inside = { form, growth, depth: depth + 1 };
  const each = itemSeparator.length + inner.length + 1;
  const isArray = Array.isArray(value.value);
  let items: string[];
  if (isArray) {
    items = (value.value as RuntimeValue[]).map((item) => {
      growth.add(each);
      return written(item, inside);
    });
  } else {
    const entries = [...(value.value as Map<string, RuntimeValue>)];
    if (form.sortKeys) entries.sort(([a], [b]) => (value.isNumbered ? Number(a) - Number(b) : comparedTexts(a, b)));
    items = entries.map(([key, item]) => {
      growth.add(each + keySeparator.length);
      return jsonText(key, writing) + keySeparator + written(item, inside);
    });
  }
  const [open, close] = isArray ? "[]" : "{}";
  if (items.length === 0) return `${open}${close}`;
  return `${open}${inner}${items.join(itemSeparator + inner)}${outer}${close}`;
}
