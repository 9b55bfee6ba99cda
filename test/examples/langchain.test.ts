// The classes of examples/langchain.mjs work with the published packages of LangChain.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { newModel } from "../formats/sentence-transformers/embedding-folders.ts";
import { client } from "../serve/clients/installed.ts";
import { chatModel, type Json } from "../serve/helpers.ts";
import { toolModel } from "../serve/tool-model.ts";

const modules = [
  ...[client<Json>("@langchain/core/messages"), client<Json>("@langchain/core/tools"), client<Json>("zod")],
] as const;

describe.skipIf(modules[0] === undefined)("the LangChain example", () => {
  let models: LanguageModel[] = [];
  let [random, tooled]: LanguageModel[] = [];
  let example: Json;
  let messages: Json;
  let tools: Json;
  let z: Json;
  beforeAll(async () => {
    [messages, tools, { z }] = await Promise.all(modules);
    const path = "../../examples/langchain.mjs";
    example = await import(path);
    [random, tooled] = models = [await chatModel(), await toolModel()];
  });
  afterAll(() => Promise.all(models.map((model) => model.dispose())));

  const chat = (model = random, more = {}) => new example.HeddleChat({ model, maxTokens: 12, temperature: 0, ...more });

  test("returns the model's text by invoke and by stream, and the usage by invoke", async () => {
    const expected = await random!.respond([{ role: "user", content: "The cat" }], { maxTokens: 12, temperature: 0 });
    const message = await chat().invoke("The cat");
    expect(message.text).toBe(expected.text);
    expect(message.usage_metadata.output_tokens).toBe(expected.usage.completionTokens);
    expect(message.response_metadata.finish_reason).toBe(expected.finishReason);
    const parts: string[] = [];
    for await (const part of await chat().stream([new messages.HumanMessage("The cat")])) parts.push(part.text);
    expect(parts.length).toBeGreaterThan(2);
    expect(parts.join("")).toBe(expected.text);
  });

  test.each(["invoke", "stream"])("calls a tool, and continues with its result, by %s", async (how) => {
    const inputs: Json[] = [];
    const run = (input: Json) => {
      inputs.push(input);
      return "blue";
    };
    const sea = tools.tool(run, { name: "sea", description: "Looks.", schema: z.object({ a: z.number() }) });
    const bound = chat(tooled, { maxTokens: 100 }).bindTools([sea]);
    const answer = async (given: Json[]) => {
      if (how === "invoke") return bound.invoke(given);
      let whole: Json;
      for await (const part of await bound.stream(given)) whole = whole ? whole.concat(part) : part;
      return whole;
    };
    const conversation = [new messages.HumanMessage("go")];
    const called = await answer(conversation);
    expect(called).toMatchObject({ text: "Well.", tool_calls: [{ name: "sea", args: { a: 1 } }] });
    conversation.push(called, await sea.invoke(called.tool_calls[0]));
    expect((await answer(conversation)).text).toBe("It is blue.");
    expect(inputs).toEqual([{ a: 1 }]);
  });

  test.each(["any", "lake"])("calls a tool if tool_choice is %s", async (tool_choice) => {
    const parameters = {
      type: "object",
      properties: { a: { enum: [1] } },
      required: ["a"],
      additionalProperties: false,
    };
    const lake = { type: "function", function: { name: "lake", parameters } };
    const { tool_calls: calls } = await chat(tooled, { maxTokens: 100 })
      .bindTools([lake], { tool_choice })
      .invoke("go");
    expect(calls).toMatchObject([{ name: "lake", args: { a: 1 } }]);
  });

  test("returns structured output that follows a zod schema", async () => {
    const place = z.object({ place: z.enum(["Kyoto", "Lima"]) });
    const value = await chat(random, { maxTokens: 60 }).withStructuredOutput(place).invoke("The cat");
    expect(place.parse(value)).toEqual(value);
  });

  test("checks structured output against the schema, and also returns the message if includeRaw is set", async () => {
    const place = z.object({ place: z.enum(["Kyoto", "Lima"]) });
    const model = chat(random, { maxTokens: 60 });
    const both = await model.withStructuredOutput(place, { includeRaw: true }).invoke("The cat");
    expect(both.parsed).toEqual(JSON.parse(both.raw.text));
    const never = place.refine(() => false, "not there");
    await expect(model.withStructuredOutput(never).invoke("The cat")).rejects.toThrow("not there");
    const refused = await model.withStructuredOutput(never, { includeRaw: true }).invoke("The cat");
    expect([refused.parsed, JSON.parse(refused.raw.text)]).toEqual([null, both.parsed]);
    const json = z.toJSONSchema(place);
    expect(await model.withStructuredOutput(json).invoke("The cat")).toEqual(both.parsed);
  });

  test("passes the reasoning of earlier answers on", async () => {
    const seen: Json[] = [];
    const fake = {
      respond(given: Json[]) {
        seen.push(...given);
        return random!.respond([{ role: "user", content: "The cat" }], { maxTokens: 2, temperature: 0 });
      },
    };
    const thought = new messages.AIMessage({ content: "Hm.", additional_kwargs: { reasoning_content: "Look first." } });
    await new example.HeddleChat({ model: fake }).invoke([new messages.HumanMessage("Go"), thought]);
    expect(seen).toEqual([
      { role: "user", content: "Go" },
      { role: "assistant", content: "Hm.", reasoning_content: "Look first." },
    ]);
  });

  test("ends an answer whose signal is aborted", async () => {
    const controller = new AbortController();
    let tokens = 0;
    const count = () => {
      if (++tokens === 5) controller.abort();
    };
    const model = chat(random, { maxTokens: 900, ignoreEos: true, logitProcessors: [count] });
    const { signal } = controller;
    await expect(model.invoke("The cat", { signal })).rejects.toMatchObject({ code: "ABORTED" });
    // The next answer begins after the aborted one has ended.
    await chat().invoke("The cat");
    expect(tokens).toBe(5);
  });

  test("embeds documents and queries", async () => {
    const embeddings = new example.HeddleEmbeddings({ model: random });
    const expected = (await random!.embed(["The cat", "The sea"])).map((vector) => [...vector]);
    expect(await embeddings.embedDocuments(["The cat", "The sea"])).toEqual(expected);
    expect(await embeddings.embedQuery("The sea")).toEqual(expected[1]);
  });

  test("embeds queries and documents with the model's prompts for them", async () => {
    await using model = newModel("bert", { prompts: { query: "query: ", passage: "passage: " } });
    const embeddings = new example.HeddleEmbeddings({ model });
    expect(await embeddings.embedQuery("cat")).toEqual([...(await model.embed("query: cat"))]);
    expect(await embeddings.embedDocuments(["cat"])).toEqual([[...(await model.embed("passage: cat"))]]);
  });
});
