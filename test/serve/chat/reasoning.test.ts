// Answers of a model that was trained to think first. Every API has the reasoning in its own field.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { type Client, clientOf, type Json, user } from "../helpers.ts";
import { namedEvents } from "../responses/helpers.ts";
import { ANSWER, THOUGHT, thinkModel } from "../think-model.ts";

let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await thinkModel();
  client = clientOf(await serve(model, { port: 0, modelName: "tiny" }));
}, 240_000);
afterAll(async () => {
  await client?.server.close(0);
  await model?.dispose();
});

const messages = user("go");
const joined = (parts: readonly (string | undefined)[]) => parts.map((part) => part ?? "").join("");

async function post(path: string, body: object): Promise<Json> {
  const { status, body: answer } = await client.post(path, body);
  expect({ status, answer }).toMatchObject({ status: 200 });
  return answer;
}

/** Checks that all reasoning comes before any text. Tokens that are ready together share a part, so each kind may have a single part. */
function checkOrder(kinds: readonly ("reasoning" | "text")[]): void {
  const begun = kinds.indexOf("text");
  expect(begun).toBeGreaterThan(0);
  expect(new Set(kinds.slice(begun))).toEqual(new Set(["text"]));
}

describe("a chat of OpenAI's API", () => {
  const PATH = "/v1/chat/completions";
  const asked = { messages, temperature: 0, max_tokens: 100 };
  const thought = { role: "assistant", content: ANSWER, reasoning_content: THOUGHT, refusal: null };
  const { reasoning_content: _, ...plain } = thought;

  test.each<[string, object, object]>([
    ["if the model begins it", {}, thought],
    ["if the prompt begins it", { reasoning_effort: "low" }, thought],
    ["unless it is turned off", { reasoning_effort: "none" }, plain],
  ])("has reasoning_content %s", async (_title, more, message) => {
    const answer = await client.chat({ ...asked, ...more });
    expect(answer.choices[0]).toMatchObject({ finish_reason: "stop" });
    expect(answer.choices[0].message).toEqual(message);
    const deltas = (await client.events(PATH, { ...asked, ...more })).map((event) => event.choices[0].delta);
    expect(joined(deltas.map((delta) => delta.content))).toBe(ANSWER);
    expect(joined(deltas.map((delta) => delta.reasoning_content))).toBe(message === thought ? THOUGHT : "");
    const said = deltas.filter((delta) => delta.reasoning_content || delta.content);
    if (message === thought) checkOrder(said.map((delta) => (delta.content ? "text" : "reasoning")));
  });
});

describe("a response of OpenAI's API", () => {
  const PATH = "/v1/responses";
  const asked = { input: "go", temperature: 0, max_output_tokens: 100 };
  const reasoning = { type: "reasoning", status: "completed", summary: [] };
  const thought = [{ type: "reasoning_text", text: THOUGHT }];

  test.each<[string, object, object]>([
    ["its content", {}, { ...reasoning, content: thought }],
    [
      "its content after a prompt that begins it",
      { reasoning: { effort: "high" } },
      { ...reasoning, content: thought },
    ],
    [
      "its summary",
      { reasoning: { summary: "auto" } },
      { ...reasoning, summary: [{ type: "summary_text", text: THOUGHT }] },
    ],
  ])("has a reasoning item with %s", async (_title, more, item) => {
    const { output, usage } = await post(PATH, { ...asked, ...more });
    expect(output).toMatchObject([item, { type: "message", content: [{ type: "output_text", text: ANSWER }] }]);
    const { reasoning_tokens: tokens } = usage.output_tokens_details;
    expect(tokens).toBeGreaterThan(model.tokenizer!.encode(THOUGHT, { addSpecialTokens: false }).length - 1);
    expect(tokens).toBeLessThan(usage.output_tokens);

    const events = namedEvents(await post(PATH, { ...asked, ...more, stream: true }));
    const name =
      "summary" in item && (item.summary as object[]).length > 0 ? "reasoning_summary_text" : "reasoning_text";
    const isDelta = (type: string) => [`response.${name}.delta`, "response.output_text.delta"].includes(type);
    const deltas = events.filter(({ type }) => isDelta(type));
    checkOrder(deltas.map(({ type }) => (type === "response.output_text.delta" ? "text" : "reasoning")));
    expect(joined(deltas.map(({ delta }) => delta))).toBe(THOUGHT + ANSWER);
    expect(events.find(({ type }) => type === `response.${name}.done`)).toMatchObject({
      output_index: 0,
      text: THOUGHT,
    });
    const done = events.filter(({ type }) => type === "response.output_item.done");
    expect(done.map((event) => event.item)).toMatchObject([item, { type: "message" }]);
    expect(events.at(-1)).toMatchObject({ type: "response.completed", response: { output: [item, {}] } });
  });

  test("has no reasoning item with effort none", async () => {
    const { output, usage } = await post(PATH, { ...asked, reasoning: { effort: "none" } });
    expect(output).toMatchObject([{ type: "message", content: [{ text: ANSWER }] }]);
    expect(usage.output_tokens_details.reasoning_tokens).toBe(0);
  });
});

describe("Anthropic's API", () => {
  const PATH = "/v1/messages";
  const asked = { messages, temperature: 0, max_tokens: 100 };
  const thinking = { type: "thinking", thinking: THOUGHT, signature: "" };
  const text = { type: "text", text: ANSWER };

  test.each<[string, object, object[]]>([
    ["a thinking block", { thinking: { type: "enabled", budget_tokens: 50 } }, [thinking, text]],
    ["a thinking block if the model decides", { thinking: { type: "adaptive" } }, [thinking, text]],
    ["only a text without thinking", {}, [text]],
    ["only a text if thinking is disabled", { thinking: { type: "disabled" } }, [text]],
  ])("gives a message with %s", async (_title, more, content) => {
    const answer = await post(PATH, { ...asked, ...more });
    expect(answer).toMatchObject({ stop_reason: "end_turn" });
    expect(answer.content).toEqual(content);
    const stream: string = await post(PATH, { ...asked, ...more, stream: true });
    const events = [...stream.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data!));
    const starts = events.filter(({ type }) => type === "content_block_start");
    expect(starts.map((event) => event.content_block.type)).toEqual(content.map((block) => (block as Json).type));
    const deltas = events.filter(({ type }) => type === "content_block_delta");
    const of = (name: string) => joined(deltas.map(({ delta }) => delta[name]));
    expect([of("thinking"), of("text")]).toEqual([content.length > 1 ? THOUGHT : "", ANSWER]);
    const written = deltas.filter(({ delta }) => delta.type !== "signature_delta");
    if (content.length > 1) checkOrder(written.map(({ delta }) => ("text" in delta ? "text" : "reasoning")));
  });
});

describe("Ollama's API", () => {
  const options = { temperature: 0, num_predict: 100 };
  const thought = { content: ANSWER, thinking: THOUGHT };

  test.each<[string, object, { content: string; thinking?: string }]>([
    ["has thinking by default", {}, thought],
    ["has thinking with think: true", { think: true }, thought],
    ["has no thinking with think: false", { think: false }, { content: ANSWER }],
  ])("gives an answer that %s", async (_title, more, expected) => {
    const chat = { messages, options, ...more };
    const generated = { prompt: "go", options, ...more };
    expect((await post("/api/chat", { ...chat, stream: false })).message).toEqual({ role: "assistant", ...expected });
    const { response, thinking } = await post("/api/generate", { ...generated, stream: false });
    expect({ response, thinking }).toEqual({ response: ANSWER, thinking: expected.thinking });

    const lines = (body: string): Json[] =>
      body
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
    const parts = lines(await post("/api/chat", chat)).map(({ message }) => message);
    expect(joined(parts.map((part) => part.content))).toBe(ANSWER);
    expect(joined(parts.map((part) => part.thinking))).toBe(expected.thinking ?? "");
    const said = parts.filter((part) => part.content || part.thinking);
    if (expected.thinking) checkOrder(said.map((part) => (part.content ? "text" : "reasoning")));
    const pieces = lines(await post("/api/generate", generated));
    expect(joined(pieces.map((piece) => piece.response))).toBe(ANSWER);
    expect(joined(pieces.map((piece) => piece.thinking))).toBe(expected.thinking ?? "");
  });
});
