// Truncation, by the rules of Hugging Face's tokenizers library.

import { checkObject, HeddleError, invalidArgument } from "../core/errors.ts";
import { isWhole, wholeRange } from "../core/is-whole.ts";
import { checkWhole } from "../core/option-values.ts";
import type { JsonObject } from "../io/json.ts";
import { invalidFile } from "./files/tokenizer-file.ts";

/** Truncation of inputs that are too long. */
export interface Truncation {
  /** Maximum number of ids, including special tokens around the texts. */
  maxLength: number;
  /** The side at which texts are cut. Default "right". */
  side?: "right" | "left" | undefined;
  /**
   * Which text of a pair is cut. "longestFirst" cuts the longer text down to the length of the shorter one, then both, each to about half
   * of the available length. "onlyFirst" and "onlySecond" cut that text alone. Default "longestFirst".
   */
  strategy?: "longestFirst" | "onlyFirst" | "onlySecond" | undefined;
  /** Number of ids by which consecutive parts in `overflowing` overlap. Default 0. */
  stride?: number | undefined;
}

/** The sides of texts, by their names in tokenizer.json. */
export const sides = { Right: "right", Left: "left" } as const;
const strategies = { LongestFirst: "longestFirst", OnlyFirst: "onlyFirst", OnlySecond: "onlySecond" } as const;

/** Checks truncation, and returns it. @throws HeddleError INVALID_ARGUMENT */
export function checkTruncation(value: Truncation, name = "truncation"): Truncation {
  checkObject(name, value);
  const { maxLength, side, strategy, stride = 0 } = value;
  checkWhole(`${name}.maxLength`, maxLength, 0);
  checkWhole(`${name}.stride`, stride, 0);
  oneOf(`${name}.side`, side, Object.values(sides));
  oneOf(`${name}.strategy`, strategy, Object.values(strategies));
  return value;
}

/** Checks that an option has one of these values, or none. @throws HeddleError INVALID_ARGUMENT */
export function oneOf(name: string, value: unknown, values: readonly string[]): void {
  if (value === undefined || values.includes(value as string)) return;
  throw invalidArgument(name, `one of ${values.join(", ")}`, value);
}

/** Reads the `truncation` of a tokenizer.json; undefined if it has none. @throws HeddleError INVALID_FILE */
export function readTruncation(json: JsonObject | null): Truncation | undefined {
  if (json === null) return undefined;
  return {
    maxLength: wholeField(json, "truncation", "max_length"),
    side: choiceField(json, "truncation", "direction", sides, "Right"),
    strategy: choiceField(json, "truncation", "strategy", strategies, "LongestFirst"),
    stride: wholeField(json, "truncation", "stride", 0),
  };
}

/** Returns the `truncation` of a tokenizer.json; null for no truncation. */
export function truncationToJson(truncation: Truncation | undefined): JsonObject | null {
  if (!truncation) return null;
  const { maxLength, side = "right", strategy = "longestFirst", stride = 0 } = truncation;
  return {
    direction: keyOf(sides, side),
    max_length: maxLength,
    strategy: keyOf(strategies, strategy),
    stride,
  };
}

/** Returns a field that is a whole number from 0. @throws HeddleError INVALID_FILE */
export function wholeField(json: JsonObject, where: string, name: string, fallback?: number): number {
  const value = json[name] ?? fallback;
  if (!isWhole(value)) {
    throw invalidFile(`${where}.${name}`, wholeRange(0), value);
  }
  return value as number;
}

/** Returns the value of `table` for the key in a field. @throws HeddleError INVALID_FILE */
export function choiceField<K extends string, V>(
  json: JsonObject,
  where: string,
  name: string,
  table: Record<K, V>,
  fallback: K,
): V {
  const value = json[name] ?? fallback;
  if (typeof value !== "string" || !Object.hasOwn(table, value)) {
    throw invalidFile(`${where}.${name}`, `one of ${Object.keys(table).join(", ")}`, value);
  }
  return table[value as K];
}

/** Returns the key of a value that is in the table. */
export function keyOf(table: Record<string, string>, value: string): string {
  return Object.keys(table).find((key) => table[key] === value)!;
}

/** A text's ids, split into parts. The first part is kept, and the others go to `overflowing`. */
interface Split {
  kept: Uint32Array;
  /** Makes all parts, which may be many. */
  parts(): Uint32Array[];
}

const uncut = (ids: Uint32Array): Split => ({ kept: ids, parts: () => [ids] });

function cut(ids: Uint32Array, length: number, side: string, stride: number): Split {
  if (ids.length <= length) return uncut(ids);
  const kept = side === "right" ? ids.subarray(0, length) : ids.subarray(ids.length - length);
  // Nothing is kept: the whole text overflows, as in Hugging Face's library.
  if (length === 0) return { kept, parts: () => [kept, ids] };
  if (stride >= length) {
    throw invalidArgument("truncation.stride", `less than ${length}, the number of ids kept of a text`, stride);
  }
  return { kept, parts: () => partsOf(ids, length, side, length - stride) };
}

function partsOf(ids: Uint32Array, length: number, side: string, step: number): Uint32Array[] {
  const parts: Uint32Array[] = [];
  if (side === "right") {
    for (let begin = 0; ; begin += step) {
      parts.push(ids.subarray(begin, begin + length));
      if (begin + length >= ids.length) return parts;
    }
  }
  for (let end = ids.length; ; end -= step) {
    parts.push(ids.subarray(Math.max(0, end - length), end));
    if (end <= length) return parts;
  }
}

/** The kept and the overflowing ids of one text or a pair. */
interface Cut {
  kept: readonly Uint32Array[];
  /** Computes the overflowing inputs. If both texts are cut, their number is the product of the texts' parts. */
  overflowing(): Uint32Array[][];
}

/**
 * Cuts one text, or two that share `room` ids.
 * @throws HeddleError INVALID_ARGUMENT if the text to be cut is too short or missing
 */
export function truncate(texts: readonly Uint32Array[], truncation: Truncation, room: number): Cut {
  const { side = "right", strategy = "longestFirst", stride = 0 } = truncation;
  const total = texts.reduce((sum, ids) => sum + ids.length, 0);
  if (total <= room) return { kept: texts, overflowing: () => [] };
  const [first, second] = texts;
  if (strategy === "longestFirst") {
    if (!second) return combined([cut(first!, room, side, stride)]);
    const [n1, n2] = shares(first!.length, second.length, room);
    return combined([cut(first!, n1, side, stride), cut(second, n2, side, stride)]);
  }
  const index = strategy === "onlyFirst" ? 0 : 1;
  const target = texts[index];
  if (!target) throw invalidArgument("truncation.strategy", "two texts for onlySecond", texts.length);
  const left = target.length - (total - room);
  if (left <= 0) {
    const message = `truncation: expected the ${index === 0 ? "first" : "second"} text to be longer than the ${total - room} ids to cut, got ${target.length}`;
    throw new HeddleError("INVALID_ARGUMENT", message);
  }
  return combined(texts.map((ids, i) => (i === index ? cut(target, left, side, stride) : uncut(ids))));
}

/**
 * Combines the parts of each text as Hugging Face's library does: the later parts of the first text come first, each with all parts of
 * the second; then the first part of the first text with the later ones of the second.
 */
function combined([first, second]: readonly Split[]): Cut {
  const { kept, parts } = first!;
  const later = () => parts().slice(1);
  if (!second) return { kept: [kept], overflowing: () => later().map((part) => [part]) };
  const overflowing = () => {
    const others = second.parts();
    return [
      ...later().flatMap((part) => others.map((other) => [part, other])),
      ...others.slice(1).map((other) => [kept, other]),
    ];
  };
  return { kept: [kept, second.kept], overflowing };
}

/** Returns how many ids of each of two texts are kept, by the rule of `truncate_encodings` in Hugging Face's library. */
function shares(first: number, second: number, room: number): [number, number] {
  const short = Math.min(first, second);
  let [n1, n2] = [short, short > room ? short : Math.max(short, room - short)];
  if (n1 + n2 > room) {
    n1 = Math.floor(room / 2);
    n2 = n1 + (room % 2);
  }
  return first > second ? [n2, n1] : [n1, n2];
}
