// LlamaIndex talks to the server with its published classes for OpenAI, unmodified.
import { beforeAll, describe, expect, test } from "vitest";
import { type Json, user } from "../helpers.ts";
import { client } from "./installed.ts";
import { served } from "./served.ts";

const modules = [
  ...[client<Json>("@llamaindex/openai"), client<Json>("@llamaindex/core/tools"), client<Json>("zod")],
] as const;

describe.skipIf(modules[0] === undefined)("LlamaIndex", () => {
  const server = served({ aliases: ["gpt-4o"] });
  let openai: Json;
  let tools: Json;
  let z: Json;
  beforeAll(async () => {
    [openai, tools, { z }] = await Promise.all(modules);
  });

  const settings = (more = {}) => ({
    ...{ model: "gpt-4o", apiKey: "none", baseURL: `${server.url}/v1`, temperature: 0, maxTokens: 200, maxRetries: 0 },
    ...more,
  });
  const llm = (more = {}) => new openai.OpenAI(settings(more));
  const place = () => z.object({ place: z.enum(["Kyoto", "Lima"]), depth: z.number().int().min(0).max(99) });

  test("chats and streams the same text", async () => {
    const { message } = await llm().chat({ messages: user("The cat") });
    expect(message.content).not.toBe("");
    const parts: string[] = [];
    for await (const { delta } of await llm().chat({ messages: user("The cat"), stream: true })) parts.push(delta);
    expect(parts.length).toBeGreaterThan(2);
    expect(parts.join("")).toBe(message.content);
    expect((await llm().complete({ prompt: "The cat" })).text).toBe(message.content);
  });

  test.each([false, true])("calls a tool and continues with its result (stream: %s)", async (stream) => {
    const weather = tools.tool({
      ...{ name: "weather", description: "The weather", parameters: place() },
      execute: () => "warm",
    });
    const required = llm({ additionalChatOptions: { tool_choice: "required" } });
    let options: Json;
    if (stream) {
      for await (const part of await required.chat({ messages: user("The sea"), tools: [weather], stream }))
        options = { ...options, ...part.options };
    } else ({ options } = (await required.chat({ messages: user("The sea"), tools: [weather] })).message);
    const [call] = options.toolCall;
    const input = typeof call.input === "string" ? JSON.parse(call.input) : call.input;
    expect(call.name).toBe("weather");
    expect(place().parse(input)).toEqual(input);
    const messages = [
      ...user("The sea"),
      { role: "assistant", content: "", options: { toolCall: [call] } },
      { role: "user", content: "warm", options: { toolResult: { id: call.id, result: "warm", isError: false } } },
    ];
    const next = await llm({ maxTokens: 8 }).chat({ messages });
    expect(next.message.content).not.toBe("");
    const prompt = (given: Json[]) =>
      llm({ maxTokens: 1 })
        .chat({ messages: given })
        .then((one: Json) => one.raw.usage.prompt_tokens);
    expect(await prompt(messages)).toBeGreaterThan(await prompt(user("The sea")));
  });

  test("follows a schema", async () => {
    const { message } = await llm().chat({ messages: user("The cat"), responseFormat: place() });
    expect(place().safeParse(JSON.parse(message.content)).success).toBe(true);
  });

  test("sets a reasoning effort", async () => {
    const tokens = async (effort: string) => {
      const options = { maxTokens: 1, additionalChatOptions: { reasoning_effort: effort } };
      return (await llm(options).chat({ messages: user("The cat") })).raw.usage.prompt_tokens;
    };
    // With thinking off, the template writes one more character.
    expect(await tokens("none")).toBe((await tokens("low")) + 1);
  });

  test("gets an error for images", async () => {
    const content = [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }];
    await expect(llm().chat({ messages: [{ role: "user", content }] })).rejects.toMatchObject({
      ...{ status: 400, message: expect.stringContaining("image_url is not supported") },
    });
  });

  test("embeds texts", async () => {
    const embedding = new openai.OpenAIEmbedding(settings());
    const vectors = await embedding.getTextEmbeddings(["The cat", "The sea"]);
    const [expected] = await server.model.embed(["The cat"]);
    expect(vectors.map(({ length }: number[]) => length)).toEqual([32, 32]);
    expect(vectors[0]).toEqual([...expected!]);
  });
});
