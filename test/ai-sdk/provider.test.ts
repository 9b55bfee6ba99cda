// Models of the AI SDK, called as the AI SDK calls them.
import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { NoSuchModelError, UnsupportedFunctionalityError } from "@ai-sdk/provider";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHeddle, heddle, heddleEmbedding, heddleReranker } from "../../lib/ai-sdk/index.ts";
import { PartWriter } from "../../lib/ai-sdk/part-writer.ts";
import { messagesOf } from "../../lib/ai-sdk/prompt.ts";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { chatModel } from "../serve/helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const user = (text: string): LanguageModelV4CallOptions["prompt"] => [
  { role: "user", content: [{ type: "text", text }] },
];
const greedily = { prompt: user("The cat"), temperature: 0, maxOutputTokens: 12 };
const weather = {
  type: "function" as const,
  name: "weather",
  description: "Tells the weather.",
  inputSchema: {
    type: "object" as const,
    properties: { city: { enum: ["Kyoto", "Lima"] }, days: { type: "integer" as const, minimum: 0, maximum: 9 } },
    required: ["city", "days"],
    additionalProperties: false,
  },
};

async function partsOf(stream: ReadableStream<LanguageModelV4StreamPart>): Promise<LanguageModelV4StreamPart[]> {
  const parts: LanguageModelV4StreamPart[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

describe("a language model", () => {
  test("generates what model.respond does, and streams the same text", async () => {
    const own = await model.respond([{ role: "user", content: "The cat" }], { temperature: 0, maxTokens: 12 });
    const { content, finishReason, usage, warnings } = await heddle(model).doGenerate(greedily);
    expect(content).toEqual([{ type: "text", text: own.text }]);
    expect(finishReason).toEqual({ unified: own.finishReason === "length" ? "length" : "stop", raw: own.finishReason });
    expect(usage.inputTokens.total).toBe(own.usage.promptTokens);
    expect(usage.outputTokens.total).toBe(own.usage.completionTokens);
    expect(warnings).toEqual([]);
    const parts = await partsOf((await heddle(model).doStream(greedily)).stream);
    expect(parts.slice(0, 3).map(({ type }) => type)).toEqual(["stream-start", "response-metadata", "text-start"]);
    expect(parts.slice(-2).map(({ type }) => type)).toEqual(["text-end", "finish"]);
    expect(parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : [])).join("")).toBe(own.text);
    expect(parts.at(-1)).toMatchObject({ finishReason, usage: { outputTokens: usage.outputTokens } });
  });

  test("calls a required tool with arguments of its schema, with and without streaming", async () => {
    const options = { ...greedily, maxOutputTokens: 200, tools: [weather], toolChoice: { type: "required" as const } };
    const { content, finishReason } = await heddle(model).doGenerate(options);
    expect(finishReason.unified).toBe("tool-calls");
    const [call] = content;
    if (call?.type !== "tool-call") throw new Error("expected a call");
    expect(call.toolName).toBe("weather");
    const { city, days } = JSON.parse(call.input);
    expect(["Kyoto", "Lima"]).toContain(city);
    expect(days).toBeGreaterThanOrEqual(0);
    const parts = await partsOf((await heddle(model).doStream(options)).stream);
    const types = parts.map(({ type }) => type);
    expect(types.indexOf("tool-input-start")).toBeLessThan(types.indexOf("tool-input-end"));
    expect(parts.flatMap((part) => (part.type === "tool-input-delta" ? [part.delta] : [])).join("")).toBe(call.input);
    expect(parts.find(({ type }) => type === "tool-call")).toMatchObject({ toolName: "weather", input: call.input });
  });

  test("answers in JSON with the properties of the schema", async () => {
    const responseFormat = { type: "json" as const, schema: weather.inputSchema };
    const { content } = await heddle(model).doGenerate({ ...greedily, maxOutputTokens: 200, responseFormat });
    expect(Object.keys(JSON.parse((content[0] as { text: string }).text))).toEqual(["city", "days"]);
  });

  test("warns about an unsupported tool, and answers without it", async () => {
    const tools = [{ type: "provider" as const, id: "openai.web_search" as const, name: "search", args: {} }];
    const { warnings, content } = await heddle(model).doGenerate({ ...greedily, tools });
    expect(warnings).toEqual([{ type: "unsupported", feature: "provider-defined tool openai.web_search" }]);
    expect(content).toHaveLength(1);
  });

  test("accepts options below providerOptions.heddle, and rejects unknown ones", async () => {
    const plain = await heddle(model).doGenerate(greedily);
    // With thinking off, the template adds a character to the prompt.
    const variables = { enable_thinking: false };
    const other = await heddle(model).doGenerate({ ...greedily, providerOptions: { heddle: { variables } } });
    expect(other.usage.inputTokens.total).toBe(plain.usage.inputTokens.total! + 1);
    const wrong = heddle(model).doGenerate({ ...greedily, providerOptions: { heddle: { minp: 1 } } });
    await expect(wrong).rejects.toThrow(/providerOptions\.heddle: expected only minP/);
  });

  test("maps negative seeds as the server does", async () => {
    const drawn = async (seed: number) =>
      (await heddle(model).doGenerate({ ...greedily, temperature: 1, seed })).content;
    expect(await drawn(-1)).toEqual(await drawn(2 ** 53 - 1));
    expect(await drawn(-1)).not.toEqual(await drawn(-2));
  });

  test("stops generating when its signal fires or its stream is cancelled", async () => {
    const endless = { ...greedily, maxOutputTokens: 900, providerOptions: { heddle: { ignoreEos: true } } };
    const controller = new AbortController();
    const { stream } = await heddle(model).doStream({ ...endless, abortSignal: controller.signal });
    const reader = stream.getReader();
    for (let i = 0; i < 4; i++) await reader.read();
    controller.abort();
    let last: LanguageModelV4StreamPart | undefined;
    for (let next = await reader.read(); !next.done; next = await reader.read()) last = next.value;
    expect(last).toMatchObject({ type: "error", error: { code: "ABORTED" } });
    const cancelled = (await heddle(model).doStream(endless)).stream;
    await cancelled.cancel();
    // The model can answer again.
    expect((await heddle(model).doGenerate(greedily)).content).toHaveLength(1);
  });

  test("has the requested specification version, and rejects unknown versions and objects that are not models", () => {
    expect(heddle(model).specificationVersion).toBe("v4");
    expect(heddle(model, { specificationVersion: "v3" }).specificationVersion).toBe("v3");
    expect(() => heddle({} as LanguageModel)).toThrow(/model: expected a loaded LanguageModel/);
    expect(() => heddle(model, { specificationVersion: "v2" as "v3" })).toThrow(
      /specificationVersion: expected v3 or v4/,
    );
  });
});

describe("a prompt", () => {
  test("becomes messages with reasoning, calls and results", () => {
    const messages = messagesOf([
      { role: "system", content: "Be brief." },
      ...user("Weather?"),
      {
        role: "assistant",
        content: [
          { type: "reasoning", text: "I need a tool." },
          { type: "text", text: "Let me see." },
          { type: "tool-call", toolCallId: "1", toolName: "weather", input: { city: "Lima" } },
        ],
      },
      {
        role: "tool",
        content: [
          { type: "tool-result", toolCallId: "1", toolName: "weather", output: { type: "json", value: { sun: true } } },
        ],
      },
    ]);
    expect(messages).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Weather?" },
      {
        role: "assistant",
        content: "Let me see.",
        reasoning_content: "I need a tool.",
        tool_calls: [{ id: "1", type: "function", function: { name: "weather", arguments: { city: "Lima" } } }],
      },
      { role: "tool", tool_call_id: "1", name: "weather", content: '{"sun":true}' },
    ]);
  });

  test("accepts text files in the forms of both specifications, and refuses images", () => {
    const file = (data: unknown, mediaType: string) =>
      messagesOf([{ role: "user", content: [{ type: "file", data: data as never, mediaType }] }]);
    for (const data of [
      "aGk=",
      new TextEncoder().encode("hi"),
      { type: "data", data: "aGk=" },
      { type: "text", text: "hi" },
    ])
      expect(file(data, "text/plain")).toEqual([{ role: "user", content: "hi" }]);
    expect(() => file("aGk=", "image/png")).toThrow(UnsupportedFunctionalityError);
  });
});

test("the parts of an answer become blocks, and only one block is open at a time", () => {
  const writer = new PartWriter();
  const piece = (more: object) => writer.add({ reasoning: "", text: "", calls: [], ...more });
  const parts = [
    ...piece({ reasoning: "Hm" }),
    ...piece({ reasoning: "." }),
    ...piece({ text: "Yes" }),
    ...piece({ calls: [{ index: 0, id: "a", name: "f", arguments: "" }] }),
    ...piece({
      calls: [
        { index: 0, id: "a", arguments: "{}" },
        { index: 1, id: "b", name: "g", arguments: "[" },
      ],
    }),
    ...piece({ calls: [{ index: 1, id: "b", arguments: "]" }] }),
    ...writer.end(),
  ];
  expect(parts.map((part) => ("delta" in part ? `${part.type} ${part.delta}` : part.type))).toEqual([
    "reasoning-start",
    "reasoning-delta Hm",
    "reasoning-delta .",
    "reasoning-end",
    "text-start",
    "text-delta Yes",
    "text-end",
    "tool-input-start",
    "tool-input-delta {}",
    "tool-input-end",
    "tool-call",
    "tool-input-start",
    "tool-input-delta [",
    "tool-input-delta ]",
    "tool-input-end",
    "tool-call",
  ]);
  expect(parts.filter(({ type }) => type === "tool-call")).toMatchObject([
    { toolCallId: "a", toolName: "f", input: "{}" },
    { toolCallId: "b", toolName: "g", input: "[]" },
  ]);
  expect(writer.end()).toEqual([]);
});

describe("a provider", () => {
  test("finds models by id, and its error for an unknown id lists the known ids", async () => {
    const provider = createHeddle({ models: { small: model } });
    expect(provider("small").modelId).toBe("small");
    expect(provider.languageModel("small").provider).toBe("heddle");
    expect(() => provider("large")).toThrow(NoSuchModelError);
    expect(() => provider("large")).toThrow(/expected one of small, got "large"/);
    expect(() => provider.imageModel("small")).toThrow(NoSuchModelError);
    expect(() => createHeddle({ models: { small: 1 as unknown as LanguageModel } })).toThrow(
      /model: expected a loaded/,
    );
    expect(() => createHeddle({} as never)).toThrow(/models: expected an object/);
  });

  test("refuses unknown settings", () => {
    expect(() => heddle(model, { modelld: "a" } as never)).toThrow(/modelld: .*nearest: modelId/);
    expect(() => createHeddle({ models: {}, name: "a" } as never)).toThrow(/name: expected/);
  });

  test("embeds and reranks as the model does", async () => {
    const texts = ["The cat sat.", "A dog ran."];
    const { embeddings, usage } = await heddleEmbedding(model).doEmbed({ values: texts });
    expect(embeddings).toEqual((await model.embed(texts)).map((vector) => [...vector]));
    expect(usage!.tokens).toBe(texts.reduce((sum, text) => sum + model.tokenizer!.encode(text).length, 0));
    const documents = { type: "text" as const, values: texts };
    const { tokenizer } = model;
    const sizes = { hiddenSize: 24, intermediateSize: 32, numHiddenLayers: 1, numAttentionHeads: 4 };
    await using encoder = createModel(
      { modelType: "bert", ...sizes, maxPositionEmbeddings: 64 },
      { tokenizer, seed: 1 },
    );
    const { ranking } = await heddleReranker(encoder).doRerank({ query: "cats", documents, topN: 1 });
    const [best] = await encoder.rerank("cats", texts, { topN: 1 });
    expect(ranking).toEqual([{ index: best!.index, relevanceScore: best!.score }]);
    // Longer than the encoder's 64 positions.
    const long = { type: "text" as const, values: ["The cat sat. ".repeat(100)] };
    expect((await heddleReranker(encoder).doRerank({ query: "cats", documents: long })).ranking).toHaveLength(1);
  });
});

test("the usage of embeddings counts the tokens of the default prompt and of lowercased texts", async () => {
  const { tokenizer } = model;
  const prompts = { query: "Search: " };
  await using encoder = createModel(
    {
      ...{ modelType: "bert", hiddenSize: 24, intermediateSize: 32, numHiddenLayers: 1, numAttentionHeads: 4 },
      embedding: { ...model.config.embedding, prompts, defaultPromptName: "query", lowercase: true },
    },
    { tokenizer, seed: 1 },
  );
  const texts = ["THE CAT SAT.", "A dog ran."];
  const { embeddings, usage } = await heddleEmbedding(encoder).doEmbed({ values: texts });
  expect(embeddings).toEqual((await encoder.embed(texts)).map((vector) => [...vector]));
  const read = texts.map((text) => tokenizer!.encode(`search: ${text.toLowerCase()}`, { allowSpecial: true }));
  expect(usage!.tokens).toBe(read[0]!.length + read[1]!.length);
});

test("the rest of a call is written before text that arrives in the same piece", () => {
  const writer = new PartWriter();
  const piece = (more: object) => writer.add({ reasoning: "", text: "", calls: [], ...more });
  const parts = [
    ...piece({ calls: [{ index: 0, id: "a", name: "f", arguments: '{"x":' }] }),
    ...piece({ text: "Done.", calls: [{ index: 0, id: "a", arguments: "1}" }] }),
    ...writer.end(),
  ];
  expect(parts.map(({ type }) => type)).toEqual([
    ...["tool-input-start", "tool-input-delta", "tool-input-delta", "tool-input-end", "tool-call"],
    ...["text-start", "text-delta", "text-end"],
  ]);
  expect(parts.filter(({ type }) => type === "tool-call")).toEqual([
    { type: "tool-call", toolCallId: "a", toolName: "f", input: '{"x":1}' },
  ]);
});
