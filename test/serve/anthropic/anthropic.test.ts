// Anthropic's Messages API over plain HTTP.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type Client, chatModel, endlessModel, type Json, until, user, withServer } from "../helpers.ts";

const MESSAGES = "/v1/messages";
const COUNT = "/v1/messages/count_tokens";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const body = { max_tokens: 12, temperature: 0 };
const serving = (work: (client: Client) => Promise<void>, options = {}) => withServer(model, options, work);
const asked = (content: string) => ({ ...body, messages: user(content) });

/** Returns the answer of the library to a rendered prompt. */
const answerTo = async (prompt: string | number[], maxTokens = 12) =>
  (await model.complete(prompt, { maxTokens, temperature: 0, addSpecialTokens: false })).text;

async function message(client: Client, more: object): Promise<Json> {
  const { status, body: answer } = await client.post(MESSAGES, { ...body, ...more });
  expect({ status, answer }).toMatchObject({ status: 200 });
  return answer;
}

/** Returns the events of a stream, and checks that each is named by its type. */
async function namedEvents(client: Client, more: object): Promise<Json[]> {
  const { status, headers, body: text } = await client.post(MESSAGES, { ...body, ...more, stream: true });
  expect({ status, text }).toMatchObject({ status: 200 });
  expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  expect(text.endsWith("\n\n")).toBe(true);
  return (text as string)
    .slice(0, -2)
    .split("\n\n")
    .map((event) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
      const parsed = JSON.parse(data!);
      expect(parsed.type).toBe(name);
      return parsed;
    });
}

describe("an answer", () => {
  test("is a message with text, a stop reason and numbers of tokens", () =>
    serving(async (client) => {
      const answer = await message(client, asked("The cat"));
      const prompt = "[user]The cat[assistant]-";
      expect(answer).toEqual({
        id: expect.stringMatching(/^msg_[\da-f]{32}$/),
        type: "message",
        role: "assistant",
        model: "tiny",
        content: [{ type: "text", text: await answerTo(prompt) }],
        stop_reason: "max_tokens",
        stop_sequence: null,
        usage: {
          input_tokens: model.tokenizer!.encode(prompt, { addSpecialTokens: false }).length,
          output_tokens: 12,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 0,
        },
      });
    }));

  test("streamed as events gives the same message", () =>
    serving(async (client) => {
      const { id: _, usage, ...whole } = await message(client, asked("The dog"));
      const events = await namedEvents(client, asked("The dog"));
      const types = events.map((event) => event.type);
      const deltas = events.filter((event) => event.type === "content_block_delta");
      expect(types).toEqual([
        "message_start",
        "ping",
        "content_block_start",
        ...deltas.map(() => "content_block_delta"),
        "content_block_stop",
        "message_delta",
        "message_stop",
      ]);
      expect(deltas.length).toBeGreaterThan(1);
      expect(events[0].message).toMatchObject({ role: "assistant", content: [], stop_reason: null });
      expect(events[2]).toMatchObject({ index: 0, content_block: { type: "text", text: "" } });
      const last = events.at(-2);
      const text = deltas.map((event) => event.delta.text).join("");
      expect({ ...events[0].message, ...last.delta, content: [{ type: "text", text }] }).toMatchObject(whole);
      const { cache_read_input_tokens: read, input_tokens: input, output_tokens } = last.usage;
      expect([read + input, output_tokens]).toEqual([usage.input_tokens, usage.output_tokens]);
    }));

  test("counts tokens from the prefix cache separately", () =>
    serving(async (client) => {
      const first = await message(client, asked("The cat saw the sea and a house and ran home."));
      const again = await message(client, asked("The cat saw the sea and a house and ran home."));
      expect(first.usage.cache_read_input_tokens).toBe(0);
      expect(again.usage.cache_read_input_tokens).toBeGreaterThan(0);
      expect(again.usage.cache_read_input_tokens + again.usage.input_tokens).toBe(first.usage.input_tokens);
    }));

  test("begins with its numbers of tokens, also if it had to wait", () =>
    withServer(model, { maxConcurrent: 1 }, async (client) => {
      const long = { ...asked("The cat saw the sea and a house and ran home."), max_tokens: 200 };
      const streams = await Promise.all(Array.from({ length: 4 }, () => namedEvents(client, long)));
      const usages = streams.map((events) => [events[0].message.usage, events.at(-2).usage]);
      for (const [first, last] of usages) expect(first).toEqual({ ...last, output_tokens: 0 });
      expect(usages.filter(([first]) => first.cache_read_input_tokens > 0)).toHaveLength(3);
    }));

  test("names the stop sequence that ended it", () =>
    serving(async (client) => {
      const [{ text }] = (await message(client, asked("The cat"))).content;
      const stop = text.slice(4, 7);
      const cut = { ...asked("The cat"), stop_sequences: ["never written", stop] };
      const ended = { stop_reason: "stop_sequence", stop_sequence: stop };
      expect(await message(client, cut)).toMatchObject({
        content: [{ text: text.slice(0, text.indexOf(stop)) }],
        ...ended,
      });
      const events = await namedEvents(client, cut);
      expect(events.at(-2)).toMatchObject({ type: "message_delta", delta: ended });
    }));

  test("an answer that is empty has no blocks", () =>
    serving(async (client) => {
      const [{ text }] = (await message(client, asked("The cat"))).content;
      const cut = { ...asked("The cat"), stop_sequences: [text.slice(0, 3)] };
      expect((await message(client, cut)).content).toEqual([]);
      const types = (await namedEvents(client, cut)).map((event) => event.type);
      expect(types).toEqual(["message_start", "ping", "message_delta", "message_stop"]);
    }));

  test("continues a last message of the assistant", () =>
    serving(async (client) => {
      const messages = [...user("The cat"), { role: "assistant", content: "saw a" }];
      const { content } = await message(client, { messages });
      const ids = ["[user]The cat[assistant]-", "saw a"].flatMap((text) => [
        ...model.tokenizer!.encode(text, { addSpecialTokens: false }),
      ]);
      expect(content[0].text).toBe(await answerTo(ids));
    }));

  test("follows a JSON schema", () =>
    serving(async (client) => {
      const schema = {
        type: "object",
        properties: { a: { enum: [1, 2] } },
        required: ["a"],
        additionalProperties: false,
      };
      const format = { type: "json_schema", schema };
      const answer = await message(client, { ...asked("The cat"), output_config: { format }, max_tokens: 40 });
      expect([1, 2]).toContain(JSON.parse(answer.content[0].text).a);
      expect(answer.stop_reason).toBe("end_turn");
    }));
});

describe("a conversation", () => {
  /** The template prints all of its inputs, so an equal number of tokens shows that they are rendered as `prompt`. */
  const isRenderedAs = async (client: Client, given: object, prompt: string) => {
    const answer = await message(client, { max_tokens: 6, ...given });
    const { content, usage } = answer;
    const { length } = model.tokenizer!.encode(prompt, { addSpecialTokens: false, allowSpecial: true });
    expect(usage.input_tokens + usage.cache_read_input_tokens).toBe(length);
    expect(content[0]?.text ?? "").toBe(await answerTo(prompt, 6));
    const { max_tokens: _, temperature: __, ...counted } = { ...body, ...given };
    expect((await client.post(COUNT, counted)).body).toEqual({ input_tokens: length });
  };

  test("has a system prompt as a text or as blocks", () =>
    serving(async (client) => {
      const cached = { cache_control: { type: "ephemeral" } };
      const blocks = [
        { type: "text", text: "Be", ...cached },
        { type: "text", text: "kind" },
      ];
      await isRenderedAs(client, { system: "Be kind", messages: user("a") }, "[system]Be kind[user]a[assistant]-");
      await isRenderedAs(client, { system: blocks, messages: user("a") }, "[system]Be\nkind[user]a[assistant]-");
    }));

  test("has texts, blocks, and several messages of one role", () =>
    serving(async (client) => {
      const messages = [
        ...user("a"),
        { role: "user", content: [{ type: "text", text: "b", cache_control: { type: "ephemeral" } }] },
        { role: "assistant", content: [{ type: "text", text: "c" }] },
        { role: "system", content: "d" },
        ...user("e"),
      ];
      await isRenderedAs(client, { messages }, "[user]a\nb[assistant]c[system]d[user]e[assistant]-");
    }));

  test("has calls of tools and their results", () =>
    serving(async (client) => {
      const tools = [{ type: null, name: "sea", description: "Looks.", input_schema: { type: "object" } }];
      const call = { type: "tool_use", id: "toolu_1", name: "sea", input: { a: [1] } };
      const result = (more: object) => ({ type: "tool_result", tool_use_id: "toolu_1", ...more });
      const conversation = (...blocks: object[]) => ({
        tools,
        messages: [
          ...user("go"),
          { role: "assistant", content: [{ type: "text", text: "Well." }, call] },
          { role: "user", content: blocks },
        ],
      });
      const begin = '<tool_call>sea,[user]go[assistant]Well.!sea({"a": [1]})';
      await isRenderedAs(client, conversation(result({ content: "blue" })), `${begin}[tool]blue[assistant]-`);
      await isRenderedAs(client, conversation(result({})), `${begin}[tool][assistant]-`);
      const parts = result({
        content: [
          { type: "text", text: "x" },
          { type: "text", text: "y" },
        ],
        is_error: true,
      });
      await isRenderedAs(
        client,
        conversation({ type: "text", text: "So?" }, parts),
        `${begin}[tool]Error: x\ny[user]So?[assistant]-`,
      );
    }));

  test("a conversation without thinking turns the template's reasoning off", () =>
    serving(async (client) => {
      await isRenderedAs(client, { messages: user("a") }, "[user]a[assistant]-");
      const adaptive = { messages: user("a"), thinking: { type: "adaptive" } };
      await isRenderedAs(client, adaptive, "[user]a[assistant]");
    }));
});

describe("the server's rules hold", () => {
  const long = { max_tokens: 30_000, temperature: 0, messages: user("The cat") };
  let endless: LanguageModel;
  beforeAll(async () => {
    endless = await endlessModel({ maxPositionEmbeddings: 32_768 });
  });
  afterAll(() => endless.dispose());

  test("keys are checked, and errors have Anthropic's form and types", () =>
    serving(
      async (client) => {
        const typed = (type: string) => ({ type: "error", error: { type, message: expect.any(String) } });
        const key = (value: string) => ({ headers: { "x-api-key": value } });
        const asking = asked("a");
        expect(await client.post(MESSAGES, asking)).toMatchObject({ status: 401, body: typed("authentication_error") });
        expect(await client.post(MESSAGES, asking, key("no"))).toMatchObject({ status: 401 });
        expect(await client.post(COUNT, { messages: user("a") }, key("no"))).toMatchObject({ status: 401 });
        expect((await client.post(MESSAGES, asking, key("secret"))).status).toBe(200);
        const bearer = { headers: { authorization: "Bearer secret" } };
        expect((await client.post(MESSAGES, asking, bearer)).status).toBe(200);
        const other = await client.post(MESSAGES, { ...asking, model: "claude" }, key("secret"));
        expect(other).toMatchObject({ status: 404, body: typed("not_found_error") });
        const large = await client.post(MESSAGES, asked("x".repeat(30_000)), key("secret"));
        expect(large).toMatchObject({ status: 413, body: typed("request_too_large") });
        const overflow = await client.post(MESSAGES, asked("日".repeat(5000)), key("secret"));
        expect(overflow).toMatchObject({ status: 400, body: typed("invalid_request_error") });
        const method = await client.ask(MESSAGES, { headers: { "x-api-key": "secret" } });
        expect(method).toMatchObject({ status: 405, body: typed("invalid_request_error") });
        const origin = await client.post(MESSAGES, asking, { headers: { origin: "https://evil.example" } });
        expect(origin).toMatchObject({ status: 403, body: typed("permission_error") });
      },
      { apiKeys: ["secret"], maxBodyBytes: 20_000 },
    ));

  test("answers have at most the server's maximum number of tokens", () =>
    serving(
      async (client) => expect((await message(client, { ...asked("a"), max_tokens: 50 })).usage.output_tokens).toBe(3),
      {
        maxTokens: 3,
      },
    ));

  test("a full queue answers /v1/messages and count_tokens with 429", () =>
    withServer(endless, { maxConcurrent: 1, maxQueue: 0 }, async (client) => {
      const leaving = new AbortController();
      const first = client.post(MESSAGES, long, { signal: leaving.signal }).catch(() => "left");
      await until(() => client.server.stats.answers === 1, "the first answer");
      const full = { status: 429, body: { type: "error", error: { type: "rate_limit_error" } } };
      expect(await client.post(MESSAGES, asked("a"))).toMatchObject(full);
      expect(await client.post(COUNT, { messages: user("a") })).toMatchObject(full);
      leaving.abort();
      expect(await first).toBe("left");
      await until(() => client.server.stats.answers === 0, "its place to be free");
    }));

  test("an answer that the server ends early is an error event", () =>
    withServer(endless, {}, async (client) => {
      const streamed = client.post(MESSAGES, { ...long, stream: true });
      await until(() => client.server.stats.tokens > 8, "the answer to begin");
      await client.server.close(0);
      const [, name, data] = /event: (\w+)\ndata: ([^\n]*)\n\n$/.exec((await streamed).body)!;
      expect([name, JSON.parse(data!)]).toEqual([
        "error",
        {
          type: "error",
          error: { type: "overloaded_error", message: expect.any(String) },
          request_id: expect.any(String),
        },
      ]);
    }));

  test("models are listed in the form of the API that the request speaks", () =>
    serving(async (client) => {
      const headers = { "anthropic-version": "2023-06-01" };
      const entry = { type: "model", id: "tiny", display_name: "tiny", created_at: expect.stringMatching(/Z$/) };
      const page = { has_more: false, first_id: "tiny", last_id: "tiny" };
      expect((await client.ask("/v1/models", { headers })).body).toEqual({ data: [entry], ...page });
      expect((await client.ask("/v1/models/tiny", { headers })).body).toEqual(entry);
      const named = await client.ask("/v1/models", { headers: { ...headers, "x-request-id": "mine" } });
      expect(named.headers.get("request-id")).toBe("mine");
      const given = { ...headers, "x-request-id": "yours" };
      expect((await client.ask("/v1/models/other", { headers: given })).body.request_id).toBe("yours");
      const missing = await client.ask("/v1/models/other", { headers });
      expect(missing.body.request_id).toBe(missing.headers.get("request-id"));
      expect(missing).toMatchObject({ status: 404, body: { type: "error", error: { type: "not_found_error" } } });
      expect((await client.ask("/v1/models")).body).toMatchObject({ object: "list", data: [{ id: "tiny" }] });
      const unknown = await client.ask("/v1/nothing", { headers });
      expect(unknown).toMatchObject({ status: 404, body: { type: "error" } });
      // A path of another API keeps that API's form.
      const chat = await client.post("/v1/chat/completions", {}, { headers });
      expect(chat).toMatchObject({ status: 400, body: { error: { param: "messages" } } });
    }));
});
