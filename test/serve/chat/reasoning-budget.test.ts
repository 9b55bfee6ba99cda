// Reasoning ends when it has spent its budget of tokens, in the library and in every API with a budget.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { heddle } from "../../../lib/ai-sdk/index.ts";
import { REASONING_FORMATS } from "../../../lib/answers/reasoning.ts";
import { reasoningLimit } from "../../../lib/language-model/chat/reasoning-limit.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { tinyTokenizer } from "../../inference/helpers.ts";
import { type Client, clientOf, type Json, user } from "../helpers.ts";
import { ANSWER, THOUGHT, thinkModel } from "../think-model.ts";

let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await thinkModel();
  client = clientOf(await serve(model, { port: 0, modelName: "tiny" }));
});
afterAll(async () => {
  await client.server.close(0);
  await model.dispose();
});

const messages = user("go");
const options = { maxTokens: 60, temperature: 0 };
/** Returns the text of the thought's first tokens. */
const beginning = (tokens: number) => {
  const ids = model.tokenizer!.encode(THOUGHT, { addSpecialTokens: false, addPrefixSpace: false });
  return model.tokenizer!.decode(ids.slice(0, tokens)).trimEnd();
};

describe.each([
  ["that the prompt begins", { enable_thinking: true }],
  ["that the model begins", {}],
])("reasoning %s", (_, variables) => {
  test.each([0, 1, 3])("has at most %i tokens, and the answer follows", async (maxReasoningTokens) => {
    const {
      reasoning = "",
      text,
      rawText,
    } = await model.respond(messages, { ...options, variables, maxReasoningTokens });
    // If the model writes the opening mark itself, the line break after the mark counts as a token of reasoning.
    const own = "enable_thinking" in variables ? 0 : Math.min(1, maxReasoningTokens);
    expect(reasoning).toBe(beginning(maxReasoningTokens - own));
    expect(rawText).toContain("</think>");
    expect(text).not.toBe("");
    expect(text).not.toContain("think>");
  });

  test("is complete if it stays within the budget", async () => {
    const whole = await model.respond(messages, { ...options, variables, maxReasoningTokens: 40 });
    expect(whole).toMatchObject({ reasoning: THOUGHT, text: ANSWER });
  });
});

test("an answer after empty reasoning has no limit", async () => {
  const variables = { enable_thinking: false };
  const { reasoning, text } = await model.respond(messages, { ...options, variables, maxReasoningTokens: 1 });
  expect({ reasoning, text }).toEqual({ reasoning: undefined, text: ANSWER });
});

test("drafts and chats keep to the budget", async () => {
  const more = { ...options, variables: { enable_thinking: true }, maxReasoningTokens: 2 };
  const plain = await model.respond(messages, more);
  expect((await model.respond(messages, { ...more, promptLookupNumTokens: 4 })).rawText).toBe(plain.rawText);
  const chat = model.chat({ variables: more.variables });
  const { variables: _, ...own } = more;
  expect((await chat.send("go", own)).rawText).toBe(plain.rawText);
});

test.each([-1, 1.5, "a"])("the option refuses %s", async (most) => {
  const asked = async () => model.respond(messages, { ...options, maxReasoningTokens: most as number });
  await expect(asked()).rejects.toThrow(/maxReasoningTokens: expected a whole number/);
});

test.each<[string, string, object, (body: Json) => string]>([
  [
    "Anthropic's API",
    "/v1/messages",
    { max_tokens: 60, thinking: { type: "enabled", budget_tokens: 3 } },
    ({ content }) => content.find(({ type }: Json) => type === "thinking").thinking,
  ],
  [
    "chat completions",
    "/v1/chat/completions",
    { max_tokens: 60, reasoning_effort: "low", reasoning: { max_tokens: 3 } },
    ({ choices }) => choices[0].message.reasoning_content,
  ],
])("reasoning has a budget in %s", async (_, path, more, reasoningOf) => {
  const { status, body } = await client.post(path, { messages, temperature: 0, ...more });
  expect({ status, body }).toMatchObject({ status: 200 });
  expect(reasoningOf(body)).toBe(beginning(3));
});

test("reasoning has a budget in responses", async () => {
  const reasoning = { effort: "low", max_tokens: 3 };
  const asked = { input: messages, max_output_tokens: 60, temperature: 0, reasoning };
  const { output } = (await client.post("/v1/responses", asked)).body;
  expect(output[0]).toMatchObject({ type: "reasoning", content: [{ text: beginning(3) }] });
  const wrong = await client.post("/v1/responses", { ...asked, reasoning: { max_tokens: -1 } });
  expect(wrong).toMatchObject({ status: 400, body: { error: { param: "reasoning.max_tokens" } } });
  const other = { messages, reasoning: { max: 1 } };
  expect((await client.post("/v1/chat/completions", other)).status).toBe(400);
});

test("a model of the AI SDK has a budget", async () => {
  const { content } = await heddle(model).doGenerate({
    prompt: [{ role: "user", content: [{ type: "text", text: "go" }] }],
    ...{ temperature: 0, maxOutputTokens: 60, reasoning: "low" },
    providerOptions: { heddle: { maxReasoningTokens: 3 } },
  });
  expect(content[0]).toEqual({ type: "reasoning", text: beginning(3) });
});

test("a budget does not disturb an answer that may only be JSON", async () => {
  const more = { max_tokens: 40, reasoning_effort: "low", reasoning: { max_tokens: 1 } };
  const response_format = { type: "json_schema", json_schema: { name: "a", schema: { enum: ["a", "b"] } } };
  const { choices } = await client.chat({ messages, temperature: 0, response_format, ...more });
  expect(["a", "b"]).toContain(JSON.parse(choices[0].message.content));
});

describe("the reasoning budget", async () => {
  const tokenizer = await tinyTokenizer();
  const forms = Object.entries(REASONING_FORMATS) as [string, Json][];
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false, addPrefixSpace: false });

  /** Applies the logit processor to a model that would only write thoughts. */
  function written(marks: Json, opening: "within" | "before", thoughts: Uint32Array, most: number): string {
    const limit = reasoningLimit(tokenizer, marks, { promptEnd: opening, maxTokens: most })!;
    const ids = [5, 6];
    const own = [...(opening === "before" ? encode(marks.open) : []), ...thoughts];
    for (let i = 0; i < own.length; i++) {
      const logits = new Float32Array(tokenizer.vocabSize);
      logits[own[i]!] = 1;
      limit(logits, { ids, promptLength: 2, index: 0 });
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    return tokenizer.decode(ids.slice(2));
  }

  test.each(forms)("the reasoning budget with the marks of %s closes reasoning once, when it is spent", (_, marks) => {
    const thoughts = encode("The cat saw the sea. ".repeat(20));
    const closing = marks.closing ?? marks.close;
    for (const opening of ["within", "before"] as const) {
      const text = written(marks, opening, thoughts, 4);
      const begun = (opening === "before" ? marks.open : "") + tokenizer.decode(thoughts.slice(0, 4));
      expect(text.slice(0, begun.length + closing.length)).toBe(begun + closing);
      expect(text.slice(begun.length + closing.length)).not.toContain(marks.close);
    }
  });

  test("does not cut a character", () => {
    const thoughts = encode("日本語".repeat(20));
    for (let most = 1; most < 9; most++) {
      const text = written(REASONING_FORMATS.think, "within", thoughts, most);
      expect(text.slice(0, text.indexOf("\n</think>"))).not.toContain("\ufffd");
    }
  });
});
