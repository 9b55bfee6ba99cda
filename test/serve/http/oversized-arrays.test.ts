// Arrays that are too long, or have wrong elements, are refused without work for each element.
import { describe, expect, test } from "vitest";
import { messageSchema, parsed as parsedMessage } from "../../../lib/serve/anthropic/schema.ts";
import { chatPrompt } from "../../../lib/serve/core/chat.ts";
import type { Exchange } from "../../../lib/serve/core/context.ts";
import { messagesOf } from "../../../lib/serve/core/messages.ts";
import type { Served } from "../../../lib/serve/core/models.ts";
import { charactersOf } from "../../../lib/serve/core/prompts.ts";
import { itemsOf } from "../../../lib/serve/openai/responses/items.ts";
import { responseParameters } from "../../../lib/serve/openai/responses/schema.ts";
import { toolSettings } from "../../../lib/serve/openai/responses/settings.ts";
import { chatSchema, parsed as parsedChat } from "../../../lib/serve/openai/schema.ts";
import { failureOf, tinyModel } from "../../inference/helpers.ts";
import { chatModel, withServer } from "../helpers.ts";
import { watched } from "../watched-array.ts";

/** Maximum number of element reads for a rejection, whose message may show the first elements. */
const MAX_READS = 2;

const model = tinyModel();
const message = { role: "user", content: "a" };
const tools = [{ type: "function", name: "f" }];
const item = (fields: object) => () => [...itemsOf([fields], () => undefined)];

describe("a long array", () => {
  test.each<[string, unknown, (array: unknown[]) => unknown, RegExp]>([
    [
      "include",
      "a",
      (include) => responseParameters({ input: "a", include }),
      /^include: expected .* at most 16 texts/,
    ],
    ["include with wrong names", 1, (include) => responseParameters({ input: "a", include }), /^include: .*of 100000$/],
    ["tools of a response", 1, (array) => responseParameters({ input: "a", tools: array }), /^tools: .*128 functions/],
    [
      "allowed tools",
      tools[0],
      (allowed) =>
        toolSettings({ tools, tool_choice: { type: "allowed_tools", mode: "auto", tools: allowed } } as never),
      /^tool_choice.tools: expected at most 128/,
    ],
    [
      "parts of an item",
      1,
      (content) => item({ role: "user", content })(),
      /content: expected a string or an array of/,
    ],
    ["a summary", 1, (summary) => item({ type: "reasoning", summary })(), /summary: expected an array of at most 1024/],
    [
      "parts of a message",
      1,
      (content) => messagesOf([{ role: "user", content }], model),
      /content: expected a text or/,
    ],
    [
      "calls of a message",
      1,
      (calls) => messagesOf([{ role: "assistant", tool_calls: calls }], model),
      /tool_calls: expected an array of at most 256 calls/,
    ],
    [
      "tools of Anthropic's API",
      1,
      (array) => parsedMessage(messageSchema, { max_tokens: 1, messages: [message], tools: array }),
      /^tools: expected an array of at most 128/,
    ],
  ])("is refused after at most two element reads as %s", async (_, element, read, expected) => {
    const { array, reads } = watched(element);
    expect((await failureOf(() => read(array))).message).toMatch(expected);
    expect(reads()).toBeLessThanOrEqual(MAX_READS);
  });

  test("reading continue_token_ids stops at the first wrong id", async () => {
    const { array, reads } = watched("a");
    const refused = await failureOf(() => parsedChat(chatSchema, { messages: [message], continue_token_ids: array }));
    expect(refused.message).toMatch(/^continue_token_ids: expected an array of at most \d+ token ids/);
    expect(reads()).toBeLessThanOrEqual(MAX_READS);
  });
});

test("continue_token_ids longer than the context are refused", async () => {
  await using own = await chatModel();
  await withServer(own, {}, async ({ post }) => {
    const body = { messages: [message], continue_token_ids: Array(1025).fill(1) };
    expect(await post("/v1/chat/completions", body)).toMatchObject({
      status: 400,
      body: { error: { param: "continue_token_ids", message: expect.stringMatching(/at most 1024 token ids/) } },
    });
  });
});

test("characters are counted up to the limit, without listing an array first", () => {
  const { array, reads } = watched(1);
  expect(charactersOf({ a: [array] }, 100)).toBeGreaterThan(100);
  expect(reads()).toBeLessThanOrEqual(100);
  expect(charactersOf([{ ab: ["cde", 1, null] }, "f"], 100)).toBe(6);
});

test("more messages than a conversation may have are refused after reading at most two", async () => {
  const { array, reads } = watched(message);
  await using own = await chatModel();
  const served = { name: "tiny", model: own } as unknown as Served;
  const refused = await failureOf(() => chatPrompt({} as Exchange, served, { messages: array, options: {} }));
  expect(refused.message).toMatch(/^messages: expected at most 4096 messages/);
  expect(reads()).toBeLessThanOrEqual(MAX_READS);
});
