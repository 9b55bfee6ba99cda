// Cutting what is too long, by the rules of Hugging Face's tokenizers library.
import { HeddleError, invalidArgument } from "../errors.ts";
import { invalidFile, type JsonObject } from "./tokenizer-file.ts";

/** How inputs that are too long are cut. */
export interface Truncation {
  /** Ids at most, those around the texts included. */
  maxLength: number;
  /** Which end is cut. Default "right". */
  side?: "right" | "left" | undefined;
  /** Of two texts: the longer one first (both to about half where both are long), or one alone. Default "longestFirst". */
  strategy?: "longestFirst" | "onlyFirst" | "onlySecond" | undefined;
  /** Ids that a part has in common with the one before it, in `overflowing`. Default 0. */
  stride?: number | undefined;
}

const sides = { Right: "right", Left: "left" } as const;
const strategies = { LongestFirst: "longestFirst", OnlyFirst: "onlyFirst", OnlySecond: "onlySecond" } as const;

export function checkTruncation(value: Truncation, name = "truncation"): Truncation {
  if (typeof value !== "object" || value === null) throw invalidArgument(name, "an object", value);
  const { maxLength, side, strategy, stride = 0 } = value;
  if (!Number.isSafeInteger(maxLength) || maxLength < 0) {
    throw invalidArgument(`${name}.maxLength`, "a whole number from 0", maxLength);
  }
  if (!Number.isSafeInteger(stride) || stride < 0)
    throw invalidArgument(`${name}.stride`, "a whole number from 0", stride);
  oneOf(`${name}.side`, side, Object.values(sides));
  oneOf(`${name}.strategy`, strategy, Object.values(strategies));
  return value;
}

export function oneOf(name: string, value: unknown, values: readonly string[]): void {
  if (value === undefined || values.includes(value as string)) return;
  throw invalidArgument(name, `one of ${values.join(", ")}`, value);
}

/** The `truncation` of a tokenizer.json. Throws INVALID_FILE. */
export function readTruncation(json: JsonObject | null): Truncation | undefined {
  if (json === null) return undefined;
  return {
    maxLength: wholeField(json, "truncation", "max_length"),
    side: choiceField(json, "truncation", "direction", sides, "Right"),
    strategy: choiceField(json, "truncation", "strategy", strategies, "LongestFirst"),
    stride: wholeField(json, "truncation", "stride", 0),
  };
}

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

export function wholeField(json: JsonObject, where: string, name: string, fallback?: number): number {
  const value = json[name] ?? fallback;
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw invalidFile(`${where}.${name}`, "a whole number from 0", value);
  }
  return value as number;
}

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

export function keyOf(table: Record<string, string>, value: string): string {
  return Object.keys(table).find((key) => table[key] === value)!;
}

/** The parts of a text's ids: the first is kept, the others overflow. */
function cut(ids: Uint32Array, length: number, side: string, stride: number): Uint32Array[] {
  if (ids.length <= length) return [ids];
  if (length === 0) return [ids.subarray(0, 0), ids];
  if (stride >= length) {
    throw invalidArgument("truncation.stride", `less than the ${length} ids of a text that are kept`, stride);
  }
  const parts: Uint32Array[] = [];
  const step = length - stride;
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

/**
 * Cuts one text, or two that share `room` ids. Throws INVALID_ARGUMENT where the text that is to be cut is too short, or
 * is not there.
 *
 * @returns for each combination of parts the texts: the first is what is kept, the others what overflows. Of two texts
 *   that are both cut nothing overflows.
 */
export function truncate(texts: readonly Uint32Array[], truncation: Truncation, room: number): Uint32Array[][] {
  const { side = "right", strategy = "longestFirst", stride = 0 } = truncation;
  const total = texts.reduce((sum, ids) => sum + ids.length, 0);
  if (total <= room) return [[...texts]];
  const [first, second] = texts;
  if (strategy === "longestFirst") {
    if (!second) return cut(first!, room, side, stride).map((part) => [part]);
    const [n1, n2] = shares(first!.length, second.length, room);
    const [one, two] = [cut(first!, n1, side, stride), cut(second, n2, side, stride)];
    if (two.length === 1) return one.map((part) => [part, second]);
    if (one.length === 1) return two.map((part) => [first!, part]);
    return [[one[0]!, two[0]!]];
  }
  const index = strategy === "onlyFirst" ? 0 : 1;
  const target = texts[index];
  if (!target) throw invalidArgument("truncation.strategy", "two texts for onlySecond", "one");
  const left = target.length - (total - room);
  if (left <= 0) {
    const message = `truncation: expected the ${index === 0 ? "first" : "second"} text to be longer than the ${total - room} ids to cut, got ${target.length}`;
    throw new HeddleError("INVALID_ARGUMENT", message);
  }
  return cut(target, left, side, stride).map((part) => texts.map((ids, i) => (i === index ? part : ids)));
}

/** How many ids of each of two texts are kept. */
function shares(first: number, second: number, room: number): [number, number] {
  const short = Math.min(first, second);
  let [n1, n2] = [short, short > room ? short : Math.max(short, room - short)];
  if (n1 + n2 > room) {
    n1 = Math.floor(room / 2);
    n2 = n1 + (room % 2);
  }
  return first > second ? [n2, n1] : [n1, n2];
}
