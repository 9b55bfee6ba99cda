// Runs the published AI SDK with heddle's models in the same process.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createHeddle } from "../../lib/ai-sdk/index.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { client } from "../serve/clients/installed.ts";
import { chatModel, type Json, user } from "../serve/helpers.ts";

// Version 6 of the SDK has specification V3, and version 7 has V4. Both run on the Node that runs the tests.
const versions = [
  ["version 6", client<Json>("ai"), "v3"],
  ["version 7", client<Json>("ai-7"), "v4"],
] as const;
const zod = client<Json>("zod");

describe.skipIf(zod === undefined).each(versions)("the AI SDK in %s", (_, loaded, specificationVersion) => {
  let model: LanguageModel;
  let ai: Json;
  let z: Json;
  let own: Json;
  beforeAll(async () => {
    ai = await loaded;
    ({ z } = await zod!);
    model = await chatModel();
    own = createHeddle({ models: { tiny: model }, specificationVersion });
  });
  afterAll(() => model.dispose());

  const ask = { prompt: "The cat", temperature: 0, maxOutputTokens: 20 };
  const place = () => z.object({ place: z.enum(["Kyoto", "Lima"]), depth: z.number().int().min(0).max(99) });

  test("generates and streams the same text, with usage", async () => {
    const whole = await ai.generateText({ model: own("tiny"), ...ask });
    const { textStream, usage } = ai.streamText({ model: own("tiny"), ...ask });
    let text = "";
    for await (const piece of textStream) text += piece;
    const expected = await model.respond(user("The cat"), { temperature: 0, maxTokens: 20 });
    expect([whole.text, text]).toEqual([expected.text, expected.text]);
    const { promptTokens, completionTokens } = expected.usage;
    for (const counted of [whole.usage, await usage])
      expect(counted).toMatchObject({ inputTokens: promptTokens, outputTokens: completionTokens });
  });

  test("generates objects that follow a schema", async () => {
    const { object } = await ai.generateObject({ model: own("tiny"), ...ask, maxOutputTokens: 200, schema: place() });
    expect(place().parse(object)).toEqual(object);
  });

  test("runs tools and continues with their results", async () => {
    const given: Json[] = [];
    const sea = ai.tool({
      description: "Tells the depth of the sea.",
      inputSchema: place(),
      execute: async (input: Json) => {
        given.push(input);
        return { metres: 5 };
      },
    });
    const asked = vi.spyOn(model, "respond");
    const { steps } = await ai.generateText({
      ...{ model: own("tiny"), ...ask, maxOutputTokens: 200, tools: { sea } },
      toolChoice: "required",
      stopWhen: ai.stepCountIs(2),
    });
    expect(steps).toHaveLength(2);
    expect(given).toHaveLength(2);
    expect(steps[0].toolResults[0]).toMatchObject({ toolName: "sea", output: { metres: 5 } });
    const { toolCallId: id, input } = steps[0].toolCalls[0];
    expect(input).toEqual(given[0]);
    const call = { id, type: "function", function: { name: "sea", arguments: input } };
    expect(asked.mock.calls.map(([messages]) => messages)).toEqual([
      user("The cat"),
      [
        ...user("The cat"),
        { role: "assistant", content: "", tool_calls: [call] },
        { role: "tool", tool_call_id: id, name: "sea", content: '{"metres":5}' },
      ],
    ]);
    asked.mockRestore();
  });

  test("embeds texts in their order", async () => {
    const values = ["a cat", "a dog"];
    const { embeddings } = await ai.embedMany({ model: own.embeddingModel("tiny"), values });
    expect(embeddings).toEqual((await model.embed(values)).map((vector) => [...vector]));
  });
});
