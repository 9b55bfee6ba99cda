// Tests token ids and entropies in log-probabilities, and answers that begin with given tokens.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { type Client, chatModel, greedily, greedy, type Json, user, withServer } from "./helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const serving = (work: (client: Client) => Promise<void>) => withServer(model, {}, work);
const body = { messages: user("Hello"), ...greedily, logprobs: true, top_logprobs: 3, return_token_ids: true };

async function answerOf(client: Client, more: object = {}): Promise<{ text: string; content: Json[]; usage: Json }> {
  const { choices, usage } = await client.chat({ ...body, ...more });
  return { text: choices[0].message.content, content: choices[0].logprobs.content, usage };
}

test("log-probabilities have the ids of tokens and candidates on request", () =>
  serving(async (client) => {
    const { content } = await answerOf(client);
    expect(content).not.toEqual([]);
    for (const { id, token, top_logprobs: top } of content) {
      expect(model.tokenizer!.tokenText(id)).toBe(token);
      expect(top[0]).toMatchObject({ id, token }); // the answer is greedy
      expect(top).toHaveLength(3);
    }
    const plain = await answerOf(client, { return_token_ids: false });
    expect(plain.content.map(({ token, id }: Json) => ({ token, id }))).toEqual(
      content.map(({ token }: Json) => ({ token, id: undefined })),
    );
  }));

test("log-probabilities have the library's entropies on request, whole and streamed", () =>
  serving(async (client) => {
    const own = await model.respond(user("Hello"), { ...greedy, topLogprobs: 1 });
    const entropies = own.entropies!;
    expect(entropies.length).toBeGreaterThan(1);
    const { content } = await answerOf(client, { return_entropy: true });
    expect(content.map((one: Json) => one.entropy)).toEqual(entropies);
    const events = await client.events("/v1/chat/completions", { ...body, return_entropy: true });
    const streamed = events.flatMap(({ choices }) => choices[0].logprobs?.content ?? []);
    // The prompt is in the prefix cache now, so the logits may be rounded differently.
    expect(streamed.map((one: Json) => one.entropy.toFixed(3))).toEqual(entropies.map((one) => one.toFixed(3)));
    const plain = await answerOf(client);
    expect(plain.content.map((entry: Json) => "entropy" in entry)).toEqual(content.map(() => false));
    const refused = await client.post("/v1/chat/completions", { ...body, top_logprobs: 0, return_entropy: true });
    expect(refused).toMatchObject({ status: 400, body: { error: { param: "return_entropy" } } });
  }));

test("an answer that begins with its own tokens continues as before, whole and streamed", () =>
  serving(async (client) => {
    const { text, content, usage } = await answerOf(client);
    const ids = content.map(({ id }) => id);
    const more = { continue_token_ids: ids.slice(0, 5), max_tokens: body.max_tokens - 5 };
    const rest = await answerOf(client, more);
    expect(rest.text).toBe(text);
    expect(rest.content.map(({ id }) => id)).toEqual(ids.slice(5));
    expect(rest.usage).toMatchObject({
      prompt_tokens: usage.prompt_tokens + 5,
      completion_tokens: usage.completion_tokens - 5,
    });
    const events = await client.events("/v1/chat/completions", { ...body, ...more });
    expect(events.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe(text);
  }));

test("another beginning changes the answer, and unknown or too many ids are refused", () =>
  serving(async (client) => {
    const { text, content } = await answerOf(client);
    const [first, second] = content[0].top_logprobs.map((one: Json) => one.id);
    expect(second).not.toBe(first);
    const other = await answerOf(client, { continue_token_ids: [second] });
    expect(other.text).not.toBe(text);
    const refused = await client.post("/v1/chat/completions", { ...body, continue_token_ids: [1, 1e6] });
    expect(refused).toMatchObject({ status: 400, body: { error: { param: "continue_token_ids" } } });
    const full = { ...body, continue_token_ids: Array(1020).fill(first) };
    expect((await client.post("/v1/chat/completions", full)).body.error).toMatchObject({
      message: expect.stringMatching(/^messages: expected at most 1024 tokens, the context length, got \d+$/),
      param: "messages",
      code: "context_length_exceeded",
    });
  }));

test("a beginning is refused together with a format, which would hold for the rest of the answer only", () =>
  serving(async (client) => {
    const given = { ...body, max_tokens: 40, continue_token_ids: [...model.tokenizer!.encode('{"a": ')] };
    const tools = [{ type: "function", function: { name: "sea" } }];
    const type = "json_object";
    for (const more of [{ response_format: { type } }, { tools, tool_choice: "required" }]) {
      const { status, body: answer } = await client.post("/v1/chat/completions", { ...given, ...more });
      expect({ status, answer }).toMatchObject({ status: 400, answer: { error: { param: "continue_token_ids" } } });
    }
    expect((await client.post("/v1/chat/completions", { ...given, response_format: { type: "text" } })).status).toBe(
      200,
    );
  }));
