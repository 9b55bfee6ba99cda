// Helpers that write tool calls in each format, and that read answers in pieces.
import { expect } from "vitest";
import { type CallFormatName, callFormatNames, callFormatOf } from "../../lib/answers/call-formats.ts";
import type { CallFormat } from "../../lib/answers/format.ts";
import type { AnswerParser } from "../../lib/answers/parts.ts";
import { AnswerReader, type ReaderOptions } from "../../lib/answers/reader.ts";
import { toolsByName } from "../../lib/answers/tools.ts";

export type Call = [name: string, args: string];

export interface Read {
  text: string;
  reasoning: string;
  calls: Call[];
}

/** A tool with a string, an integer and an array as parameters, and a tool without parameters. */
export const tools = [
  {
    type: "function",
    function: {
      name: "sea",
      parameters: {
        type: "object",
        properties: {
          place: { type: "string" },
          depth: { type: "integer" },
          tags: { type: "array", items: { type: "string" } },
        },
        required: ["place"],
      },
    },
  },
  { type: "function", function: { name: "now", parameters: { type: "object", properties: {} } } },
];

/** All formats, each with the options for reading its answers. */
export const readers: [CallFormatName, ReaderOptions][] = callFormatNames.map((name) => {
  const format = callFormatOf(name);
  const known = { tools: toolsByName(tools) };
  return [name, "marks" in format ? { ...known, whole: format } : { ...known, calls: format }];
});

/** Reads an answer that arrives in pieces, and checks that the ids and names of its calls are consistent. */
export function read(options: ReaderOptions, pieces: readonly string[]): Read {
  return readWith(new AnswerReader(options), pieces);
}

/** As `read`, with a parser that the caller has created. */
export function readWith(parser: AnswerParser, pieces: readonly string[]): Read {
  const parts = [...pieces.map((piece) => parser.push(piece)), parser.flush()];
  const calls: Call[] = [];
  const ids: string[] = [];
  for (const { index, id, name, arguments: more } of parts.flatMap((part) => part.calls)) {
    if (index === calls.length) {
      expect(name).toBeTypeOf("string");
      expect(ids).not.toContain(id);
      calls.push([name!, more]);
      ids.push(id);
    } else {
      // Further arguments belong to the newest call, and come without its name.
      expect({ index, id, name }).toEqual({ index: calls.length - 1, id: ids.at(-1), name: undefined });
      calls.at(-1)![1] += more;
    }
  }
  expect(parser.count).toBe(calls.length);
  return {
    text: parts.map((part) => part.text).join(""),
    reasoning: parts.map((part) => part.reasoning).join(""),
    calls,
  };
}

/** Splits a text at the given offsets, modulo its length plus 1. */
export function pieces(text: string, cuts: readonly number[]): string[] {
  const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, i) => text.slice(from, places[i] ?? text.length));
}

type Value = string | number | boolean | null | readonly unknown[] | { readonly [key: string]: unknown };

/** Writes calls in a format, as the family's template does. */
export function written(
  name: CallFormatName,
  calls: readonly (readonly [string, Readonly<Record<string, Value>>])[],
): string {
  const { begin, call, between = "", end } = callFormatOf(name).shape;
  const one = ([called, args]: (typeof calls)[number]) =>
    call
      .map((part) => {
        if (typeof part === "string") return part;
        if ("name" in part) return part.name === "json" ? JSON.stringify(called).slice(1, -1) : called;
        const shape = part.arguments;
        if (shape === "json") return JSON.stringify(args);
        return Object.entries(args)
          .map(([key, value]) => [shape.before, key, shape.between, textOf(value), shape.after].join(""))
          .join("");
      })
      .join("");
  return begin + calls.map(one).join(between) + end;
}

const textOf = (value: Value) => (typeof value === "string" ? value : JSON.stringify(value));

/** Returns the marks that begin a call in a format. */
export function opensOf(name: CallFormatName): readonly string[] {
  const format = callFormatOf(name);
  return "marks" in format ? ["<|channel|>commentary to=functions.f<|message|>"] : (format as CallFormat).opens;
}
