// Content blocks of Anthropic's API, from answers with reasoning and calls in any pieces.
import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockEvents, blocksOf, stopOf } from "../../../lib/serve/anthropic/blocks.ts";
import { type Answer, addPart, type Delta } from "../../../lib/serve/core/answer.ts";
import type { Json } from "../helpers.ts";

const delta = (part: Partial<Delta>): Delta => ({ text: "", reasoning: "", calls: [], tokens: [], ...part });
const newAnswer = (): Answer => ({ text: "", reasoning: "", calls: [], tokens: [], finishReason: "stop" });
const call = (index: number, json: string, name?: string) => ({
  index,
  id: `c${index}`,
  arguments: json,
  ...(name !== undefined && { name }),
});

function eventsOf(parts: readonly Delta[]): Json[] {
  const blocks = new BlockEvents();
  return [...parts.flatMap((part) => blocks.more(part)), ...blocks.end()];
}

/** Puts the blocks of a stream together, as clients do. */
function assembled(events: readonly Json[]): object[] {
  const blocks: Json[] = [];
  let open: number | undefined;
  for (const { type, index, content_block: block, delta: more } of events) {
    if (type === "content_block_start") {
      expect([open, index]).toEqual([undefined, blocks.length]);
      open = index;
      blocks.push({ ...block, json: "" });
      continue;
    }
    expect(index).toBe(open);
    if (type === "content_block_stop") open = undefined;
    else if (more.type === "text_delta") blocks[index].text += more.text;
    else if (more.type === "thinking_delta") blocks[index].thinking += more.thinking;
    else if (more.type === "signature_delta") blocks[index].signature += more.signature;
    else blocks[index].json += more.partial_json;
  }
  expect(open).toBeUndefined();
  return blocks.map(({ json, ...block }) =>
    block.type === "tool_use" ? { ...block, input: JSON.parse(json || "{}") } : block,
  );
}

test("reasoning, text and calls become blocks in their order, with one block open at a time", () => {
  const parts = [
    delta({ reasoning: "Let me " }),
    delta({ reasoning: "see.", text: "Well" }),
    delta({ text: "." }),
    delta({ calls: [call(0, "", "sea")] }),
    delta({ calls: [call(0, '{"a":')] }),
    delta({ calls: [call(0, "1}"), call(1, "{}", "sky")] }),
  ];
  expect(
    eventsOf(parts).map(({ type, index, content_block: block, delta: more }) => [
      type.slice(14),
      index,
      block?.type ?? more?.type,
    ]),
  ).toEqual([
    ["start", 0, "thinking"],
    ["delta", 0, "thinking_delta"],
    ["delta", 0, "thinking_delta"],
    ["delta", 0, "signature_delta"],
    ["stop", 0, undefined],
    ["start", 1, "text"],
    ["delta", 1, "text_delta"],
    ["delta", 1, "text_delta"],
    ["stop", 1, undefined],
    ["start", 2, "tool_use"],
    ["delta", 2, "input_json_delta"],
    ["delta", 2, "input_json_delta"],
    ["stop", 2, undefined],
    ["start", 3, "tool_use"],
    ["delta", 3, "input_json_delta"],
    ["stop", 3, undefined],
  ]);
  expect(assembled(eventsOf(parts))).toEqual([
    { type: "thinking", thinking: "Let me see.", signature: "" },
    { type: "text", text: "Well." },
    { type: "tool_use", id: "c0", name: "sea", input: { a: 1 } },
    { type: "tool_use", id: "c1", name: "sky", input: {} },
  ]);
});

test("the rest of a call precedes the text that follows the call in the same part", () => {
  const parts = [
    delta({ calls: [call(0, '{"a":', "sea")] }),
    delta({ text: "Done", calls: [call(0, "1}")] }),
    delta({ text: ".", calls: [call(1, "{}", "sky")] }),
  ];
  expect(assembled(eventsOf(parts))).toEqual([
    { type: "tool_use", id: "c0", name: "sea", input: { a: 1 } },
    { type: "text", text: "Done." },
    { type: "tool_use", id: "c1", name: "sky", input: {} },
  ]);
});

test("the blocks of a stream are those of the whole answer, however it is cut", () => {
  const pieces = (text: string) =>
    fc.array(fc.nat(text.length), { maxLength: 4 }).map((cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      return at.slice(1).map((end, i) => text.slice(at[i], end));
    });
  const said = fc.tuple(
    fc.string().chain(pieces),
    fc.string().chain(pieces),
    fc.array(
      fc
        .dictionary(fc.string(), fc.jsonValue({ maxDepth: 1 }))
        .map((value) => JSON.stringify(value))
        .chain(pieces),
      { maxLength: 3 },
    ),
  );
  fc.assert(
    fc.property(said, ([reasoning, text, calls]) => {
      const parts = [
        ...reasoning.map((piece) => delta({ reasoning: piece })),
        ...text.map((piece) => delta({ text: piece })),
        ...calls.flatMap((json, i) =>
          json.map((piece, k) => delta({ calls: [call(i, piece, k === 0 ? "f" : undefined)] })),
        ),
      ];
      const answer = newAnswer();
      for (const part of parts) addPart(answer, part);
      expect(assembled(eventsOf(parts))).toEqual(JSON.parse(JSON.stringify(blocksOf(answer))));
    }),
    { numRuns: 200 },
  );
});

test("arguments that are not a JSON object are kept as text in INVALID_JSON", () => {
  const input = (json: string) => {
    const answer = newAnswer();
    addPart(answer, delta({ calls: [call(0, json, "f")] }));
    return (blocksOf(answer)[0] as Json).input;
  };
  expect(input('{"a":1}')).toEqual({ a: 1 });
  expect(input(" ")).toEqual({});
  for (const json of ['{"a":', "[1]", "x"]) expect(input(json)).toEqual({ INVALID_JSON: json });
});

test.each<[string, Partial<Answer>, string, string | null]>([
  ["the model's end", {}, "end_turn", null],
  ["the maximum of tokens", { finishReason: "length" }, "max_tokens", null],
  ["a stop text", { stopText: "x" }, "stop_sequence", "x"],
  ["a stop text that cut a required format", { stopText: "x", finishReason: "length" }, "stop_sequence", "x"],
  ["a call", { finishReason: "tool_calls", calls: [{ id: "a", name: "f", arguments: "" }] }, "tool_use", null],
  ["a call of a required function", { calls: [{ id: "a", name: "f", arguments: "" }] }, "tool_use", null],
  [
    "a call that was cut",
    { finishReason: "length", calls: [{ id: "a", name: "f", arguments: "{" }] },
    "max_tokens",
    null,
  ],
])("%s has its stop reason", (_, answer, reason, text) => {
  expect(stopOf({ ...newAnswer(), ...answer })).toEqual({ stop_reason: reason, stop_sequence: text });
});
