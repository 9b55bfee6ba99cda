// The output of a response and the events of its stream, for answers in any pieces.
import { expect, test } from "vitest";
import type { Piece } from "../../../lib/inference/sequence.ts";
import { Output, type ResponseEvent } from "../../../lib/serve/openai/responses/output.ts";
import type { Json } from "../helpers.ts";

const piece = (token: number): Piece => ({ index: 0, token, text: "", logprob: -token });
let count = 0;
/** Returns a part of an answer, with one token unless `of` has tokens. */
const part = (of: object) => ({ text: "", reasoning: "", calls: [], tokens: [piece(++count)], ...of });
const call = (index: number, more: string, name?: string) => ({
  calls: [{ index, id: `call_${index}`, ...(name !== undefined && { name }), arguments: more }],
});

function run(output: Output, parts: readonly object[], status: "completed" | "incomplete" = "completed") {
  const events: Json[] = [];
  // Events are sent before the next part, so later parts must not change them.
  const send = (some: readonly ResponseEvent[]) =>
    events.push(...some.map((event) => JSON.parse(JSON.stringify(event))));
  for (const one of parts) send(output.more(part(one)));
  send(output.end(status));
  return {
    events,
    items: output.items(status) as Json[],
    types: events.map(({ type }) => type.replace("response.", "")),
  };
}

const answer = [
  { reasoning: "I " },
  { reasoning: "think" },
  { text: "So" },
  { text: " be it" },
  call(0, "", "f"),
  call(0, '{"x":'),
  call(0, "1}"),
  call(1, "{}", "g"),
];

test("reasoning, text and calls become items, each with its events in order", () => {
  const { events, items, types } = run(new Output({ summary: false }), answer);
  expect(types).toEqual([
    ...["output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta"],
    ...["reasoning_text.done", "content_part.done", "output_item.done"],
    ...["output_item.added", "content_part.added", "output_text.delta", "output_text.delta"],
    ...["output_text.done", "content_part.done", "output_item.done"],
    ...["output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"],
    ...["function_call_arguments.done", "output_item.done"],
    ...["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"],
  ]);
  const status = "completed";
  const text = { type: "output_text", text: "So be it", annotations: [], logprobs: [] };
  expect(items).toEqual([
    {
      ...{ id: expect.stringMatching(/^rs_[\da-f]{48}$/), type: "reasoning", status, summary: [] },
      content: [{ type: "reasoning_text", text: "I think" }],
    },
    { id: expect.stringMatching(/^msg_/), type: "message", status, role: "assistant", content: [text] },
    {
      ...{ id: expect.stringMatching(/^fc_/), type: "function_call", status, call_id: "call_0" },
      name: "f",
      arguments: '{"x":1}',
    },
    {
      ...{ id: expect.stringMatching(/^fc_/), type: "function_call", status, call_id: "call_1" },
      name: "g",
      arguments: "{}",
    },
  ]);
  const at = (type: string) => events.filter((event) => event.type === `response.${type}`);
  expect(at("output_item.done").map(({ item }) => item)).toEqual(items);
  expect(at("output_item.done").map((event) => event.output_index)).toEqual([0, 1, 2, 3]);
  expect(at("output_item.added").map(({ item }) => [item.status, item.content, item.arguments])).toEqual([
    ["in_progress", [], undefined],
    ["in_progress", [], undefined],
    ["in_progress", undefined, ""],
    ["in_progress", undefined, ""],
  ]);
  expect(at("content_part.added").map((event) => event.part.text)).toEqual(["", ""]);
  const ids = items.map(({ id }) => id);
  for (const event of events) expect(event.item?.id ?? event.item_id, event.type).toBe(ids[event.output_index]);
});

test("deltas concatenate to the texts of the done events, however the answer is split", () => {
  const whole = run(new Output({ summary: false }), answer).items;
  const merged = [
    { reasoning: "I think", text: "So be it", calls: answer.flatMap((one) => ("calls" in one ? one.calls : [])) },
  ];
  const bare = (items: Json[]) => items.map(({ id: _, ...item }) => item);
  for (const parts of [merged, [...answer.slice(0, 4), { calls: merged[0]!.calls }]]) {
    const { events, items } = run(new Output({ summary: false }), parts);
    expect(bare(items)).toEqual(bare(whole));
    for (const [i, { id }] of items.entries()) {
      const own = events.filter((event) => event.item_id === id);
      const done = own.find(({ type }) => /_(text|arguments)\.done$/.test(type))!;
      const deltas = own.filter(({ type }) => type.endsWith(".delta")).map(({ delta }) => delta);
      expect([i, deltas.join("")]).toEqual([i, done.text ?? done.arguments]);
    }
  }
});

test("the rest of a call precedes the text that follows the call in the same part", () => {
  const parts = [call(0, '{"x":', "f"), { text: "Done", ...call(0, "1}") }, { text: ".", ...call(1, "{}", "g") }];
  const { items } = run(new Output({ summary: false }), parts);
  expect(items).toMatchObject([
    { type: "function_call", call_id: "call_0", name: "f", arguments: '{"x":1}' },
    { type: "message", content: [{ text: "Done." }] },
    { type: "function_call", call_id: "call_1", name: "g", arguments: "{}" },
  ]);
});

test("reasoning is a summary if the request asks for one", () => {
  const { items, types, events } = run(new Output({ summary: true }), [{ reasoning: "hm" }, { text: "a" }]);
  expect(items[0]).toMatchObject({ summary: [{ type: "summary_text", text: "hm" }] });
  expect(items[0].content).toBeUndefined();
  expect(types.slice(0, 6)).toEqual([
    ...["output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"],
    ...["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"],
  ]);
  expect(events[0].item.summary).toEqual([]);
  expect(events[2]).toMatchObject({ summary_index: 0, delta: "hm" });
});

test("an answer that is cut ends with an incomplete item", () => {
  for (const [last, kind] of [
    [{ reasoning: "a" }, "reasoning"],
    [{ text: "a" }, "message"],
    [call(0, '{"x', "f"), "function_call"],
  ] as const) {
    const { items } = run(new Output({ summary: false }), [{ text: "before" }, last], "incomplete");
    expect(items.at(-1)).toMatchObject({ type: kind, status: "incomplete" });
    if (items.length > 1) expect(items[0].status).toBe("completed");
  }
});

test("an empty answer is an empty message", () => {
  const { items, types } = run(new Output({ summary: false }), [{}]);
  expect(items).toMatchObject([{ type: "message", status: "completed", content: [{ text: "" }] }]);
  expect(types).toEqual([
    ...["output_item.added", "content_part.added", "output_text.done", "content_part.done", "output_item.done"],
  ]);
});

test("log-probabilities belong to the tokens of text, including those whose text came later", () => {
  const logprobs = (tokens: readonly Piece[]) => tokens.map(({ token }) => ({ token }));
  const tokens = (...ids: number[]) => ({ tokens: ids.map(piece) });
  const output = new Output({ summary: false, logprobs });
  const { items, events } = run(output, [
    { reasoning: "hm", ...tokens(1, 2) },
    tokens(3),
    { text: "ab", ...tokens(4, 5) },
    tokens(6),
    { ...call(0, "{}", "f"), ...tokens(7) },
  ]);
  const of = (ids: number[]) => ids.map((token) => ({ token }));
  expect(items[1].content[0].logprobs).toEqual(of([3, 4, 5]));
  expect(events.filter(({ type }) => type === "response.output_text.delta").map((event) => event.logprobs)).toEqual([
    of([3, 4, 5]),
  ]);
  expect(output.reasoningTokens).toBe(2); // without token 3, which closes the reasoning: vLLM does not count it either
});
