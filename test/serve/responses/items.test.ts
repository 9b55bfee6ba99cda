// Items of OpenAI's Responses API become messages.
import { expect, test } from "vitest";
import { atOnce } from "../../../lib/core/slices.ts";
import { itemsOf } from "../../../lib/serve/openai/responses/items.ts";
import { messagesOf } from "../../../lib/serve/openai/responses/messages.ts";

const part = (type: string, text: string) => ({ type, text });

test("keeps the assistant's reasoning with the message or call after it", () => {
  const reasoning = (fields: object) => ({ type: "reasoning", id: "rs_1", summary: [], ...fields });
  const input = [
    reasoning({ content: [part("reasoning_text", "deep")], summary: [part("summary_text", "short")] }),
    { role: "assistant", content: "a" },
    reasoning({ summary: [part("summary_text", "short")] }),
    { type: "function_call", call_id: "1", name: "f", arguments: "{}" },
    { type: "function_call_output", call_id: "1", output: "sea" },
    reasoning({ content: [part("reasoning_text", "lost")] }),
    { role: "user", content: "b" },
    { role: "assistant", content: "c" },
  ];
  const items = atOnce(itemsOf(input, () => undefined));
  const call = { id: "1", type: "function", function: { name: "f", arguments: "{}" } };
  expect(atOnce(messagesOf({ items, instructions: undefined }))).toEqual([
    { role: "assistant", content: "a", reasoning_content: "deep" },
    { role: "assistant", content: "", reasoning_content: "short", tool_calls: [call] },
    { role: "tool", tool_call_id: "1", content: "sea" },
    { role: "user", content: "b" },
    { role: "assistant", content: "c" },
  ]);
});

test("joins the assistant's text to the calls before it", () => {
  const call = (id: string) => ({ type: "function_call", call_id: id, name: "f", arguments: "{}" });
  const output = (id: string) => ({ type: "function_call_output", call_id: id, output: "sea" });
  const said = (content: string) => ({ role: "assistant", content });
  const input = [call("1"), said("a"), call("2"), output("1"), output("2"), said("b"), said("c")];
  const items = atOnce(itemsOf(input, () => undefined));
  const made = (id: string) => ({ id, type: "function", function: { name: "f", arguments: "{}" } });
  expect(atOnce(messagesOf({ items, instructions: undefined }))).toEqual([
    { ...said("a"), tool_calls: [made("1"), made("2")] },
    { role: "tool", tool_call_id: "1", content: "sea" },
    { role: "tool", tool_call_id: "2", content: "sea" },
    said("b"),
    said("c"),
  ]);
});

test("keeps only the known fields of items and parts", () => {
  const extra = { annotations: [{}], logprobs: Array(9).fill(0), x: {} };
  const items = atOnce(
    itemsOf(
      [
        { role: "user", content: [{ type: "input_text", text: "a", ...extra }], x: Array(9).fill(0) },
        { id: "m", role: "assistant", status: "completed", content: [{ type: "output_text", text: "b", ...extra }] },
        { type: "function_call", id: "f", status: 1, call_id: "1", name: "f", arguments: "{}", x: {} },
      ],
      () => undefined,
    ),
  );
  expect(JSON.parse(JSON.stringify(items))).toEqual([
    { type: "message", id: items[0]!.id, role: "user", content: [{ type: "input_text", text: "a" }] },
    {
      ...{ type: "message", id: "m", role: "assistant", status: "completed" },
      content: [{ type: "output_text", text: "b", annotations: [] }],
    },
    { type: "function_call", id: "f", call_id: "1", name: "f", arguments: "{}" },
  ]);
});
