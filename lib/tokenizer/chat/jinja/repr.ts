// Python's str and repr of template values, and string filters, which convert their input with str first.

import { isHighSurrogate, isLowSurrogate } from "../../../core/surrogates.ts";
import { type Growth, growing, pythonFloat, rewritten } from "../../chat-json.ts";
import { checkTaken } from "./limits.ts";

/** A value of the template's interpreter. */
export interface RuntimeValue {
  type: string;
  value: unknown;
  /** Whether the value is truthy. */
  __bool__(): { value: boolean };
  /** Whether an object's keys are integers, as in `{0: "a"}`. Its map has them as strings, because the package supports no other keys. */
  isNumbered?: boolean;
}

/** Characters that Python's repr escapes, except private-use characters: ChatGuard uses them as marks. */
const UNPRINTED = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escapeOf(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, "0");
  return SHORT[character] ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
}

function quoted(text: string, growth: Growth): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = rewritten(text, growth, (part) => {
    const inner = part.replaceAll("\\", "\\\\").replace(UNPRINTED, escapeOf);
    return quote === "'" ? inner.replaceAll("'", "\\'") : inner;
  });
  return quote + escaped + quote;
}

/** Returns Python's repr of a value: `{'name': 'f', 'strict': True, 'rest': [1, None]}`. @throws LimitError */
export function pythonRepr(value: RuntimeValue): string {
  return growing((growth) => repr(value, growth));
}

function repr(value: RuntimeValue, growth: Growth): string {
  const { type, value: inner } = value;
  growth.add(2);
  const items = () => (inner as RuntimeValue[]).map((item) => repr(item, growth));
  switch (type) {
    case "StringValue":
      return quoted(inner as string, growth);
    case "BooleanValue":
      return inner ? "True" : "False";
    case "NullValue":
      return "None";
    case "ArrayValue":
      return `[${items().join(", ")}]`;
    case "TupleValue":
      return `(${items().join(", ")}${(inner as unknown[]).length === 1 ? "," : ""})`;
    case "UndefinedValue":
      return "Undefined";
    case "NamespaceValue":
      return `<Namespace ${objectRepr(value, growth)}>`;
    case "ObjectValue":
      return objectRepr(value, growth);
    case "FloatValue":
      return pythonFloat(inner as number);
    default:
      return String(value); // whole numbers and functions, in the interpreter's form
  }
}

function objectRepr({ value, isNumbered }: RuntimeValue, growth: Growth): string {
  const entries = [...(value as ReadonlyMap<string, RuntimeValue>)];
  const keyOf = (key: string) => (isNumbered ? key : quoted(key, growth));
  return `{${entries.map(([key, entry]) => `${keyOf(key)}: ${repr(entry, growth)}`).join(", ")}}`;
}

/** Returns Python's str of a value. Templates print values with it. */
export function pythonText(value: RuntimeValue): string {
  if (value.type === "StringValue") return value.value as string;
  return value.type === "UndefinedValue" ? "" : pythonRepr(value);
}

/** Capitalizes the first character of a word and lowercases the rest. */
export const cased = (word: string) => {
  const first = word === "" ? "" : String.fromCodePoint(word.codePointAt(0)!);
  return first.toUpperCase() + word.slice(first.length).toLowerCase();
};

/** Python's str.islower: whether there are cased characters, and all of them are lower case. */
export const isLower = (text: string): boolean => /\p{Ll}/u.test(text) && !/[\p{Lu}\p{Lt}]/u.test(text);
/** Python's str.isupper. */
export const isUpper = (text: string): boolean => /\p{Lu}/u.test(text) && !/[\p{Ll}\p{Lt}]/u.test(text);

/** Python's str.title: capitalizes each run of letters. The filter `title` capitalizes words instead. */
export function titledLetters(text: string): string {
  checkTaken(text);
  return text.replace(/\p{L}+/gu, cased);
}

function titled(text: string): string {
  checkTaken(text);
  return text
    .split(/([-\s({[<]+)/u)
    .map(cased)
    .join("");
}

/** Jinja2 filters from string to string. They convert their input with str first. */
export const textFilters: ReadonlyMap<string, (text: string) => string> = new Map([
  ["string", (text) => text],
  ["trim", (text) => stripped(text, "strip")],
  ["upper", (text) => text.toUpperCase()],
  ["lower", (text) => text.toLowerCase()],
  ["capitalize", cased],
  ["title", titled],
]);

/** Returns the UTF-16 offset of a character, given its index; the text's length if it has fewer characters. */
export function offsetOf(text: string, character: number): number {
  let at = 0;
  for (let count = 0; count < character && at < text.length; count++)
    at += isHighSurrogate(text.charCodeAt(at)) && isLowSurrogate(text.charCodeAt(at + 1)) ? 2 : 1;
  return Math.min(at, text.length);
}

/** Returns the number of characters of a text up to a UTF-16 offset. */
export function charactersIn(text: string, end = text.length): number {
  let count = end;
  for (let at = 1; at < end; at++)
    if (isLowSurrogate(text.charCodeAt(at)) && isHighSurrogate(text.charCodeAt(at - 1))) count--;
  return count;
}

/** Returns a slice of a text in characters. As in Python, negative indices count from the end. */
export function charactersOf(text: string, start = 0, stop = Number.POSITIVE_INFINITY): string {
  const count = start < 0 || stop < 0 ? charactersIn(text) : 0;
  const place = (index: number) => (index < 0 ? Math.max(0, count + index) : index);
  const [from, to] = [offsetOf(text, place(start)), offsetOf(text, place(stop))];
  return text.slice(from, Math.max(from, to));
}

/** Python's white space. JavaScript's also has U+FEFF, and lacks U+001C to U+001F and U+0085. */
const SPACE: ReadonlySet<string> = new Set(
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
);

/** Whether the UTF-16 unit at an index is white space to Python. */
export const isSpace = (text: string, at: number): boolean => SPACE.has(text[at]!);

/** Python's str.strip, lstrip and rstrip. They remove white space unless `characters` are given. */
export function stripped(text: string, which: string, characters?: string): string {
  const known = characters === undefined ? SPACE : new Set(characters);
  let [from, to] = [0, text.length];
  while (which !== "rstrip" && from < to) {
    const first = String.fromCodePoint(text.codePointAt(from)!);
    if (!known.has(first)) break;
    from += first.length;
  }
  while (which !== "lstrip" && to > from) {
    const size =
      to - from > 1 && isLowSurrogate(text.charCodeAt(to - 1)) && isHighSurrogate(text.charCodeAt(to - 2)) ? 2 : 1;
    if (!known.has(text.slice(to - size, to))) break;
    to -= size;
  }
  return text.slice(from, to);
}
