// Runs the published AI SDK with heddle's models in the same process.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHeddle } from "../../lib/ai-sdk/index.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { client } from "../serve/clients/installed.ts";
import { chatModel, type Json } from "../serve/helpers.ts";

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
    expect(text).toBe(whole.text);
    expect((await usage).outputTokens).toBe(whole.usage.outputTokens);
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
    const { steps } = await ai.generateText({
      ...{ model: own("tiny"), ...ask, maxOutputTokens: 200, tools: { sea } },
      toolChoice: "required",
      stopWhen: ai.stepCountIs(2),
    });
    expect(steps).toHaveLength(2);
    expect(given).toHaveLength(2);
    expect(steps[0].toolResults[0]).toMatchObject({ toolName: "sea", output: { metres: 5 } });
  });

  test("embeds", async () => {
    const { embeddings } = await ai.embedMany({ model: own.embeddingModel("tiny"), values: ["a cat", "a dog"] });
    expect(embeddings.map(({ length }: Json) => length)).toEqual(Array(2).fill(model.config.hiddenSize));
  });
});
