// OpenAI's Responses API over HTTP: what the model sees, and the form of responses and streams.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { type Client, chatModel, clientOf, greedy, type Json, withServer } from "../helpers.ts";
import { namedEvents, RESPONSES, tool } from "./helpers.ts";

const greedily = { max_output_tokens: 24, temperature: 0, ignore_eos: true };
let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await chatModel();
  client = clientOf(await serve(model, { port: 0, modelName: "tiny", aliases: ["gpt-4o"] }));
});
afterAll(async () => {
  await client.server.close(0);
  await model.dispose();
});

async function respond(body: object): Promise<Json> {
  const { status, body: response } = await client.post(RESPONSES, { ...greedily, ...body });
  expect({ status, response }).toMatchObject({ status: 200 });
  return response;
}

async function streamed(body: object): Promise<Json[]> {
  const { status, headers, body: text } = await client.post(RESPONSES, { ...greedily, ...body, stream: true });
  expect({ status, text }).toMatchObject({ status: 200 });
  expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  return namedEvents(text);
}

const textOf = (response: Json): string => response.output.at(-1).content[0].text;
/** The model's answer to a hand-written prompt. */
const answerTo = (prompt: string) =>
  model.complete(model.tokenizer!.encode(prompt, { addSpecialTokens: false }), greedy);
const said = async (prompt: string) => (await answerTo(prompt)).text;

describe("a response", () => {
  test("has the fields of OpenAI's API", async () => {
    const response = await respond({ input: "hi", metadata: { a: "b" }, user: "u", instructions: "Be brief" });
    const { usage } = await model.complete("[system]Be brief[user]hi[assistant]", {
      ...greedy,
      addSpecialTokens: false,
    });
    expect(response).toEqual({
      id: expect.stringMatching(/^resp_[\da-f]{48}$/),
      object: "response",
      created_at: expect.closeTo(Date.now() / 1000, -2),
      completed_at: null,
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      error: null,
      background: false,
      model: "tiny",
      instructions: "Be brief",
      max_output_tokens: 24,
      metadata: { a: "b" },
      output: [
        {
          id: expect.stringMatching(/^msg_[\da-f]{48}$/),
          type: "message",
          role: "assistant",
          status: "incomplete",
          content: [
            {
              type: "output_text",
              text: await said("[system]Be brief[user]hi[assistant]"),
              annotations: [],
              logprobs: [],
            },
          ],
        },
      ],
      parallel_tool_calls: true,
      previous_response_id: null,
      reasoning: { effort: null, summary: null },
      store: true,
      temperature: 0,
      text: { format: { type: "text" } },
      tool_choice: "auto",
      tools: [],
      top_logprobs: 0,
      top_p: null,
      truncation: "disabled",
      usage: {
        input_tokens: usage.promptTokens,
        input_tokens_details: { cached_tokens: expect.any(Number) },
        output_tokens: 24,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.promptTokens + 24,
      },
    });
  });

  test("is completed if the model ends it", async () => {
    const stop = textOf(await respond({ input: "hi" })).slice(3, 6);
    const response = await respond({ input: "hi", stop });
    expect(response).toMatchObject({
      status: "completed",
      incomplete_details: null,
      output: [{ status: "completed" }],
    });
    expect(response.completed_at).toBeGreaterThanOrEqual(response.created_at);
  });

  test("streams typed events in order, which end with the same response", async () => {
    const whole = await respond({ input: "hi" });
    const events = await streamed({ input: "hi", model: "gpt-4o" });
    const types = events.map(({ type }) => type.replace("response.", ""));
    expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
      ...["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"],
      ...["output_text.done", "content_part.done", "output_item.done", "incomplete"],
    ]);
    // Tokens that are ready together share an event.
    expect(types.filter((type) => type === "output_text.delta").length).toBeGreaterThan(1);
    const [created, inProgress] = events;
    for (const { response } of [created, inProgress])
      expect(response).toMatchObject({ status: "in_progress", output: [], usage: null, model: "tiny" });
    const { response } = events.at(-1);
    expect(response.id).toBe(created.response.id);
    const differs = { id: "", created_at: 0, completed_at: 0, usage: null };
    const bare = (one: Json) => ({ ...one, ...differs, output: one.output.map((item: Json) => ({ ...item, id: "" })) });
    expect(bare(response)).toEqual(bare(whole));
    expect(response.usage.output_tokens).toBe(24);
    const deltas = events.filter(({ type }) => type.endsWith("output_text.delta"));
    expect(deltas.map(({ delta }) => delta).join("")).toBe(textOf(whole));
  });

  test("has log-probabilities if include or top_logprobs asks for them", async () => {
    const include = ["message.output_text.logprobs", "reasoning.encrypted_content"];
    const logprobsOf = async (body: object) => (await respond({ input: "hi", ...body })).output[0].content[0].logprobs;
    const plain = await logprobsOf({ include });
    expect(plain).toHaveLength(24);
    expect(plain[0]).toMatchObject({ token: expect.any(String), logprob: expect.any(Number), top_logprobs: [] });
    expect((await logprobsOf({ top_logprobs: 2 }))[0].top_logprobs).toHaveLength(2);
    expect(await logprobsOf({ include: [] })).toEqual([]);
    const events = await streamed({ input: "hi", include });
    const parts = events.filter(({ type }) => type.endsWith("output_text.delta")).flatMap(({ logprobs }) => logprobs);
    expect(parts).toEqual(plain);
  });
});

describe("a request for a response", () => {
  const part = (type: string, text: string) => ({ type, [type === "refusal" ? "refusal" : "text"]: text });
  test.each<[string, object, string]>([
    ["is a text", { input: "a" }, "[user]a[assistant]"],
    ["has instructions before it", { input: "a", instructions: "I" }, "[system]I[user]a[assistant]"],
    [
      "joins instructions and a system message, because many templates accept only one",
      {
        input: [
          { role: "developer", content: "D" },
          { role: "user", content: "a" },
        ],
        instructions: "I",
      },
      "[system]I\n\nD[user]a[assistant]",
    ],
    [
      "has messages with parts",
      {
        input: [
          { role: "user", content: [part("input_text", "a"), part("input_text", "b")] },
          { type: "message", role: "assistant", id: "msg_1", status: "completed", content: [part("output_text", "c")] },
          { role: "assistant", content: [part("refusal", "no")] },
          { role: "user", content: "d" },
        ],
      },
      "[user]a\nb[assistant]c[assistant]no[user]d[assistant]",
    ],
    [
      "has calls, which join the assistant's message, and their outputs",
      {
        input: [
          { role: "user", content: "a" },
          { role: "assistant", content: "b" },
          { type: "function_call", call_id: "1", name: "f", arguments: '{"x":1}' },
          { type: "function_call", call_id: "2", name: "g", arguments: "{}" },
          { type: "function_call_output", call_id: "1", output: "sea" },
          { type: "function_call_output", call_id: "2", output: [part("input_text", "sun")] },
          { type: "function_call", call_id: "3", name: "h", arguments: "{}" },
          { type: "function_call_output", call_id: "3", output: "" },
        ],
      },
      '[user]a[assistant]b!f({"x": 1})!g({})[tool]sea[tool]sun[assistant]!h({})[tool][assistant]',
    ],
    ["has tools", { input: "a", tools: [tool] }, "<tool_call>sea,[user]a[assistant]"],
    ["has no tools with tool_choice none", { input: "a", tools: [tool], tool_choice: "none" }, "[user]a[assistant]"],
    [
      "has only the allowed tools",
      {
        input: "a",
        tools: [tool, { ...tool, name: "sun" }],
        tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "sun" }] },
      },
      "<tool_call>sun,[user]a[assistant]",
    ],
    ["has the effort as a variable", { input: "a", reasoning: { effort: "none" } }, "[user]a[assistant]-"],
    [
      "prefers chat_template_kwargs to reasoning.effort",
      { input: "a", reasoning: { effort: "none" }, chat_template_kwargs: { enable_thinking: true } },
      "[user]a[assistant]",
    ],
  ])("gives a conversation that %s", async (_, body, prompt) => {
    const response = await respond(body);
    expect(textOf(response)).toBe(await said(prompt));
  });

  test("is counted without an answer", async () => {
    const first = await respond({ input: "a" });
    const body = { input: "b", tools: [tool], previous_response_id: first.id, instructions: "I" };
    const { usage } = await respond(body);
    expect(await client.post(`${RESPONSES}/input_tokens`, body)).toMatchObject({
      status: 200,
      body: { object: "response.input_tokens", input_tokens: usage.input_tokens },
    });
    const refused = await client.post(`${RESPONSES}/input_tokens`, { input: "cat ".repeat(2000) });
    expect(refused).toMatchObject({
      status: 400,
      body: { error: { param: "input", message: expect.stringMatching(/^input: /) } },
    });
  });

  test("loses its oldest turns with truncation auto, and is refused without it", async () => {
    const turn = (text: string) => ({ role: "user", content: `${text} ${"cat ".repeat(300)}` });
    const input = [{ role: "system", content: "S" }, turn("a"), turn("b"), turn("c"), { role: "user", content: "d" }];
    const long = { input: [...input.slice(0, 4), ...input.slice(1, 4), ...input.slice(1)] };
    const message = expect.stringMatching(/^input: expected at most 1024 tokens, the context length, got /);
    const refused = { status: 400, body: { error: { message, param: "input", code: "context_length_exceeded" } } };
    expect(await client.post(RESPONSES, long)).toMatchObject(refused);
    const { usage } = await respond({ ...long, truncation: "auto" });
    expect(usage.input_tokens).toBeLessThanOrEqual(1024 - 24);
    const one = { ...long, input: [turn("a".repeat(4000))], truncation: "auto" };
    expect(await client.post(RESPONSES, one)).toMatchObject({
      status: 400,
      body: { error: { code: "context_length_exceeded" } },
    });
  });
});

describe("tools and formats", () => {
  test.each<[string, unknown]>([
    ["required", "required"],
    ["a function", { type: "function", name: "sea" }],
    [
      "allowed tools that are required",
      { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "sea" }] },
    ],
  ])("tool_choice may be %s", async (_, tool_choice) => {
    const tools = [tool, ...(tool_choice === "required" ? [] : [{ ...tool, name: "sun" }])];
    const body = { input: "hi", tools, tool_choice, max_output_tokens: 200, ignore_eos: false };
    const { output, status } = await respond(body);
    expect({ output, status }).toEqual({
      status: "completed",
      output: [
        {
          id: expect.stringMatching(/^fc_/),
          type: "function_call",
          status: "completed",
          call_id: expect.stringMatching(/^call_/),
          name: "sea",
          arguments: "{}",
        },
      ],
    });
    const events = await streamed(body);
    const types = events.map(({ type }) => type.replace("response.", ""));
    // Arguments can arrive in any number of deltas.
    expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
      ...["created", "in_progress", "output_item.added", "function_call_arguments.delta"],
      ...["function_call_arguments.done", "output_item.done", "completed"],
    ]);
    expect(events.map(({ delta }) => delta ?? "").join("")).toBe("{}");
    expect(events.at(-3)).toMatchObject({ name: "sea", arguments: "{}" });
  });

  test("parallel_tool_calls allows several required calls", async () => {
    const body = { input: "hi", tools: [tool], tool_choice: "required", parallel_tool_calls: true };
    const { output } = await respond({ ...body, max_output_tokens: 400, temperature: 20, seed: 3, ignore_eos: false });
    for (const { type, name } of output) expect([type, name]).toEqual(["function_call", "sea"]);
    expect(output.length).toBeGreaterThan(1);
  });

  test("text.format gives JSON", async () => {
    const schema = { type: "object", properties: { n: { type: "integer", minimum: 0, maximum: 9 } }, required: ["n"] };
    const format = { type: "json_schema", name: "n", strict: true, schema: { ...schema, additionalProperties: false } };
    const ask = { input: "hi", max_output_tokens: 200, ignore_eos: false };
    const response = await respond({ ...ask, text: { format } });
    expect(JSON.parse(textOf(response))).toEqual({ n: expect.any(Number) });
    expect(response.text).toEqual({ format });
    const text = textOf(await respond({ ...ask, text: { format: { type: "json_object" }, verbosity: "medium" } }));
    expect(text).toMatch(/^\s*\{/);
    expect((await respond({ input: "hi", text: { format: null } })).text).toEqual({ format: { type: "text" } });
  });
});

describe("a stored response", () => {
  test("continues with previous_response_id, without its instructions", async () => {
    const first = await respond({ input: "a", instructions: "I" });
    const second = await respond({ input: "b", previous_response_id: first.id });
    const prompt = `[user]a[assistant]${textOf(first)}[user]b[assistant]`;
    expect(textOf(second)).toBe(await said(prompt));
    expect(second.previous_response_id).toBe(first.id);
    const third = (await streamed({ input: "c", instructions: "J", previous_response_id: second.id })).at(-1).response;
    expect(textOf(third)).toBe(await said(`[system]J${prompt}${textOf(second)}[user]c[assistant]`));
  });

  test("is read, listed and deleted by its id", async () => {
    const path = (id: string, rest = "") => `${RESPONSES}/${id}${rest}`;
    const first = await respond({ input: "a", include: ["message.output_text.logprobs"] });
    const second = await respond({ input: [{ role: "user", content: "b" }], previous_response_id: first.id });
    const stored = (await client.ask(path(second.id))).body;
    expect(stored).toEqual(second);
    // Log-probabilities are not stored.
    expect((await client.ask(path(first.id))).body.output[0].content[0]).toEqual({
      ...first.output[0].content[0],
      logprobs: [],
    });
    const list = (query: string) => client.ask(path(second.id, `/input_items${query}`)).then(({ body }) => body);
    const all = await list("?order=asc");
    expect(all).toMatchObject({ object: "list", has_more: false, first_id: all.data[0].id });
    expect(all.data.map((item: Json) => [item.role, item.content[0].text ?? item.content])).toEqual([
      ["user", "a"],
      ["assistant", textOf(first)],
      ["user", "b"],
    ]);
    expect((await list("")).data).toEqual(all.data.toReversed());
    const page = await list(`?order=asc&limit=1&after=${all.data[0].id}`);
    expect(page).toMatchObject({ data: [all.data[1]], has_more: true, last_id: all.data[1].id });
    expect(await list("?limit=0")).toMatchObject({ error: { param: "limit" } });
    expect(await list("?order=up")).toMatchObject({ error: { param: "order" } });
    expect(await list("?after=x")).toMatchObject({ error: { param: "after" } });
    expect((await client.ask(path(second.id, "?stream=true"))).body.error).toMatchObject({ param: "stream" });
    const deleted = await client.ask(path(second.id), { method: "DELETE" });
    expect(deleted.body).toEqual({ id: second.id, object: "response", deleted: true });
    for (const init of [{}, { method: "DELETE" }])
      expect(await client.ask(path(second.id), init)).toMatchObject({
        status: 404,
        body: { error: { type: "invalid_request_error", code: "response_not_found" } },
      });
    expect((await client.ask(path(first.id))).status).toBe(200);
  });

  test("provides the items that references name", async () => {
    const first = await respond({ input: "a" });
    const reference = { type: "item_reference", id: first.output[0].id };
    for (const one of [reference, { id: reference.id }]) {
      const input = [{ role: "user", content: "a" }, one, { role: "user", content: "b" }];
      expect(textOf(await respond({ input }))).toBe(await said(`[user]a[assistant]${textOf(first)}[user]b[assistant]`));
    }
  });

  test("is not kept with store false", async () => {
    const { id, store, output } = await respond({ input: "a", store: false });
    expect(store).toBe(false);
    expect((await client.ask(`${RESPONSES}/${id}`)).status).toBe(404);
    const previous = { input: "b", previous_response_id: id };
    expect(await client.post(RESPONSES, previous)).toMatchObject({
      status: 404,
      body: {
        error: {
          ...{ type: "invalid_request_error", param: "previous_response_id" },
          code: "previous_response_not_found",
        },
      },
    });
    const input = [{ type: "item_reference", id: output[0].id }];
    expect(await client.post(RESPONSES, { input })).toMatchObject({
      status: 404,
      body: { error: { param: "input[0].id", code: "item_not_found" } },
    });
  });

  test("is readable with its own API key only", () =>
    withServer(model, { apiKeys: ["one", "two"] }, async (own) => {
      const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
      const { body } = await own.post(RESPONSES, { input: "a", max_output_tokens: 1 }, as("one"));
      const path = `${RESPONSES}/${body.id}`;
      const next = { input: [{ role: "user", content: "b" }], previous_response_id: body.id };
      expect((await own.ask(path, as("two"))).status).toBe(404);
      expect((await own.ask(`${path}/input_items`, as("two"))).status).toBe(404);
      expect((await own.ask(path, { ...as("two"), method: "DELETE" })).status).toBe(404);
      expect((await own.post(RESPONSES, next, as("two"))).status).toBe(404);
      const reference = { input: [{ type: "item_reference", id: body.output[0].id }] };
      expect((await own.post(RESPONSES, reference, as("two"))).status).toBe(404);
      expect((await own.ask(path)).status).toBe(401);
      expect((await own.ask(path, as("one"))).status).toBe(200);
      expect((await own.ask(path, { headers: { "x-api-key": "one" } })).status).toBe(200);
      expect((await own.post(RESPONSES, next, as("one"))).status).toBe(200);
    }));

  test("counts towards the limits of its server's store", () =>
    withServer(model, { maxBodyBytes: 16 << 20 }, async (own) => {
      const input = "a".repeat(100);
      const tools = [{ ...tool, description: "x".repeat(12_000_000) }];
      const ask = { max_output_tokens: 1, input, tools, tool_choice: "none" };
      const ids: string[] = [];
      for (let i = 0; i < 4; i++) ids.push((await own.post(RESPONSES, ask)).body.id);
      const statuses = [];
      for (const id of ids) statuses.push((await own.ask(`${RESPONSES}/${id}`)).status);
      expect(statuses).toEqual([404, 404, 200, 200]);
    }));
});
