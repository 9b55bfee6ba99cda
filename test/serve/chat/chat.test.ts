// Chat completions over HTTP: the prompt that the model sees, and the form of its answers.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { leastOf, longestTurn, saysTurns } from "../../helpers/clock.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { type Client, chatModel, clientOf, greedily, greedy, type Json, user, withServer } from "../helpers.ts";

const CHAT = "/v1/chat/completions";

let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await chatModel();
  client = clientOf(await serve(model, { port: 0, modelName: "tiny" }));
});
afterAll(async () => {
  await client.server.close();
  await model.dispose();
});

/** The model's answer to a hand-written prompt. */
const answerTo = (prompt: string, options: object = {}) =>
  model.complete(model.tokenizer!.encode(prompt, { addSpecialTokens: false }), { ...greedy, ...options });
const contentOf = (answer: Json): string => answer.choices[0].message.content;

describe("a chat request", () => {
  test.each<[string, object, string]>([
    ["has the text of a message", { messages: user("hi") }, "[user]hi[assistant]"],
    [
      "has all roles, text parts and tool results",
      {
        messages: [
          { role: "developer", content: "D" },
          {
            role: "user",
            content: [
              { type: "text", text: "a" },
              { type: "text", text: "b" },
            ],
          },
          {
            role: "assistant",
            content: null,
            refusal: null,
            tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: '{"x":1}' } }],
          },
          { role: "tool", tool_call_id: "1", content: "sea", name: null },
          { role: "assistant", content: "so" },
        ],
      },
      '[system]D[user]a\nb[assistant]!f({"x": 1})[tool]sea[assistant]so[assistant]',
    ],
    [
      "has tools and custom template variables",
      {
        messages: user("hi"),
        tools: [{ type: "function", function: { name: "sea", parameters: {} } }],
        chat_template_kwargs: { enable_thinking: false },
      },
      "<tool_call>sea,[user]hi[assistant]-",
    ],
    [
      "has no tools with tool_choice none",
      { messages: user("hi"), tools: [{ type: "function", function: { name: "sea" } }], tool_choice: "none" },
      "[user]hi[assistant]",
    ],
    [
      "ignores parameters without meaning for the server",
      {
        messages: user("hi"),
        model: "tiny",
        user: "u",
        store: false,
        metadata: { a: "b" },
        service_tier: "auto",
        parallel_tool_calls: true,
        modalities: ["text"],
        response_format: { type: "text" },
        seed: null,
        tools: null,
        stream_options: null,
      },
      "[user]hi[assistant]",
    ],
  ])("gives a prompt that %s", async (_, body, prompt) => {
    const answer = await client.chat({ ...body, ...greedily });
    const expected = await answerTo(prompt);
    expect(answer).toEqual({
      id: expect.stringMatching(/^chatcmpl-[\da-f]{32}$/),
      object: "chat.completion",
      created: expect.closeTo(Date.now() / 1000, -2),
      model: "tiny",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: expected.text, refusal: null },
          logprobs: null,
          finish_reason: "length",
        },
      ],
      usage: {
        prompt_tokens: expected.usage.promptTokens,
        completion_tokens: 24,
        total_tokens: expected.usage.promptTokens + 24,
        prompt_tokens_details: { cached_tokens: expect.any(Number) },
      },
    });
  });

  test("treats special tokens in a message as text", async () => {
    const eos = model.tokenizer!.config.eosToken!;
    const { usage } = await client.chat({ messages: user(`a${eos}b`), max_tokens: 1 });
    const plain = await client.chat({ messages: user("ab"), max_tokens: 1 });
    expect(usage.prompt_tokens).toBeGreaterThan(plain.usage.prompt_tokens + 2);
  });

  test("is the plain text of the messages for a model without a template", async () => {
    await using base = tinyModel({ tokenizer: await tinyTokenizer() });
    await using server = await serve(base, { port: 0 });
    const answer = await clientOf(server).chat({ messages: user("The cat"), ...greedily });
    expect(contentOf(answer)).toBe((await base.complete("The cat", greedy)).text);
    const tools = [{ type: "function", function: { name: "f" } }];
    const refused = await clientOf(server).post(CHAT, { messages: user("x"), tools });
    expect(refused).toMatchObject({ status: 400, body: { error: { message: expect.stringMatching(/template/) } } });
  });
});

describe("a streamed chat", () => {
  test("concatenates to the answer", async () => {
    const events = await client.events(CHAT, { messages: user("hi"), ...greedily });
    const { text } = await answerTo("[user]hi[assistant]");
    for (const event of events) {
      expect(event).toMatchObject({ id: events[0].id, object: "chat.completion.chunk", model: "tiny" });
      expect(event).not.toHaveProperty("usage");
      expect(event.choices).toHaveLength(1);
    }
    const choices = events.map((event) => event.choices[0]);
    expect(choices[0]).toEqual({
      index: 0,
      delta: { role: "assistant", content: "" },
      logprobs: null,
      finish_reason: null,
    });
    expect(choices.at(-1)).toEqual({ index: 0, delta: {}, logprobs: null, finish_reason: "length" });
    const middle = choices.slice(1, -1);
    expect(middle.map((choice) => choice.delta.content).join("")).toBe(text);
    expect(middle.every((choice) => choice.delta.content !== "" && choice.finish_reason === null)).toBe(true);
  });

  test("ends with usage on request", async () => {
    const body = { messages: user("hi"), ...greedily, stream_options: { include_usage: true } };
    const events = await client.events(CHAT, body);
    expect(events.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 24 } });
    const before = events.slice(0, -1);
    expect(before.map(({ usage }) => usage)).toEqual(before.map(() => null));
    expect(before.at(-1).choices[0].finish_reason).toBe("length");
  });

  test("contains every choice", async () => {
    const body = { messages: user("hi"), max_tokens: 20, temperature: 1, seed: 5, n: 3 };
    const whole = await client.chat(body);
    const events = await client.events(CHAT, body);
    const texts = [0, 1, 2].map((index) =>
      events
        .map((event) => event.choices[0])
        .filter((choice) => choice.index === index)
        .map((choice) => choice.delta.content ?? "")
        .join(""),
    );
    expect(whole.choices.map((choice: Json) => choice.message.content)).toEqual(texts);
    expect(new Set(texts).size).toBe(3);
    const { usage } = whole;
    expect(usage.completion_tokens).toBeGreaterThan(20);
    expect(usage.prompt_tokens).toBe(
      model.tokenizer!.encode("[user]hi[assistant]", { addSpecialTokens: false }).length,
    );
  });
});

describe("parameters of a chat request", () => {
  const prompt = "[user]The cat saw[assistant]";
  const messages = user("The cat saw");

  test("have the same effect as in the library", async () => {
    const bias = { 5: 4, 17: -100 };
    const body = {
      ...{ messages, max_completion_tokens: 20, temperature: 0.9, top_p: 0.9, top_k: 50, min_p: 0.01, seed: 3 },
      ...{ presence_penalty: 0.5, frequency_penalty: 0.3, repetition_penalty: 1.1, logit_bias: bias, ignore_eos: true },
    };
    const options = {
      ...{ maxTokens: 20, temperature: 0.9, topP: 0.9, topK: 50, minP: 0.01, seed: 3 },
      ...{ presencePenalty: 0.5, frequencyPenalty: 0.3, repetitionPenalty: 1.1, logitBias: bias },
    };
    expect(contentOf(await client.chat(body))).toBe((await answerTo(prompt, options)).text);
    for (const name of ["top_k", "temperature", "logit_bias", "seed", "repetition_penalty", "presence_penalty"]) {
      const { [name as "seed"]: _, ...less } = body;
      expect([name, contentOf(await client.chat({ ...less, seed: name === "seed" ? 4 : 3 }))]).not.toEqual([
        name,
        contentOf(await client.chat(body)),
      ]);
    }
  });

  test("stop accepts one or several strings, streamed or not", async () => {
    const { text } = await answerTo(prompt);
    const stop = text.slice(8, 11);
    const expected = text.slice(0, text.indexOf(stop));
    for (const given of [stop, ["never comes", stop]]) {
      const body = { messages, ...greedily, stop: given };
      const answer = await client.chat(body);
      expect(answer.choices[0]).toMatchObject({ message: { content: expected }, finish_reason: "stop" });
      const events = await client.events(CHAT, body);
      expect(events.map((event) => event.choices[0].delta.content ?? "").join("")).toBe(expected);
      expect(events.at(-1).choices[0].finish_reason).toBe("stop");
    }
  });

  test("max_tokens is only an upper bound, and the default limit is the context", async () => {
    for (const more of [{ max_tokens: 100_000 }, {}]) {
      const answer = await client.chat({ messages, temperature: 0, ignore_eos: true, ...more });
      expect(answer.choices[0].finish_reason).toBe("length");
      expect(answer.usage.total_tokens).toBe(model.contextLength + 1);
    }
    const { body, status } = await client.post(CHAT, { messages: user("The cat saw the sea. ".repeat(400)) });
    expect({ status, body }).toMatchObject({
      status: 400,
      body: { error: { type: "invalid_request_error", param: "messages", code: "context_length_exceeded" } },
    });
    expect(body.error.message).toMatch(/^messages: expected at most 1024 tokens, the context length, got \d+$/);
  });

  test("logprobs returns log-probabilities", async () => {
    const expected = await answerTo(prompt, { topLogprobs: 3 });
    const { content } = (await client.chat({ messages, ...greedily, logprobs: true, top_logprobs: 3 })).choices[0]
      .logprobs;
    expect(content.map((entry: Json) => entry.logprob)).toEqual(expected.logprobs.map((v) => expect.closeTo(v, 4)));
    expect(content.map((entry: Json) => entry.token)).toEqual(
      expected.tokens.map((id) => model.tokenizer!.decode([id])),
    );
    for (const [i, entry] of content.entries()) {
      expect(entry.top_logprobs).toHaveLength(3);
      expect(entry.top_logprobs[0].token).toBe(expected.top![i]![0]!.text);
      expect(entry.bytes === null || Buffer.from(entry.bytes).toString() === entry.token).toBe(true);
    }
    const events = await client.events(CHAT, { messages, ...greedily, logprobs: true, top_logprobs: 3 });
    const streamed = events.flatMap((event) => event.choices[0].logprobs?.content ?? []);
    expect(streamed.map((entry) => entry.token)).toEqual(content.map((entry: Json) => entry.token));
    const without = (await client.chat({ messages, ...greedily, logprobs: true })).choices[0].logprobs.content;
    expect(without).toHaveLength(24);
    expect(without[0].top_logprobs).toEqual([]);
  });

  test("a tool call without arguments is rejected with the expected type", async () => {
    const call = { id: "a", type: "function", function: { name: "f" } };
    const { body } = await client.post(CHAT, { messages: [...messages, { role: "assistant", tool_calls: [call] }] });
    expect(body.error.message).toMatch(/arguments: expected a text or an object, got nothing$/);
  });

  test.each<[string, object, string | null, string]>([
    ["messages", {}, "messages", "invalid_value"],
    ["messages", { messages: [] }, "messages", "invalid_value"],
    ["messages", { messages: "hi" }, "messages", "invalid_value"],
    ["an unknown role", { messages: [{ role: "robot", content: "" }] }, "messages[0].role", "invalid_value"],
    ["content of another type", { messages: [{ role: "user", content: 7 }] }, "messages[0].content", "invalid_value"],
    ["missing content", { messages: [{ role: "user" }] }, "messages[0].content", "invalid_value"],
    [
      "a tool result without content",
      { messages: [{ role: "tool", content: null }] },
      "messages[0].content",
      "invalid_value",
    ],
    [
      "an image",
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
      "messages[0].content[0].type",
      "unsupported",
    ],
    ["max_tokens", { messages, max_tokens: 0 }, "max_tokens", "invalid_value"],
    ["max_tokens", { messages, max_tokens: "5" }, "max_tokens", "invalid_value"],
    ["temperature", { messages, temperature: -1 }, "temperature", "invalid_value"],
    ["temperature", { messages, temperature: "1" }, "temperature", "invalid_value"],
    ["top_p", { messages, top_p: 0 }, "top_p", "invalid_value"],
    ["a top_p that rounds to 0 in f32", { messages, top_p: 1e-300 }, "top_p", "invalid_value"],
    ["n", { messages, n: 17 }, "n", "invalid_value"],
    ["n", { messages, n: 0 }, "n", "invalid_value"],
    ["stop", { messages, stop: ["a", "b", "c", "d", "e"] }, "stop", "invalid_value"],
    ["stop", { messages, stop: "" }, "stop", "invalid_value"],
    ["seed", { messages, seed: 1.5 }, "seed", "invalid_value"],
    ["logit_bias", { messages, logit_bias: { 999999: 1 } }, "logit_bias", "invalid_value"],
    ["logit_bias", { messages, logit_bias: { a: 1 } }, "logit_bias", "invalid_value"],
    ["logit_bias", { messages, logit_bias: { 1: 101 } }, "logit_bias", "invalid_value"],
    ["top_logprobs", { messages, top_logprobs: 2 }, "top_logprobs", "invalid_value"],
    ["top_logprobs", { messages, logprobs: true, top_logprobs: 21 }, "top_logprobs", "invalid_value"],
    ["stream", { messages, stream: "yes" }, "stream", "invalid_value"],
    ["stream_options", { messages, stream_options: { include_usage: true } }, "stream_options", "invalid_value"],
    ["tools", { messages, tools: [{ type: "web_search" }] }, "tools", "invalid_value"],
    ["tool_choice", { messages, tool_choice: "required" }, "tools", "invalid_value"],
    ["tool_choice", { messages, tools: [], tool_choice: "required" }, "tools", "invalid_value"],
    ["tool_choice", { messages, tool_choice: "any" }, "tool_choice", "invalid_value"],
    ["tool_choice", { messages, tool_choice: { type: "function" } }, "tool_choice", "invalid_value"],
    ["tool_choice", { messages, tool_choice: { type: "allowed_tools" } }, "tool_choice.type", "unsupported"],
    ["parallel_tool_calls", { messages, parallel_tool_calls: 1 }, "parallel_tool_calls", "invalid_value"],
    ["functions", { messages, functions: [] }, "functions", "unsupported"],
    ["response_format", { messages, response_format: "json" }, "response_format", "invalid_value"],
    ["response_format", { messages, response_format: { type: "yaml" } }, "response_format.type", "invalid_value"],
    [
      "response_format",
      { messages, response_format: { type: "json_schema" } },
      "response_format.json_schema",
      "invalid_value",
    ],
    [
      "response_format",
      { messages, response_format: { type: "json_schema", json_schema: null } },
      "response_format.json_schema",
      "invalid_value",
    ],
    [
      "response_format",
      { messages, response_format: { type: "json_schema", json_schema: { name: "x", schema: { not: {} } } } },
      "response_format",
      "unsupported",
    ],
    ["modalities", { messages, modalities: ["text", "audio"] }, "modalities", "unsupported"],
    ["an unknown parameter", { messages, temprature: 1 }, "temprature", "unknown_parameter"],
    ["chat_template_kwargs", { messages, chat_template_kwargs: [] }, "chat_template_kwargs", "invalid_value"],
  ])("an invalid parameter is reported with its name: %s", async (_, body, param, code) => {
    const { status, body: answer } = await client.post(CHAT, body);
    expect({ status, answer }).toEqual({
      status: 400,
      answer: { error: { message: expect.any(String), type: "invalid_request_error", param, code } },
    });
    expect(answer.error.message).toContain(param);
    expect(answer.error.message.length).toBeLessThan(400);
  });

  test("response_format constrains the answer, streamed or not", async () => {
    const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
    const response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
    const body = { messages, response_format, temperature: 1, seed: 3, max_tokens: 100 };
    const { status, body: answer } = await client.post(CHAT, body);
    expect(status).toBe(200);
    const [{ message, finish_reason }] = answer.choices;
    expect(finish_reason).toBe("stop");
    expect(JSON.parse(message.content)).toEqual({ ok: expect.any(Boolean) });
    const chunks = await client.events(CHAT, body);
    const text = chunks.map((chunk: Json) => chunk.choices?.[0]?.delta.content ?? "").join("");
    expect(text).toBe(message.content);
    const object = await client.post(CHAT, { ...body, response_format: { type: "json_object" }, max_tokens: 20 });
    expect(object.body.choices[0].message.content).toMatch(/^\{/);
  });

  test.skipIf(!saysTurns)("a schema that compiles slowly does not block other requests", async () => {
    let tries = 0;
    const ask = async () => {
      const schema = { type: "string", pattern: `(a{1,200}){1,200}${"(?:)".repeat(++tries)}` };
      const body = { messages, response_format: { type: "json_schema", json_schema: { name: "a", schema } } };
      expect(await client.post(CHAT, body)).toMatchObject({
        status: 400,
        body: { error: { param: "response_format" } },
      });
    };
    expect(await leastOf(75, () => longestTurn(ask), 4)).toBeLessThan(75);
  });

  test("an unknown model is a 404 that names the models and says how to give an alias", async () => {
    const { status, body } = await client.post(CHAT, { model: "gpt-4o", messages });
    expect([status, body.error]).toMatchObject([404, { param: "model", code: "model_not_found" }]);
    expect(body.error.message).toBe(
      'model: expected tiny, got "gpt-4o" (--alias NAME, or the option aliases, gives the model another name)',
    );
  });

  test("an alias names the model in requests and in the list of models", () =>
    withServer(model, { aliases: ["gpt-4o", "openai/gpt-4o"] }, async (own) => {
      for (const name of ["tiny", "gpt-4o", "openai/gpt-4o"]) {
        expect((await own.chat({ model: name, messages, max_tokens: 1 })).model).toBe("tiny");
        expect((await own.ask(`/v1/models/${name}`)).body.id).toBe(name);
      }
      const { data } = (await own.ask("/v1/models")).body;
      expect(data.map(({ id }: { id: string }) => id)).toEqual(["tiny", "gpt-4o", "openai/gpt-4o"]);
      const { status, body } = await own.post(CHAT, { model: "gpt-5", messages });
      expect([status, body.error.message]).toEqual([
        404,
        expect.stringMatching(/^model: expected tiny or gpt-4o or openai\/gpt-4o, got "gpt-5"/),
      ]);
    }));
});
