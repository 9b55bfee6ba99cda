// Every text that the grammar of a required call accepts is read back as a call. Its arguments satisfy the tool's schema.
import { describe, expect, test } from "vitest";
import { type CallFormatName, callFormatOf } from "../../lib/answers/call-formats.ts";
import { toolsByName } from "../../lib/answers/tools.ts";
import { type Automaton, compileFormat, type ToolCallsFormat } from "../../lib/constrain/index.ts";
import { type Json, type Schema, validate } from "../constrain/validator.ts";
import { failureOf } from "../inference/helpers.ts";
import { read, readers, written } from "./helpers.ts";

const schemas: Record<string, Schema> = {
  sea: {
    type: "object",
    properties: {
      place: { $ref: "#/$defs/place" },
      depth: { type: "integer", minimum: -3, maximum: 1200 },
      note: { type: "string", maxLength: 12 },
      code: { type: "string", pattern: "^[a-c<]{2,5}$" },
      maybe: { anyOf: [{ type: "string", enum: ["x", "y z"] }, { type: "null" }] },
      tags: { type: "array", items: { type: "string" }, maxItems: 3 },
    },
    required: ["place", "note"],
    additionalProperties: false,
    $defs: { place: { enum: ["Kyoto", "Naïve", 'a "b"', "</parameter"] } },
  },
  seal: { type: "object", properties: { loud: { type: "boolean" } }, required: ["loud"], additionalProperties: false },
  now: { type: "object", properties: {}, additionalProperties: false },
};
const tools = Object.entries(schemas).map(([name, parameters]) => ({
  type: "function",
  function: { name, parameters },
}));

/** A Lehmer generator of numbers from 0 to 1, with the multiplier of Park, Miller and Stockmeyer (1993). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

/** Returns the text of a random walk through the grammar. Once the text is long, it prefers bytes that close a part of the text. */
function sample(automaton: Automaton, random: () => number): string {
  const bytes: number[] = [];
  let state = automaton.start;
  while (!state.final) {
    if (state.whole && random() < 0.7) break;
    const all = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => automaton.step(state, byte));
    const closing = all.filter((byte) => '"<]}\n,'.includes(String.fromCharCode(byte)));
    const choice = bytes.length > 300 && closing.length > 0 && random() < 0.8 ? closing : all;
    const byte = choice[Math.floor(random() * choice.length)]!;
    bytes.push(byte);
    state = automaton.step(state, byte)!;
    if (bytes.length > 20_000) throw new Error("the walk does not end");
  }
  return Buffer.from(bytes).toString("utf8");
}

const accepts = (automaton: Automaton, text: string) =>
  automaton.read(automaton.start, Buffer.from(text))?.whole === true;
const formatOf = (format: CallFormatName, more: Partial<ToolCallsFormat> = {}): ToolCallsFormat => ({
  type: "tool_calls",
  tools,
  format,
  ...more,
});

describe.each(readers)("%s", (name, { tools: _, ...options }) => {
  const reader = { ...options, tools: toolsByName(tools) };

  test("reads back random texts of its grammar as a call that satisfies the schema", () => {
    const random = randomOf(7);
    const automaton = compileFormat(formatOf(name))!;
    const names = new Set<string>();
    for (let i = 0; i < 60; i++) {
      const text = sample(automaton, random);
      const { text: rest, calls } = read(reader, [text]);
      expect({ rest, count: calls.length }, text).toEqual({ rest: "", count: 1 });
      const [called, args] = calls[0]!;
      expect(validate(JSON.parse(args) as Json, schemas[called]!), `${text} ${args}`).toBe(true);
      names.add(called);
    }
    expect([...names].sort()).toEqual(["now", "sea", "seal"]);
  });

  test("accepts a call as a template writes it, and rejects changed calls and unknown names", () => {
    const one = compileFormat(formatOf(name))!;
    const seal = written(name, [["seal", { loud: true }]]);
    expect(accepts(one, seal)).toBe(true);
    for (const text of ["", `${seal} `, ` ${seal}`, seal.slice(0, -1), `${seal}${seal}`, written(name, [["seal", {}]])])
      expect(accepts(one, text), text).toBe(false);
    expect(accepts(one, written(name, [["lake", {}]]))).toBe(false);
    const only = compileFormat(formatOf(name, { name: "now" }))!;
    expect([accepts(only, seal), accepts(only, written(name, [["now", {}]]))]).toEqual([false, true]);
  });

  test("accepts several calls only if they may be parallel", () => {
    const two = written(name, [
      ["seal", { loud: true }],
      ["now", {}],
    ]);
    const several = compileFormat(formatOf(name, { parallel: true }))!;
    const isPossible = callFormatOf(name).shape.between !== undefined;
    expect([accepts(compileFormat(formatOf(name))!, two), accepts(several, two)]).toEqual([false, isPossible]);
    if (isPossible) expect(read(reader, [two]).calls.map(([called]) => called)).toEqual(["seal", "now"]);
  });

  test("requires the end of the reasoning that the prompt has begun", () => {
    const automaton = compileFormat(formatOf(name, { reasoningEnd: "</think>" }))!;
    const seal = written(name, [["seal", { loud: true }]]);
    expect(accepts(automaton, `Hm </thin <tool_call> é.\n</think>\n\n${seal}`)).toBe(true);
    for (const text of [seal, `Hm.${seal}`, "Hm.</think>\n\n", `a</think>b</think>\n\n${seal}`])
      expect(accepts(automaton, text), text).toBe(false);
  });
});

describe.each(readers)("%s, with JSON as the other choice", (name, { tools: _, ...options }) => {
  const schema: Schema = {
    type: "object",
    properties: { note: { type: "string", maxLength: 40 }, name: { const: "a" } },
    required: ["note"],
    additionalProperties: false,
  };
  const reader = { ...options, tools: toolsByName(tools), isCallOrJson: true };
  const format = callFormatOf(name);
  const begin = "textBegin" in format ? format.textBegin : "";
  const either = formatOf(name, { otherwise: { type: "json_schema", schema } });
  const seal = written(name, [["seal", { loud: true }]]);

  test("accepts a call or JSON, and not both", () => {
    const automaton = compileFormat(either)!;
    const json = `${begin}{"note": "hi"}`;
    expect([accepts(automaton, seal), accepts(automaton, json)]).toEqual([true, true]);
    for (const text of ["", json + seal, seal + json, `${begin}{"loud": true}`, `${begin}{"note": 1}`])
      expect(accepts(automaton, text), text).toBe(false);
    const object = compileFormat(formatOf(name, { otherwise: { type: "json_object" } }))!;
    expect(accepts(object, `${begin}{"loud": true}`)).toBe(true);
  });

  test("reads random texts of the grammar as a call, or as the JSON that was written", () => {
    const random = randomOf(3);
    const automaton = compileFormat(either)!;
    const kinds = new Set<string>();
    for (let i = 0; i < 60; i++) {
      const text = sample(automaton, random);
      // Calls of llama are JSON objects too, but the schema has no property "parameters".
      const isJson = text.startsWith(`${begin}{`) && !text.includes('"parameters"');
      const { text: rest, calls } = read(reader, [...text]);
      kinds.add(isJson ? "json" : "call");
      if (isJson) expect({ rest, calls }, text).toEqual({ rest: text.slice(begin.length).trim(), calls: [] });
      else expect({ rest, count: calls.length }, text).toEqual({ rest: "", count: 1 });
    }
    expect([...kinds].sort()).toEqual(["call", "json"]);
  });

  test("leaves the marks of a call inside a JSON string unchanged", () => {
    // Without line breaks, calls of several formats have no characters that JSON escapes. A reader that looked into the string would find a call.
    const json = JSON.stringify({ note: written(name, [["now", {}]]).replaceAll("\n", "") });
    const object = compileFormat(formatOf(name, { otherwise: { type: "json_object" } }))!;
    expect(accepts(object, begin + json)).toBe(true);
    expect(read(reader, [begin + json])).toEqual({ text: json, reasoning: "", calls: [] });
  });

  test("requires the end of begun reasoning before a call and before JSON", () => {
    const automaton = compileFormat({ ...either, reasoningEnd: "</think>" })!;
    for (const text of [seal, `${begin}{"note": ""}`]) {
      expect(accepts(automaton, `Hm.</think>\n\n${text}`)).toBe(true);
      expect(accepts(automaton, text)).toBe(false);
    }
  });
});

test("accepts a required property without a schema only if the object allows it, in every format", () => {
  const schema = { type: "object", properties: { a: { const: 1 } }, required: ["b"] };
  const accepted = (format: CallFormatName, more: object) => {
    // A grammar needs one tool that can be called.
    const both = [{ name: "f", parameters: { ...schema, ...more } }, { name: "g" }];
    return accepts(compileFormat(formatOf(format, { tools: both }))!, written(format, [["f", { b: 2 }]]));
  };
  for (const format of ["glm", "hermes"] as const) {
    expect(accepted(format, { additionalProperties: { type: "integer" } }), format).toBe(true);
    expect(accepted(format, { additionalProperties: { type: "boolean" } }), format).toBe(false);
    expect(accepted(format, { additionalProperties: false }), format).toBe(false);
    expect(accepted(format, {}), format).toBe(true);
    expect(accepted(format, { unevaluatedProperties: false }), format).toBe(false);
  }
});

test("refuses an unknown format, and schemas that a format cannot express", async () => {
  const withParameters = (parameters: Schema, format: CallFormatName = "glm") => ({
    type: "tool_calls" as const,
    format,
    tools: [{ name: "f", parameters }],
  });
  const validate = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } };
  const refusals: [unknown, RegExp][] = [
    [{ type: "tool_calls", tools, format: "xml" }, /INVALID_ARGUMENT responseFormat.format: expected one of harmony/],
    [{ type: "tool_calls", tools, reasoningEnd: "" }, /INVALID_ARGUMENT responseFormat.reasoningEnd/],
    [
      { type: "tool_calls", tools, otherwise: { type: "json_schema", schema: {}, validate } },
      /^UNSUPPORTED responseFormat.otherwise.validate is not supported/,
    ],
    [withParameters({ anyOf: [{ required: ["a"] }, { required: ["b"] }] }), /UNSUPPORTED .*a choice among objects/],
    [withParameters({ properties: { a: { type: "string", format: "date" } } }), /UNSUPPORTED .*a string format is not/],
    [withParameters({ properties: { "a>b": {} } }), /UNSUPPORTED .*a property named "a>b"/],
    [withParameters({ properties: { a: {} }, minProperties: 1 }), /UNSUPPORTED .*a limit on the number of properties/],
    [
      withParameters({ properties: { a: {} }, required: ["b"], maxProperties: 1 }),
      /UNSUPPORTED .*a limit on the number of properties/,
    ],
    [{ type: "tool_calls", format: "glm", tools: [{ name: "a b" }] }, /UNSUPPORTED tools: a function named "a b"/],
  ];
  for (const [format, message] of refusals) {
    const failure = await failureOf(() => compileFormat(format as ToolCallsFormat));
    expect(`${failure.code} ${failure.message}`).toMatch(message);
  }
  // Formats whose arguments are JSON can express every schema.
  for (const parameters of [{ anyOf: [{ required: ["a"] }, { required: ["b"] }] }, { properties: { "a>b": {} } }])
    expect(compileFormat(withParameters(parameters, "hermes"))).toBeDefined();
});
