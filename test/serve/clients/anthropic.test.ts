// Anthropic's published client talks to the server, unmodified.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../../lib/serve/index.ts";
import { chatModel, type Json, until, user } from "../helpers.ts";
import { ANSWER, THOUGHT, thinkModel } from "../think-model.ts";
import { toolModel } from "../tool-model.ts";
import { client } from "./installed.ts";

const loaded = client<Json>("@anthropic-ai/sdk");

describe.skipIf(loaded === undefined)("@anthropic-ai/sdk", () => {
  let models: LanguageModel[];
  let servers: ModelServer[];
  let Anthropic: Json;
  /** Clients of three models. One answers at random, one calls a tool, and one thinks first. */
  let [random, tooled, thinker]: Json[] = [];

  beforeAll(async () => {
    ({ default: Anthropic } = await loaded!);
    models = [await chatModel(), await toolModel(), await thinkModel()];
    servers = await Promise.all(
      models.map((model) => serve(model, { port: 0, modelName: "tiny", apiKeys: ["secret"], maxBodyBytes: 50_000 })),
    );
    [random, tooled, thinker] = servers.map(
      ({ url }) => new Anthropic({ baseURL: url, apiKey: "secret", maxRetries: 0 }),
    );
  });
  afterAll(async () => {
    for (const server of servers ?? []) await server.close(0);
    for (const model of models ?? []) await model.dispose();
  });

  const asked = { model: "tiny", max_tokens: 12, temperature: 0, messages: user("The cat") };
  const tools = [{ name: "sea", description: "Looks.", input_schema: { type: "object" } }];
  const going = { model: "tiny", max_tokens: 100, temperature: 0, tools, messages: user("go") };

  test("creates and streams the same message", async () => {
    const message = await random.messages.create(asked);
    expect(message).toMatchObject({ type: "message", role: "assistant", model: "tiny", stop_reason: "max_tokens" });
    expect(message.usage.output_tokens).toBe(12);
    const texts: string[] = [];
    const stream = random.messages.stream(asked).on("text", (text: string) => texts.push(text));
    const final = await stream.finalMessage();
    expect(final).toMatchObject({ content: message.content, stop_reason: "max_tokens" });
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.join("")).toBe(message.content[0].text);
    expect(await random.messages.stream(asked).finalText()).toBe(message.content[0].text);
    const events: string[] = [];
    for await (const { type } of await random.messages.create({ ...asked, stream: true })) events.push(type);
    expect([events[0], events.at(-1)]).toEqual(["message_start", "message_stop"]);
  });

  test("names the stop sequence", async () => {
    const [{ text }] = (await random.messages.create(asked)).content;
    const stop = text.slice(3, 6);
    const ended = { stop_reason: "stop_sequence", stop_sequence: stop };
    const cut = { ...asked, stop_sequences: [stop] };
    expect(await random.messages.create(cut)).toMatchObject(ended);
    expect(await random.messages.stream(cut).finalMessage()).toMatchObject(ended);
  });

  test.each(["create", "stream"])("calls a tool and continues with its result, by %s", async (how) => {
    const answer = (body: object) =>
      how === "create" ? tooled.messages.create(body) : tooled.messages.stream(body).finalMessage();
    const calling = await answer(going);
    expect(calling).toMatchObject({
      content: [
        { type: "text", text: "Well." },
        { type: "tool_use", id: expect.any(String), name: "sea", input: { a: 1 } },
      ],
      stop_reason: "tool_use",
    });
    const result = { type: "tool_result", tool_use_id: calling.content[1].id, content: "blue" };
    const messages = [
      ...going.messages,
      { role: "assistant", content: calling.content },
      { role: "user", content: [result] },
    ];
    expect(await answer({ ...going, messages })).toMatchObject({
      content: [{ type: "text", text: "It is blue." }],
      stop_reason: "end_turn",
    });
  });

  test("requires a tool, whose input follows its schema", async () => {
    const input_schema = {
      type: "object",
      properties: { a: { enum: [1, 2] } },
      required: ["a"],
      additionalProperties: false,
    };
    const required = { ...going, tools: [{ name: "f", input_schema }] };
    for (const choice of [
      { type: "any", disable_parallel_tool_use: true },
      { type: "tool", name: "f" },
    ]) {
      const { content, stop_reason: reason } = await tooled.messages.create({ ...required, tool_choice: choice });
      expect(content).toMatchObject([{ type: "tool_use", name: "f" }]);
      expect([1, 2]).toContain(content[0].input.a);
      expect(reason).toBe("tool_use");
    }
    const none = await tooled.messages.create({ ...going, tool_choice: { type: "none" } });
    expect(none.content.every(({ type }: Json) => type === "text")).toBe(true);
  });

  test("parses structured output", async () => {
    const { jsonSchemaOutputFormat } = await client<Json>("@anthropic-ai/sdk/helpers/json-schema")!;
    const properties = { a: { enum: [1, 2] } };
    const format = jsonSchemaOutputFormat({ type: "object", properties, required: ["a"], additionalProperties: false });
    const body = { ...asked, max_tokens: 40, output_config: { format } };
    expect([1, 2]).toContain((await random.messages.parse(body)).parsed_output.a);
    expect([1, 2]).toContain((await random.messages.stream(body).finalMessage()).parsed_output.a);
  });

  test.each([false, true])(
    "its tool runner runs the tool and continues with its result (stream: %s)",
    async (stream) => {
      const { betaTool } = await client<Json>("@anthropic-ai/sdk/helpers/beta/json-schema")!;
      const inputs: Json[] = [];
      const run = (input: Json) => {
        inputs.push(input);
        return "blue";
      };
      const inputSchema = { type: "object", properties: { a: { type: "number" } } };
      const sea = betaTool({ name: "sea", description: "Looks.", inputSchema, run });
      const final = await tooled.beta.messages.toolRunner({ ...going, tools: [sea], stream }).runUntilDone();
      expect({ inputs, content: final.content }).toMatchObject({
        inputs: [{ a: 1 }],
        content: [{ type: "text", text: "It is blue." }],
      });
    },
  );

  test("gets thinking blocks before the answer, whole and streamed, and none if thinking is off", async () => {
    const given = { ...asked, max_tokens: 100, messages: user("go"), thinking: { type: "enabled", budget_tokens: 50 } };
    const content = [
      { type: "thinking", thinking: THOUGHT, signature: "" },
      { type: "text", text: ANSWER },
    ];
    expect((await thinker.messages.create(given)).content).toEqual(content);
    const thoughts: string[] = [];
    const stream = thinker.messages.stream(given).on("thinking", (text: string) => thoughts.push(text));
    expect((await stream.finalMessage()).content).toMatchObject(content);
    expect(thoughts.join("")).toBe(THOUGHT);
    const off = await thinker.messages.create({ ...given, thinking: { type: "disabled" } });
    expect(off.content).toEqual([{ type: "text", text: ANSWER }]);
    // The answer with its thinking is part of the next request.
    const messages = [...user("go"), { role: "assistant", content }, ...user("go")];
    expect((await thinker.messages.create({ ...given, messages })).usage.output_tokens).toBeGreaterThan(0);
  });

  test("counts tokens, and lists and retrieves models", async () => {
    const { input_tokens: counted } = await random.messages.countTokens({ model: "tiny", messages: asked.messages });
    const { usage } = await random.messages.create(asked);
    expect(counted).toBe(usage.input_tokens + usage.cache_read_input_tokens);
    const listed: string[] = [];
    for await (const { id } of random.models.list()) listed.push(id);
    expect(listed).toEqual(["tiny"]);
    expect(await random.models.retrieve("tiny")).toMatchObject({ type: "model", id: "tiny", display_name: "tiny" });
  });

  test("an aborted stream ends the answer", async () => {
    const stream = random.messages.stream({ ...asked, max_tokens: 900, temperature: 1 });
    stream.on("error", () => {});
    stream.on("abort", () => {});
    await new Promise<void>((resolve) => stream.once("streamEvent", () => resolve()));
    stream.abort();
    await expect(stream.done()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError);
    await until(() => servers[0]!.stats.answers === 0, "the answer to end");
  });

  test("throws the server's errors as its own error classes", async () => {
    const refused = async (body: object, name: string, type: string, of: Json = random) => {
      const error = await of.messages.create({ ...asked, ...body }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(Anthropic[name]);
      const { requestID } = error;
      expect(requestID).toEqual(expect.any(String));
      expect(error).toMatchObject({ type, error: { type: "error", error: { type }, request_id: requestID } });
    };
    const image = { type: "image", source: { type: "url", url: "https://x.example/a.png" } };
    await refused({ messages: [{ role: "user", content: [image] }] }, "BadRequestError", "invalid_request_error");
    const hosted = [{ type: "web_search_20250305", name: "web_search" }];
    await refused({ tools: hosted }, "BadRequestError", "invalid_request_error");
    await refused(
      { thinking: { type: "enabled", budget_tokens: 1024 } },
      "BadRequestError",
      "invalid_request_error",
      tooled,
    );
    await refused({ model: "claude" }, "NotFoundError", "not_found_error");
    await refused({ messages: user("x".repeat(60_000)) }, "APIError", "request_too_large");
    const stranger = new Anthropic({ baseURL: servers[0]!.url, apiKey: "other", maxRetries: 0 });
    await refused({}, "AuthenticationError", "authentication_error", stranger);
  });
});
