// Methods of Python's str and list that the interpreter package lacks, or implements without their arguments.
import type { Values } from "./filter-arguments.ts";
import { areEqual, centered, checkedWidth, replaceArguments } from "./filters.ts";
import { checkElements, checkTaken, renderLimits } from "./limits.ts";
import { braced, replaced } from "./printf.ts";
import {
  cased,
  charactersIn,
  isLower,
  isSpace,
  isUpper,
  offsetOf,
  type RuntimeValue,
  stripped,
  titledLetters,
} from "./repr.ts";

type Made = Values & { named: ReadonlyMap<string, RuntimeValue> };
/** A method. It returns undefined to leave the call to the package. */
type Method = (self: RuntimeValue, args: readonly RuntimeValue[], make: Made) => RuntimeValue | undefined;

function textArgument(args: readonly RuntimeValue[], at: number, otherwise?: string): string {
  const value = args[at]?.value ?? otherwise;
  if (typeof value !== "string") throw new Error(`expected a text, got ${args[at]?.type ?? "nothing"}`);
  return value;
}

function checked(parts: readonly string[], make: Made): RuntimeValue {
  checkElements(parts.length);
  return make.array(parts.map(make.text));
}

/** Splits a text like str.split, at white space if `separator` is undefined. @throws LimitError */
function splitFromLeft(text: string, separator: string | undefined, most: number): string[] {
  const parts: string[] = [];
  const add = (part: string) => checkElements(parts.push(part));
  if (separator === undefined) {
    for (let at = 0; ; ) {
      while (at < text.length && isSpace(text, at)) at++;
      if (at === text.length) return parts;
      const begin = at;
      if (parts.length >= most) at = text.length;
      while (at < text.length && !isSpace(text, at)) at++;
      add(text.slice(begin, at));
    }
  }
  if (separator === "") throw new Error("empty separator");
  let at = 0;
  for (let next = text.indexOf(separator); next >= 0 && parts.length < most; next = text.indexOf(separator, at)) {
    add(text.slice(at, next));
    at = next + separator.length;
  }
  add(text.slice(at));
  return parts;
}

/** Parses the arguments of `split(sep, maxsplit)`. */
function splitArguments(args: readonly RuntimeValue[], named: Made["named"]) {
  const [given, most] = [args[0] ?? named.get("sep"), args[1] ?? named.get("maxsplit")];
  const isAny = given === undefined || given.type === "NullValue" || given.type === "UndefinedValue";
  if (!isAny && typeof given.value !== "string") throw new Error("sep argument must be a string or null");
  if (most !== undefined && typeof most.value !== "number") throw new Error("maxsplit argument must be a number");
  const count = most === undefined || (most.value as number) < 0 ? Number.POSITIVE_INFINITY : (most.value as number);
  return { separator: isAny ? undefined : (given.value as string), most: count };
}

/** Makes a method that tests a whole text. The pattern must be anchored at both ends, and reject an empty text, as Python does. */
const matches =
  (pattern: RegExp): Method =>
  (self, _, make) =>
    make.boolean(pattern.test(make.plain(self.value as string)));

const strips =
  (which: string): Method =>
  (self, args, make) => {
    const characters = args[0]?.type === "NullValue" ? undefined : args[0]?.value;
    if (args.length > 1 || (characters !== undefined && typeof characters !== "string")) return undefined;
    return make.text(stripped(self.value as string, which, characters));
  };

/** Computes the padding of a text to a width in characters. */
function filled(make: Made, self: RuntimeValue, args: readonly RuntimeValue[], fill: string) {
  const width = args[0]?.value;
  if (typeof width !== "number") throw new Error(`expected a width, got ${args[0]?.type ?? "nothing"}`);
  const text = self.value as string;
  const length = make.characters(text).length;
  return { text, length, width, blanks: fill.repeat(Math.max(0, checkedWidth(width) - length)) };
}

/**
 * Converts the arguments `start` and `end` of a search, which count characters as slices do, to UTF-16 offsets. Returns undefined if `start`
 * is after `end` or after the text. Nothing is then found, not even an empty text.
 */
function searchRange(text: string, args: readonly RuntimeValue[]): [from: number, to: number] | undefined {
  const [start, end] = [args[1], args[2]].map((given) => {
    if (given === undefined || given.type === "NullValue") return undefined;
    if (!Number.isInteger(Number(given.value)) || !["number", "boolean"].includes(typeof given.value))
      throw new Error(`expected whole numbers as start and end, got ${given.type}`);
    return Number(given.value);
  });
  if (start === undefined && end === undefined) return [0, text.length];
  const count = charactersIn(text);
  const place = (index: number) => (index < 0 ? Math.max(0, count + index) : index);
  const [first, last] = [place(start ?? 0), Math.min(count, place(end ?? count))];
  return first > last ? undefined : [offsetOf(text, first), offsetOf(text, last)];
}

/** Makes a method that returns a substring's index in characters. A missing substring gives −1, or with `isNeeded` an error. */
const found =
  (last: boolean, isNeeded = false): Method =>
  (self, args, make) => {
    const text = make.plain(self.value as string);
    const part = make.plain(textArgument(args, 0));
    const range = searchRange(text, args);
    let at = -1;
    if (range) {
      const [from, to] = range;
      const within = text.slice(from, to);
      const inside = last ? within.lastIndexOf(part) : within.indexOf(part);
      if (inside >= 0) at = from + inside;
    }
    if (at < 0 && isNeeded) throw new Error("index: substring not found");
    return make.integer(at < 0 ? -1 : charactersIn(text, at));
  };

/** Makes the method startswith or endswith. */
const affixTest =
  (test: (text: string, part: string) => boolean): Method =>
  (self, args, make) => {
    const text = make.plain(self.value as string);
    const parts = Array.isArray(args[0]?.value) ? (args[0].value as RuntimeValue[]) : args.slice(0, 1);
    const texts = parts.map((_, i) => make.plain(textArgument(parts, i)));
    if (!args[0]) throw new Error("expected a text, got nothing");
    const range = searchRange(text, args);
    const within = range && text.slice(...range);
    return make.boolean(within !== undefined && texts.some((part) => test(within, part)));
  };

/** Makes the method partition, or with `last` rpartition. */
const parted =
  (last: boolean): Method =>
  (self, args, make) => {
    const text = self.value as string;
    const separator = textArgument(args, 0);
    if (separator === "") throw new Error("partition: expected a separator, got an empty text");
    const at = last ? text.lastIndexOf(separator) : text.indexOf(separator);
    const parts =
      at < 0
        ? last
          ? ["", "", text]
          : [text, "", ""]
        : [text.slice(0, at), separator, text.slice(at + separator.length)];
    return make.tuple(parts.map(make.text));
  };

/** Splits a text at white space like str.rsplit without a separator. @throws LimitError */
function wordsFromRight(text: string, most: number): string[] {
  const parts: string[] = [];
  for (let at = text.length; ; ) {
    while (at > 0 && isSpace(text, at - 1)) at--;
    if (at === 0) return parts.reverse();
    const end = at;
    if (parts.length >= most) at = 0;
    while (at > 0 && !isSpace(text, at - 1)) at--;
    checkElements(parts.push(text.slice(at, end)));
  }
}

function splitFromRight(text: string, separator: string, most: number): string[] {
  if (separator === "") throw new Error("empty separator");
  const parts: string[] = [];
  let end = text.length;
  while (parts.length < most && end >= separator.length) {
    const at = text.lastIndexOf(separator, end - separator.length);
    if (at < 0) break;
    parts.push(text.slice(at + separator.length, end));
    end = at;
  }
  return [...parts, text.slice(0, end)].reverse();
}

/** Pattern of the ends of lines in Python. */
const LINE_END = String.raw`\r\n|[\n-\r\x1c-\x1e\x85\u2028\u2029]`;

/** The methods of strings by name. */
export const textMethods: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["strip", strips("strip")],
  ["lstrip", strips("lstrip")],
  ["rstrip", strips("rstrip")],
  ["isdigit", matches(/^\p{Nd}+$/u)],
  ["isdecimal", matches(/^\p{Nd}+$/u)],
  ["isnumeric", matches(/^\p{N}+$/u)],
  ["isalpha", matches(/^\p{L}+$/u)],
  ["isalnum", matches(/^[\p{L}\p{N}]+$/u)],
  [
    "isspace",
    (self, _, make) => {
      const text = make.plain(self.value as string);
      return make.boolean(text !== "" && stripped(text, "strip") === "");
    },
  ],
  ["islower", (self, _, make) => make.boolean(isLower(make.plain(self.value as string)))],
  ["isupper", (self, _, make) => make.boolean(isUpper(make.plain(self.value as string)))],
  ["capitalize", (self, _, make) => make.text(cased(self.value as string))],
  ["title", (self, _, make) => make.text(titledLetters(self.value as string))],
  ["casefold", (self, _, make) => make.text((self.value as string).toLowerCase())],
  [
    "swapcase",
    (self, _, make) => {
      checkTaken(self.value as string);
      return make.text(
        (self.value as string).replace(/\p{L}/gu, (c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())),
      );
    },
  ],
  [
    "join",
    (self, args, make) => {
      if (!args[0]) throw new Error("join: expected a list, got nothing");
      const items = make.items(args[0]);
      const wrong = items.find((item) => typeof item.value !== "string");
      if (wrong) throw new Error(`join: expected texts, got ${wrong.type}`);
      const [separator, texts] = [self.value as string, items.map((item) => item.value as string)];
      checkedWidth(texts.reduce((sum, text) => sum + text.length + separator.length, 0));
      return make.text(texts.join(separator));
    },
  ],
  [
    "count",
    (self, args, make) => {
      const [whole, part] = [make.plain(self.value as string), make.plain(textArgument(args, 0))];
      const range = searchRange(whole, args);
      if (!range) return make.integer(0);
      const text = whole.slice(...range);
      if (part === "") return make.integer(charactersIn(text) + 1);
      let count = 0;
      for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
      return make.integer(count);
    },
  ],
  ["startswith", affixTest((text, part) => text.startsWith(part))],
  ["endswith", affixTest((text, part) => text.endsWith(part))],
  ["find", found(false)],
  ["rfind", found(true)],
  ["index", found(false, true)],
  ["rindex", found(true, true)],
  ["partition", parted(false)],
  ["rpartition", parted(true)],
  [
    "split",
    (self, args, make) => {
      const { separator, most } = splitArguments(args, make.named);
      return checked(splitFromLeft(self.value as string, separator, most), make);
    },
  ],
  [
    "replace",
    (self, args, make) => {
      const { from, to, most } = replaceArguments(args, make.named);
      const text = self.value as string;
      const made = replaced(text, from, to, most);
      return made === text ? self : make.text(made);
    },
  ],
  [
    "splitlines",
    (self, args, make) => {
      checkTaken(self.value as string);
      const keeps = (args[0] ?? make.named.get("keepends"))?.__bool__().value === true;
      // To keep the ends, split after each one, but not between \r and \n.
      const end = keeps ? `(?<=${LINE_END})(?<!\\r(?=\\n))` : LINE_END;
      const lines = (self.value as string).split(new RegExp(end, "u"));
      if (lines.at(-1) === "") lines.pop();
      return checked(lines, make);
    },
  ],
  [
    "rsplit",
    (self, args, make) => {
      const { separator, most } = splitArguments(args, make.named);
      const text = self.value as string;
      if (separator === undefined) return checked(wordsFromRight(text, most), make);
      return checked(splitFromRight(text, separator, Math.min(most, renderLimits.elements)), make);
    },
  ],
  [
    "removeprefix",
    (self, args, make) => {
      const [text, part] = [self.value as string, textArgument(args, 0)];
      return make.text(text.startsWith(part) ? text.slice(part.length) : text);
    },
  ],
  [
    "removesuffix",
    (self, args, make) => {
      const [text, part] = [self.value as string, textArgument(args, 0)];
      return make.text(part !== "" && text.endsWith(part) ? text.slice(0, -part.length) : text);
    },
  ],
  [
    "ljust",
    (self, args, make) => {
      const { text, blanks } = filled(make, self, args, textArgument(args, 1, " "));
      return make.text(text + blanks);
    },
  ],
  [
    "rjust",
    (self, args, make) => {
      const { text, blanks } = filled(make, self, args, textArgument(args, 1, " "));
      return make.text(blanks + text);
    },
  ],
  [
    "center",
    (self, args, make) => {
      const { text, length, width } = filled(make, self, args, "");
      return make.text(centered(text, length, width, textArgument(args, 1, " ")));
    },
  ],
  [
    "zfill",
    (self, args, make) => {
      const { text, blanks } = filled(make, self, args, "0");
      const sign = /^[+-]/u.exec(text)?.[0] ?? "";
      return make.text(sign + blanks + text.slice(sign.length));
    },
  ],
  ["format", (self, args, make) => make.text(braced(self.value as string, args, make.named))],
]);

/** The methods of lists by name. */
export const listMethods: ReadonlyMap<string, Method> = new Map<string, Method>([
  [
    "index",
    (self, args, make) => {
      const items = self.value as RuntimeValue[];
      const place = (given: RuntimeValue | undefined, otherwise: number) => {
        const index = given === undefined ? otherwise : Number(given.value);
        return index < 0 ? Math.max(0, items.length + index) : index;
      };
      const [from, to] = [place(args[1], 0), place(args[2], items.length)];
      const at = items.findIndex((item, i) => i >= from && i < to && args[0] && areEqual(item, args[0]));
      if (at < 0) throw new Error("index: item not found");
      return make.integer(at);
    },
  ],
  [
    "count",
    (self, args, make) =>
      make.integer((self.value as RuntimeValue[]).filter((item) => args[0] && areEqual(item, args[0])).length),
  ],
]);
