// Calls that are written as Python: those of SmolLM 3, of Llama's built-in tools, and arguments of Qwen3-Coder.
// Also the calls of GLM-4-9B: a name and JSON, without marks.
import { describe, expect, test } from "vitest";
import { type CallFormatName, callFormatOf, chooseCallFormat } from "../../lib/answers/call-formats.ts";
import { pythonLiteral } from "../../lib/answers/call-python.ts";
import type { CallFormat } from "../../lib/answers/format.ts";
import { REASONING_FORMATS } from "../../lib/answers/reasoning.ts";
import { toolsByName } from "../../lib/answers/tools.ts";
import { read, tools } from "./helpers.ts";

const reader = (name: CallFormatName, more = {}) => ({
  ...{ tools: toolsByName(tools), calls: callFormatOf(name) as CallFormat, ...more },
});
const smollm = reader("smollm");
const llama = reader("llama");
const only = (text: string) => ({ text, reasoning: "", calls: [] });

describe.each([
  ["SmolLM 3", smollm, (call: string) => `<code>\n${call}\n</code>`, "sea"],
  ["Llama's built-in tools", llama, (call: string) => `<|python_tag|>${call.replace("(", ".call(")}`, "sea"],
] as const)("%s", (_, options, written, name) => {
  test.each([
    ["sea(place='Kyoto')", { place: "Kyoto" }],
    ['sea(place="Na\\u00efve \\"b\\"", depth=-3)', { place: 'Naïve "b"', depth: -3 }],
    ["sea( place = 'a' , tags = ['x', \"y\"], )", { place: "a", tags: ["x", "y"] }],
    ["sea('Lima', 5)", { place: "Lima", depth: 5 }],
    ["sea(x={'a': [1.5e3, True, None], \"b\": {}}, y=(1, 2))", { x: { a: [1500, true, null], b: {} }, y: [1, 2] }],
    ["sea(place='''two\nlines''', depth=0)", { place: "two\nlines", depth: 0 }],
    ["sea(place='😀 \\n')", { place: "😀 \n" }],
    ["sea()", {}],
  ])("reads %s, whole and character by character", (call, expected) => {
    const text = written(call);
    for (const pieces of [[text], text.split("")]) {
      const { text: rest, calls } = read(options, pieces);
      expect({ rest, count: calls.length }).toEqual({ rest: "", count: 1 });
      expect([calls[0]![0], JSON.parse(calls[0]![1])]).toEqual([name, expected]);
    }
  });

  test("leaves other code as text", () => {
    for (const code of ["print", "x = 1", "import os\nos.listdir()", "sea", "", "1 + 2"]) {
      const text = written(code).replace(".call", "");
      expect(read(options, [text])).toEqual(only(text));
      expect(read(options, text.split(""))).toEqual(only(text));
    }
  });

  test("keeps a call whose arguments are malformed", () => {
    for (const [call, args] of [
      ["sea(place=Kyoto)", '{"place":Kyoto)'],
      ["sea(place='a' depth=1)", '{"place":"a"depth=1)'],
    ] as const) {
      const { calls } = read(options, written(call).split(""));
      expect(calls).toEqual([["sea", expect.stringContaining(args.slice(0, 15))]]);
      expect(() => JSON.parse(calls[0]![1])).toThrow();
    }
  });

  test("reads a truncated call as text, or as a prefix of its arguments", () => {
    const text = written("sea(place='Kyoto', tags=['a', 'b'], depth=12)");
    const whole = '{"place":"Kyoto","tags":["a","b"],"depth":12}';
    let longest = "";
    for (let length = 0; length < text.length; length++) {
      const cut = text.slice(0, length);
      const { text: rest, calls } = read(options, cut.split(""));
      expect(read(options, [cut])).toEqual({ text: rest, reasoning: "", calls });
      if (calls.length === 0) expect(rest).toBe(cut);
      else {
        longest = calls[0]![1];
        expect(whole.startsWith(longest.slice(0, -1)), longest).toBe(true);
      }
    }
    expect(longest).toContain('"tags":["a","b"],"depth":12');
  });

  test("reads reasoning before a call", () => {
    const text = `<think>Hm.</think>\n${written("sea(place='a')")}`;
    for (const pieces of [[text], text.split("")])
      expect(read({ ...options, reasoning: REASONING_FORMATS.think }, pieces)).toEqual({
        ...{ text: "", reasoning: "Hm.", calls: [["sea", '{"place":"a"}']] },
      });
  });
});

test("several calls of SmolLM 3 are read, one per line, and calls of unknown tools stay text", () => {
  const text = "Let me see.\n<code>\nsea(place='a')\nnow()\n</code>";
  const calls = [
    ["sea", '{"place":"a"}'],
    ["now", "{}"],
  ];
  for (const pieces of [[text], text.split("")])
    expect(read(smollm, pieces)).toEqual({ text: "Let me see.", reasoning: "", calls });
  for (const other of ["<code>\nlake(place='a')\n</code>", "Use <code>x</code> here."])
    expect(read(smollm, other.split(""))).toEqual(only(other));
});

test("Llama's calls of built-in tools are read although the request does not define the tools", () => {
  const text = '<|python_tag|>brave_search.call(query="rain in Kyoto")';
  expect(read(llama, text.split("")).calls).toEqual([["brave_search", '{"query":"rain in Kyoto"}']]);
});

test("arguments nested more than 64 deep are passed on as written", () => {
  const nested = (depth: number, value: string) => `${"[".repeat(depth)}${value}${"]".repeat(depth)}`;
  const argumentsOf = (depth: number) => read(smollm, [`<code>sea(x=${nested(depth, "True")})</code>`]).calls[0]![1];
  expect(argumentsOf(64)).toBe(`{"x":${nested(64, "true")}}`);
  expect(argumentsOf(65)).toBe(`{"x":${nested(65, "True")})`);
  expect(argumentsOf(5000)).toBe(`{"x":${nested(5000, "True")})`);
  expect([64, 65].map((depth) => pythonLiteral(nested(depth, "1")))).toEqual([nested(64, "1"), undefined]);
});

test("the template selects the format of calls", () => {
  expect(chooseCallFormat("{# <tool_call> <code> python_tools #}{{ tools }}")).toBe("smollm");
  expect(chooseCallFormat("{# <|observation|> #}{{ tools }}")).toBe("glm_plain");
  expect(chooseCallFormat("{# <|observation|> <tool_call><arg_key> #}{{ tools }}")).toBe("glm");
});

describe("GLM-4-9B", () => {
  const glm = reader("glm_plain");
  const call = 'sea\n{"place": "Kyoto"}';

  test("calls a tool by its name and arguments on two lines", () => {
    const expected = { text: "", reasoning: "", calls: [["sea", '{"place":"Kyoto"}']] };
    for (const text of [call, `\n${call}\n`])
      for (const pieces of [[text], text.split("")]) expect(read(glm, pieces)).toEqual(expected);
    const reasoned = `<think>Hm.</think>\n${call}`;
    expect(read({ ...glm, reasoning: REASONING_FORMATS.think }, reasoned.split(""))).toEqual({
      ...expected,
      reasoning: "Hm.",
    });
  });

  test("leaves names of other tools and other text as they are", () => {
    for (const text of ['lake\n{"a": 1}', "sea", "sea\n", "seal\n{}", "The sea\n{}", "sea\nis blue", `Well.\n${call}`])
      for (const pieces of [[text], text.split("")]) expect(read(glm, pieces)).toEqual(only(text));
  });

  test("keeps malformed and cut arguments as written, without white space", () => {
    expect(read(glm, ['sea\n{"place": Kyoto}']).calls).toEqual([["sea", '{"place":Kyoto}']]);
    expect(read(glm, ['sea\n{"place": "Ky']).calls).toEqual([["sea", '{"place":"Ky']]);
  });
});

test.each<[string, string | undefined]>([
  ["['a', \"b\"]", '["a","b"]'],
  ["{'a': True, 'b': [None, 2.5]}", '{"a":true,"b":[null,2.5]}'],
  ["()", "[]"],
  ["'a\\n'", '"a\\n"'],
  ["'\\v\\a\\0\\101\\1018\\q'", '"\\u000b\\u0007\\u0000AA8\\\\q"'],
  ["['a'] x", undefined],
  ["[1", undefined],
  ["abc", undefined],
  ["", undefined],
])("a Python literal becomes JSON: %s", (text, json) => {
  expect(pythonLiteral(text)).toBe(json);
});

test("a parameter of Qwen3-Coder may be a list in Python, unless its schema allows a string", () => {
  const call = (name: string, value: string) =>
    `<tool_call>\n<function=${name}>\n<parameter=tags>\n${value}\n</parameter>\n</function>\n</tool_call>`;
  const own = reader("qwen_xml");
  expect(read(own, [...call("sea", "['a', 'b']")]).calls).toEqual([["sea", '{"tags":["a","b"]}']]);
  expect(read(own, [...call("sea", "['a', ")]).calls).toEqual([["sea", expect.stringContaining("['a', ")]]);
  expect(read(own, [...call("now", "['a', 'b']")]).calls).toEqual([["now", `{"tags":"['a', 'b']"}`]]);
});
