// The AI SDK talks to the server with two of its published providers, unmodified.
import { beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../helpers.ts";
import { client } from "./installed.ts";
import { served } from "./served.ts";

const modules = [
  ...[client<Json>("ai"), client<Json>("@ai-sdk/openai"), client<Json>("@ai-sdk/openai-compatible")],
  client<Json>("zod"),
] as const;

describe.skipIf(modules[0] === undefined)("the AI SDK", () => {
  const server = served({ aliases: ["gpt-4o"] });
  let ai: Json;
  let z: Json;
  let openai: Json;
  let compatible: Json;
  beforeAll(async () => {
    const [sdk, { createOpenAI }, { createOpenAICompatible }, zod] = await Promise.all(modules);
    [ai, z] = [sdk, zod.z];
    const baseURL = `${server.url}/v1`;
    openai = createOpenAI({ baseURL, apiKey: "none" });
    compatible = createOpenAICompatible({
      name: "heddle",
      baseURL,
      supportsStructuredOutputs: true,
      includeUsage: true,
    });
  });

  const ask = { prompt: "The cat", temperature: 0, maxOutputTokens: 200, maxRetries: 0 };
  const place = () => z.object({ place: z.enum(["Kyoto", "Lima"]), depth: z.number().int().min(0).max(99) });
  const providers: [string, () => Json][] = [
    ["@ai-sdk/openai, which calls /v1/responses", () => openai("gpt-4o")],
    ["@ai-sdk/openai with its chat model", () => openai.chat("gpt-4o")],
    ["@ai-sdk/openai-compatible", () => compatible("tiny")],
  ];

  describe.each(providers)("with %s", (_, model) => {
    test("generates and streams the same text", async () => {
      const { text, usage, finishReason, warnings } = await ai.generateText({ ...ask, model: model() });
      expect(text).not.toBe("");
      expect(warnings ?? []).toEqual([]);
      expect(usage.totalTokens).toBe(usage.inputTokens + usage.outputTokens);
      const stream = ai.streamText({ ...ask, model: model() });
      const parts: string[] = [];
      for await (const part of stream.textStream) parts.push(part);
      expect(parts.length).toBeGreaterThan(1);
      expect(parts.join("")).toBe(text);
      expect(await stream.finishReason).toBe(finishReason);
      expect((await stream.usage).outputTokens).toBe(usage.outputTokens);
    });

    test("generates an object by a schema", async () => {
      const { object } = await ai.generateObject({ ...ask, model: model(), schema: place() });
      expect(place().safeParse(object).success).toBe(true);
      const stream = ai.streamObject({ ...ask, model: model(), schema: place() });
      let last: Json;
      for await (const partial of stream.partialObjectStream) last = partial;
      expect(last).toEqual(object);
      expect(await stream.object).toEqual(object);
    });

    test.each(["generateText", "streamText"])("calls a tool and continues with its result, by %s", async (name) => {
      const inputs: Json[] = [];
      const execute = async (input: Json) => {
        inputs.push(input);
        return { warm: true };
      };
      const weather = ai.tool({ description: "The weather", inputSchema: place(), execute });
      const result = await ai[name]({
        ...{ ...ask, model: model(), tools: { weather } },
        stopWhen: ai.stepCountIs(2),
        prepareStep: ({ stepNumber }: Json) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
      });
      const [steps, text] = [await result.steps, await result.text];
      expect(steps).toHaveLength(2);
      expect(steps[0].toolCalls).toMatchObject([{ toolName: "weather", input: inputs[0] }]);
      expect(steps[0].finishReason).toBe("tool-calls");
      expect(inputs).toHaveLength(1);
      expect(place().safeParse(inputs[0]).success).toBe(true);
      expect(text).not.toBe("");
    });

    test("continues a conversation with the messages of its answers", async () => {
      const first = await ai.generateText({ ...ask, model: model() });
      const messages = [
        { role: "user", content: ask.prompt },
        ...first.response.messages,
        { role: "user", content: "The sea" },
      ];
      const { prompt: _prompt, ...rest } = ask;
      const second = await ai.generateText({ ...rest, messages, model: model() });
      const texts = `[user]${ask.prompt}[assistant]${first.text}[user]The sea[assistant]`;
      const ids = server.model.tokenizer!.encode(texts, { addSpecialTokens: false });
      expect(second.usage.inputTokens).toBe(ids.length);
      const { maxOutputTokens: maxTokens, temperature } = ask;
      expect(second.text).toBe((await server.model.complete(ids, { maxTokens, temperature })).text);
    });
  });

  test.each<[string, () => Json, object]>([
    ["@ai-sdk/openai", () => openai("gpt-4o"), { openai: { forceReasoning: true } }],
    ["@ai-sdk/openai with its chat model", () => openai.chat("gpt-4o"), { openai: { forceReasoning: true } }],
    ["@ai-sdk/openai-compatible", () => compatible("tiny"), { heddle: {} }],
  ])("sets a reasoning effort with %s", async (_, model, options) => {
    const tokens = async (reasoningEffort: string) => {
      const [name, own] = Object.entries(options)[0]!;
      const providerOptions = { [name]: { ...own, reasoningEffort } };
      const { usage } = await ai.generateText({
        prompt: "The cat",
        maxRetries: 0,
        maxOutputTokens: 16,
        model: model(),
        providerOptions,
      });
      return usage.inputTokens;
    };
    // With thinking off, the template writes one more character.
    expect(await tokens("none")).toBe((await tokens("low")) + 1);
  });

  test.each(providers)("gets an error for images with %s", async (_, model) => {
    const content = [{ type: "image", image: new Uint8Array([1]), mediaType: "image/png" }];
    const { prompt: _prompt, ...rest } = ask;
    await expect(
      ai.generateText({ ...rest, messages: [{ role: "user", content }], model: model() }),
    ).rejects.toMatchObject({ statusCode: 400, message: expect.stringMatching(/image(_url)? is not supported/) });
  });

  test("gets an error for hosted tools with @ai-sdk/openai", async () => {
    const tools = { web_search: openai.tools.webSearch({}) };
    await expect(ai.generateText({ ...ask, model: openai("gpt-4o"), tools })).rejects.toMatchObject({
      ...{ statusCode: 400, message: expect.stringContaining("web_search") },
    });
  });

  test("embeds texts", async () => {
    const values = ["The cat", "The sea"];
    for (const model of [openai.textEmbeddingModel("gpt-4o"), compatible.textEmbeddingModel("tiny")]) {
      const { embeddings } = await ai.embedMany({ model, values });
      expect(embeddings.map((one: number[]) => one.length)).toEqual([32, 32]);
    }
  });

  test("reports an unknown model by name", async () => {
    await expect(ai.generateText({ ...ask, model: openai("gpt-4.1") })).rejects.toMatchObject({
      statusCode: 404,
      message: expect.stringMatching(/^model: expected tiny or gpt-4o, got "gpt-4.1"/),
    });
  });
});
