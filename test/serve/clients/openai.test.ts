// OpenAI's own client talks to the server, unmodified.
import { beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../helpers.ts";
import { client } from "./installed.ts";
import { served } from "./served.ts";

const modules = [client<Json>("openai"), client<Json>("openai/helpers/zod"), client<Json>("zod")] as const;

describe.skipIf(modules[0] === undefined)("the openai package", () => {
  const server = served({ aliases: ["gpt-4o"] });
  let openai: Json;
  let helpers: Json;
  let zod: Json;
  beforeAll(async () => {
    const [{ OpenAI }, zodHelpers, { z }] = await Promise.all(modules);
    openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
    [helpers, zod] = [zodHelpers, z];
  });

  const ask = { model: "gpt-4o", input: "The cat", temperature: 0, max_output_tokens: 200 };
  const place = () => zod.object({ place: zod.enum(["Kyoto", "Lima"]), depth: zod.number().int().min(0).max(99) });
  const weather = () => helpers.zodResponsesFunction({ name: "weather", parameters: place() });

  test("creates a response", async () => {
    const response = await openai.responses.create({ ...ask, instructions: "Be brief", max_output_tokens: 8 });
    expect(response.output_text).toBe(response.output[0].content[0].text);
    expect(response.output_text).not.toBe("");
    expect(response.usage.output_tokens).toBeLessThanOrEqual(8);
    expect(response.usage.total_tokens).toBe(response.usage.input_tokens + response.usage.output_tokens);
  });

  test("streams a response", async () => {
    const whole = await openai.responses.create(ask);
    const events: Json[] = [];
    for await (const event of await openai.responses.create({ ...ask, stream: true })) events.push(event);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
    const deltas = events.filter(({ type }) => type === "response.output_text.delta");
    expect(deltas.length).toBeGreaterThan(1);
    expect(deltas.map(({ delta }) => delta).join("")).toBe(whole.output_text);
    expect(events.at(-1)).toMatchObject({
      type: `response.${whole.status}`,
      response: { usage: { output_tokens: whole.usage.output_tokens } },
    });
  });

  test("parses a text by a zod schema", async () => {
    const format = helpers.zodTextFormat(place(), "place");
    const response = await openai.responses.parse({ ...ask, text: { format } });
    expect(response.status).toBe("completed");
    expect(response.output_parsed).toEqual({
      place: expect.stringMatching(/^(Kyoto|Lima)$/),
      depth: expect.any(Number),
    });
  });

  test("follows a stream with the client's stream helper", async () => {
    const format = helpers.zodTextFormat(place(), "place");
    const stream = openai.responses.stream({ ...ask, text: { format } });
    let snapshot = "";
    stream.on("response.output_text.delta", (event: Json) => {
      snapshot = event.snapshot;
    });
    const response = await stream.finalResponse();
    expect(response.status).toBe("completed");
    expect(response.output_parsed).toEqual(JSON.parse(snapshot));
  });

  test("streams the arguments of a call with the client's stream helper", async () => {
    const stream = openai.responses.stream({ ...ask, tools: [weather()], tool_choice: "required" });
    let snapshot = "";
    stream.on("response.function_call_arguments.delta", (event: Json) => {
      snapshot = event.snapshot;
    });
    const { output } = await stream.finalResponse();
    expect(output).toMatchObject([{ type: "function_call", name: "weather", arguments: snapshot }]);
    expect(place().safeParse(JSON.parse(snapshot)).success).toBe(true);
  });

  test("sends tool results with the earlier items, or with previous_response_id", async () => {
    const input: Json[] = [{ role: "user", content: "The sea" }];
    const tools = [weather()];
    const first = await openai.responses.parse({ ...ask, input, tools, tool_choice: "required" });
    const outputs = first.output.map((call: Json) => {
      expect([call.type, call.name]).toEqual(["function_call", "weather"]);
      expect(place().safeParse(JSON.parse(call.arguments)).success).toBe(true);
      return { type: "function_call_output", call_id: call.call_id, output: JSON.stringify({ warm: true }) };
    });
    const calls = first.output.map(({ parsed_arguments: _, ...call }: Json) => call);
    const next = { ...ask, tools, tool_choice: "none" };
    const byItems = await openai.responses.create({ ...next, input: [...input, ...calls, ...outputs] });
    const byId = await openai.responses.create({ ...next, input: outputs, previous_response_id: first.id });
    expect(byItems.output_text).toBe(byId.output_text);
    expect(byId.usage.input_tokens).toBe(byItems.usage.input_tokens);
    expect(byId.usage.input_tokens).toBeGreaterThan(first.usage.input_tokens);
  });

  test("counts the tokens of an input", async () => {
    const { usage } = await openai.responses.create({ ...ask, max_output_tokens: 1 });
    const { model, input } = ask;
    expect((await openai.responses.inputTokens.count({ model, input })).input_tokens).toBe(usage.input_tokens);
  });

  test("reads, lists and deletes a stored response", async () => {
    const first = await openai.responses.create({ ...ask, max_output_tokens: 4 });
    const second = await openai.responses.create({ ...ask, previous_response_id: first.id, max_output_tokens: 4 });
    expect((await openai.responses.retrieve(second.id)).output).toEqual(second.output);
    const items = [];
    for await (const item of openai.responses.inputItems.list(second.id, { limit: 1, order: "asc" })) items.push(item);
    expect(items.map(({ role }) => role)).toEqual(["user", "assistant", "user"]);
    await openai.responses.delete(second.id);
    await expect(openai.responses.retrieve(second.id)).rejects.toMatchObject({
      status: 404,
      code: "response_not_found",
    });
    await expect(openai.responses.create({ ...ask, previous_response_id: second.id })).rejects.toMatchObject({
      ...{ status: 404, code: "previous_response_not_found", param: "previous_response_id" },
    });
  });

  test("sets a reasoning effort", async () => {
    const tokens = async (effort: string) => {
      const { usage } = await openai.responses.create({ ...ask, max_output_tokens: 1, reasoning: { effort } });
      return usage.input_tokens;
    };
    // With thinking off, the template writes one more character.
    expect(await tokens("none")).toBe((await tokens("low")) + 1);
  });

  test("reports what the server does not support", async () => {
    const image = { type: "input_image", image_url: "data:image/png;base64,AA" };
    for (const [given, param] of [
      [{ background: true }, "background"],
      [{ conversation: "conv_1" }, "conversation"],
      [{ tools: [{ type: "web_search" }] }, "tools[0].type"],
      [{ input: [{ role: "user", content: [image] }] }, "input[0].content[0].type"],
    ] as const)
      await expect(openai.responses.create({ ...ask, ...given })).rejects.toMatchObject({ status: 400, param });
    await expect(openai.responses.create({ ...ask, model: "gpt-5" })).rejects.toMatchObject({
      ...{ status: 404, code: "model_not_found", message: expect.stringContaining("--alias") },
    });
  });

  test("chats, streams, calls tools and parses", async () => {
    const messages = [{ role: "user", content: "The cat" }];
    const chat = { model: "gpt-4o", messages, max_completion_tokens: 200, temperature: 0 };
    const [choice] = (await openai.chat.completions.create(chat)).choices;
    let text = "";
    for await (const { choices } of await openai.chat.completions.create({ ...chat, stream: true }))
      text += choices[0].delta.content ?? "";
    expect(text).toBe(choice.message.content);
    const response_format = helpers.zodResponseFormat(place(), "place");
    const parsed = await openai.chat.completions.parse({ ...chat, response_format });
    expect(place().safeParse(parsed.choices[0].message.parsed).success).toBe(true);
    const parameters = zod.toJSONSchema(place());
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const called = await openai.chat.completions.create({ ...chat, tools, tool_choice: "required" });
    const [call] = called.choices[0].message.tool_calls;
    expect(place().safeParse(JSON.parse(call.function.arguments)).success).toBe(true);
  });

  test("embeds texts", async () => {
    const { data } = await openai.embeddings.create({ model: "gpt-4o", input: ["The cat", "The sea"] });
    expect(data.map(({ embedding }: Json) => embedding.length)).toEqual([32, 32]);
  });

  test("chats with a reasoning effort, and gets an error for images", async () => {
    const messages = [{ role: "user", content: "The cat" }];
    const chat = { model: "gpt-4o", messages, max_completion_tokens: 8, temperature: 0 };
    const tokens = async (effort: string) => {
      const { usage } = await openai.chat.completions.create({ ...chat, reasoning_effort: effort });
      return usage.prompt_tokens;
    };
    // With thinking off, the template writes one more character.
    expect(await tokens("none")).toBe((await tokens("low")) + 1);
    const content = [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }];
    await expect(
      openai.chat.completions.create({ ...chat, messages: [{ role: "user", content }] }),
    ).rejects.toMatchObject({ status: 400, param: "messages[0].content[0].type" });
  });

  test("continues a chat with its earlier messages", async () => {
    const chat = { model: "gpt-4o", max_completion_tokens: 8, temperature: 0 };
    const messages = [{ role: "user", content: "The cat" }];
    const [{ message }] = (await openai.chat.completions.create({ ...chat, messages })).choices;
    const next = [...messages, message, { role: "user", content: "The sea" }];
    const { usage } = await openai.chat.completions.create({ ...chat, messages: next });
    const rendered = `[user]The cat[assistant]${message.content}[user]The sea[assistant]`;
    expect(usage.prompt_tokens).toBe(server.model.tokenizer!.encode(rendered, { addSpecialTokens: false }).length);
  });

  test("gets an error for custom tools and hosted search in chats", async () => {
    const chat = { model: "gpt-4o", messages: [{ role: "user", content: "The cat" }] };
    const tools = [{ type: "custom", custom: { name: "sea" } }];
    await expect(openai.chat.completions.create({ ...chat, tools })).rejects.toMatchObject({
      ...{ status: 400, param: "tools" },
    });
    await expect(openai.chat.completions.create({ ...chat, web_search_options: {} })).rejects.toMatchObject({
      ...{ status: 400, param: "web_search_options" },
    });
  });
});
