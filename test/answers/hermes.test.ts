// Tool calls of Hermes and Qwen, which are JSON objects between marks.
import { describe, expect, test } from "vitest";
import { hermes } from "../../lib/answers/formats/hermes.ts";
import { type Call, read } from "./helpers.ts";

const options = { calls: hermes };
/** More digits than a number in a call may have. */
const DIGITS = "1234567890".repeat(110);

describe("tool calls of Hermes", () => {
  const call = (json: string) => `<tool_call>\n${json}\n</tool_call>`;
  const tooDeep = call(`{"name":"f","arguments":${"[".repeat(9000)}`);
  test.each<[string, string, string, Call[]]>([
    ["a text without calls", " a <b> \n", " a <b> \n", []],
    ["one call", call('{"name": "f", "arguments": {"x": [1, "é"]}}'), "", [["f", '{"x":[1,"é"]}']]],
    [
      "calls between other text",
      `Let me see.\n\n${call('{"name":"f","arguments":{}}')}\n${call('{"name":"g"}')}\n`,
      "Let me see.",
      [
        ["f", "{}"],
        ["g", "{}"],
      ],
    ],
    ["text after a call", `${call('{"name":"f"}')} so be it `, " so be it", [["f", "{}"]]],
    ["arguments that are a JSON string", call('{"name":"f","arguments":"{\\"x\\":1}"}'), "", [["f", '{"x":1}']]],
    [
      "the end mark inside a string",
      call('{"name":"f","arguments":{"a":"\\"</tool_call>","b":"<tool_call>"}}') + call('{"name":"g"}'),
      "",
      [
        ["f", '{"a":"\\"</tool_call>","b":"<tool_call>"}'],
        ["g", "{}"],
      ],
    ],
    [
      "numbers that JavaScript cannot represent",
      call('{"arguments": {"id": 12345678901234567890, "x": 1.0, "y": [1e400, " : "]}, "name": "f"}'),
      "",
      [["f", '{"id":12345678901234567890,"x":1.0,"y":[1e400," : "]}']],
    ],
    [
      "a key named arguments inside the arguments",
      call('{"name":"f","arguments":{"arguments":[1],"name":2}}'),
      "",
      [["f", '{"arguments":[1],"name":2}']],
    ],
    [
      "a call with an extra quote before a valid call",
      '<tool_call>{"name: "f"}</tool_call><tool_call>{"name":"g"}</tool_call>',
      '<tool_call>{"name: "f"}</tool_call>',
      [["g", "{}"]],
    ],
    ["a call that is not JSON", `a ${call("{name: f}")} b`, `a ${call("{name: f}")} b`, []],
    ["a call without a name", call('{"arguments":{}}'), call('{"arguments":{}}'), []],
    ["a call that is not an object", call("null") + call("[1]"), call("null") + call("[1]"), []],
    ["arguments nested too deeply", tooDeep, tooDeep, []],
    [
      "malformed arguments (with a number that is too long), which are passed on up to the end mark",
      call(`{"name":"f","arguments":{"x":${DIGITS}}}`),
      "",
      [["f", `{"x":${DIGITS}}}\n`]],
    ],
    ["an unterminated call", '<tool_call>{"name":"f"', '<tool_call>{"name":"f"', []],
    ["a partial start mark", "a <tool_ca", "a <tool_ca", []],
    ["an end mark without a start", "a</tool_call>", "a</tool_call>", []],
  ])("the parser of JSON calls separates text and calls: %s", (_, text, expected, calls) => {
    expect(read(options, [text])).toEqual({ text: expected, reasoning: "", calls });
  });
});
