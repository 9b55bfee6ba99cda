// LangChain talks to the server with its published classes for OpenAI, unmodified.
import { beforeAll, describe, expect, test } from "vitest";
import type { Json } from "../helpers.ts";
import { client } from "./installed.ts";
import { served } from "./served.ts";

const modules = [
  ...[client<Json>("@langchain/openai"), client<Json>("@langchain/core/messages")],
  ...[client<Json>("@langchain/core/tools"), client<Json>("zod")],
] as const;

describe.skipIf(modules[0] === undefined)("LangChain", () => {
  const server = served({ aliases: ["gpt-4o"] });
  let openai: Json;
  let messages: Json;
  let tools: Json;
  let z: Json;
  beforeAll(async () => {
    [openai, messages, tools, { z }] = await Promise.all(modules);
  });

  const settings = (more: object) => ({
    ...{ model: "gpt-4o", apiKey: "none", temperature: 0, maxTokens: 200, maxRetries: 0 },
    ...{ configuration: { baseURL: `${server.url}/v1` }, ...more },
  });
  const place = () => z.object({ place: z.enum(["Kyoto", "Lima"]), depth: z.number().int().min(0).max(99) });

  describe.each([
    ["chat completions", false],
    ["responses", true],
  ])("with %s", (_, useResponsesApi) => {
    const chat = (more = {}) => new openai.ChatOpenAI(settings({ useResponsesApi, ...more }));
    const text = (message: Json): string => message.text;

    test("invokes and streams the same text, with usage", async () => {
      const message = await chat().invoke("The cat");
      expect(text(message)).not.toBe("");
      const parts: Json[] = [];
      for await (const part of await chat().stream("The cat")) parts.push(part);
      expect(parts.length).toBeGreaterThan(2);
      expect(parts.map(text).join("")).toBe(text(message));
      const usage = parts.map((part) => part.usage_metadata).find((one) => one !== undefined);
      expect(usage.output_tokens).toBe(message.usage_metadata.output_tokens);
    });

    test.each(["invoke", "stream"])("calls a tool, runs it and continues with its result, by %s", async (how) => {
      const inputs: Json[] = [];
      const run = (input: Json) => {
        inputs.push(input);
        return "warm";
      };
      const weather = tools.tool(run, { name: "weather", description: "The weather", schema: place() });
      // With the Responses API, LangChain can only send a tool's name as the choice.
      const bound = chat().bindTools([weather], { tool_choice: "weather" });
      const question = new messages.HumanMessage("The sea");
      let called: Json;
      if (how === "invoke") called = await bound.invoke([question]);
      else for await (const part of await bound.stream([question])) called = called ? called.concat(part) : part;
      expect(called.tool_calls).toMatchObject([{ name: "weather" }]);
      const result = await weather.invoke(called.tool_calls[0]);
      expect(inputs).toEqual([called.tool_calls[0].args]);
      expect(result).toMatchObject({ content: "warm", tool_call_id: called.tool_calls[0].id });
      const asked = [question, new messages.AIMessage({ content: "", tool_calls: called.tool_calls }), result];
      const { usage_metadata: before } = await chat({ maxTokens: 8 }).invoke([question]);
      const { usage_metadata: after } = await chat({ maxTokens: 8 }).invoke(asked);
      expect(after.input_tokens).toBeGreaterThan(before.input_tokens);
    });

    test.each(["jsonSchema", "functionCalling"])("gives structured output by %s", async (method) => {
      const model = chat().withStructuredOutput(place(), { name: "place", method });
      const value = await model.invoke("The cat");
      expect(place().parse(value)).toEqual(value);
    });

    test("continues a conversation", async () => {
      const first = await chat({ maxTokens: 8 }).invoke("The cat");
      const turns = [new messages.HumanMessage("The cat"), first, new messages.HumanMessage("The sea")];
      const { usage_metadata: usage } = await chat({ maxTokens: 8 }).invoke(turns);
      const rendered = `[user]The cat[assistant]${text(first)}[user]The sea[assistant]`;
      expect(usage.input_tokens).toBe(server.model.tokenizer!.encode(rendered, { addSpecialTokens: false }).length);
    });

    test("gets an error for images and for models of another name", async () => {
      const image = { type: "image_url", image_url: { url: "data:image/png;base64,AA" } };
      const asked = chat().invoke([new messages.HumanMessage({ content: [image] })]);
      await expect(asked).rejects.toMatchObject({ status: 400, message: expect.stringMatching(/is not supported/) });
      const other = chat({ model: "gpt-4.1" }).invoke("The cat");
      await expect(other).rejects.toMatchObject({ status: 404, message: expect.stringContaining("gpt-4.1") });
    });
  });

  test("gets an error for hosted tools with responses", async () => {
    const chat = new openai.ChatOpenAI(settings({ useResponsesApi: true }));
    await expect(chat.bindTools([{ type: "web_search" }]).invoke("The cat")).rejects.toMatchObject({
      ...{ status: 400, message: expect.stringContaining("tools[0].type: web_search is not supported") },
    });
  });

  test("sets a reasoning effort", async () => {
    const tokens = async (effort: string) => {
      const chat = new openai.ChatOpenAI(
        settings({ model: "gpt-4o", maxTokens: 1, modelKwargs: { reasoning_effort: effort } }),
      );
      return (await chat.invoke("The cat")).usage_metadata.input_tokens;
    };
    // With thinking off, the template writes one more character.
    expect(await tokens("none")).toBe((await tokens("low")) + 1);
  });

  test.each([undefined, "float"])("embeds texts with the encoding %s", async (encodingFormat) => {
    const embedding = new openai.OpenAIEmbeddings(settings({ encodingFormat }));
    const vectors = await embedding.embedDocuments(["The cat", "The sea"]);
    const [expected] = await server.model.embed(["The cat"]);
    expect(vectors.map(({ length }: number[]) => length)).toEqual([32, 32]);
    expect(vectors[0]).toEqual([...expected!]);
    expect(await embedding.embedQuery("The sea")).toEqual(vectors[1]);
  });
});
