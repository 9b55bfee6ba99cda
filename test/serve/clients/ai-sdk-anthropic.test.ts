// The AI SDK talks to the server with its published provider for Anthropic's API, unmodified.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../../lib/serve/index.ts";
import { chatModel, chatTemplate, type Json } from "../helpers.ts";
import { ANSWER, THOUGHT, thinkModel } from "../think-model.ts";
import { toolModel } from "../tool-model.ts";
import { client } from "./installed.ts";

const modules = [client<Json>("ai"), client<Json>("@ai-sdk/anthropic"), client<Json>("zod")] as const;

describe.skipIf(modules[0] === undefined)("the AI SDK with @ai-sdk/anthropic", () => {
  let models: LanguageModel[];
  let server: ModelServer;
  let ai: Json;
  let z: Json;
  let provider: Json;
  /** The settings of a request to the model that calls a tool. */
  let asked: Json;

  beforeAll(async () => {
    const [sdk, { createAnthropic }, zod] = await Promise.all(modules);
    [ai, z] = [sdk, zod.z];
    const random = await chatModel({}, `${chatTemplate}{{ reasoning_effort or '' }}`);
    const think = await thinkModel();
    // The client omits the temperature of a request with thinking.
    think.generation.doSample = false;
    models = [await toolModel(), think, random];
    const names = ["tiny", "think", "random"];
    const sources = models.map((model, i) => ({ model, name: names[i]! }));
    server = await serve(sources, { port: 0 });
    provider = createAnthropic({ baseURL: `${server.url}/v1`, apiKey: "none" });
    asked = { model: provider("tiny"), maxOutputTokens: 100, temperature: 0, maxRetries: 0 };
  });
  afterAll(async () => {
    await server?.close(0);
    for (const model of models ?? []) await model.dispose();
  });

  test("generates and streams the same text", async () => {
    const { text, usage } = await ai.generateText({ ...asked, prompt: "go" });
    expect(text).not.toBe("");
    const stream = ai.streamText({ ...asked, prompt: "go" });
    const parts: string[] = [];
    for await (const part of stream.textStream) parts.push(part);
    expect(parts.join("")).toBe(text);
    expect((await stream.usage).outputTokens).toBe(usage.outputTokens);
  });

  test.each(["generateText", "streamText"])("calls a tool and continues with its result, by %s", async (how) => {
    const inputs: Json[] = [];
    const sea = ai.tool({
      description: "Looks.",
      inputSchema: z.object({ a: z.number() }),
      execute: async (input: Json) => {
        inputs.push(input);
        return "blue";
      },
    });
    const result = await ai[how]({ ...asked, prompt: "go", tools: { sea }, stopWhen: ai.stepCountIs(2) });
    const [text, steps] = [await result.text, await result.steps];
    expect({ text, inputs }).toEqual({ text: "It is blue.", inputs: [{ a: 1 }] });
    expect(steps.map((step: Json) => step.finishReason)).toEqual(["tool-calls", "stop"]);
  });

  test.each([
    ["a tool that it requires", {}],
    ["output_config.format", { structuredOutputMode: "outputFormat" }],
  ])("generates an object by %s, whole and streamed", async (_, anthropic) => {
    // For output_config.format the client drops the limits of numbers, which Anthropic's API does not take.
    const schema = z.object({ place: z.enum(["Kyoto", "Lima"]), isDeep: z.boolean() });
    const given = { ...asked, model: provider("random"), prompt: "The cat", schema, providerOptions: { anthropic } };
    const { object } = await ai.generateObject(given);
    expect(schema.parse(object)).toEqual(object);
    const stream = ai.streamObject(given);
    let last: Json;
    for await (const partial of stream.partialObjectStream) last = partial;
    expect([last, await stream.object]).toEqual([object, object]);
  });

  test("turns thinking on and off, whole and streamed", async () => {
    const given = (thinking: object) => ({
      ...asked,
      ...{
        model: provider("think"),
        temperature: undefined,
        prompt: "go",
        providerOptions: { anthropic: { thinking } },
      },
    });
    const on = given({ type: "enabled", budgetTokens: 1024 });
    const { text, reasoningText } = await ai.generateText(on);
    expect({ text, reasoningText }).toEqual({ text: ANSWER, reasoningText: THOUGHT });
    const stream = ai.streamText(on);
    expect([await stream.text, await stream.reasoningText]).toEqual([ANSWER, THOUGHT]);
    const off = await ai.generateText(given({ type: "disabled" }));
    expect([off.text, off.reasoningText]).toEqual([ANSWER, undefined]);
  });

  test("closes thinking that has spent its budget", async () => {
    const thinking = { type: "enabled", budgetTokens: 3 };
    const providerOptions = { anthropic: { thinking } };
    const { reasoningText } = await ai.generateText({
      ...asked,
      ...{ model: provider("think"), temperature: undefined, prompt: "go", providerOptions },
    });
    expect(THOUGHT.startsWith(reasoningText)).toBe(true);
    expect(reasoningText.length).toBeLessThan(THOUGHT.length);
  });

  test("passes an effort on to the template", async () => {
    const tokens = async (effort: string) => {
      const providerOptions = { anthropic: { effort } };
      const given = { ...asked, model: provider("random"), prompt: "The cat", maxOutputTokens: 1, providerOptions };
      return (await ai.generateText(given)).usage.inputTokens;
    };
    // The template writes the effort, so the prompts differ by its tokens.
    const { length: low } = models[2]!.tokenizer!.encode("low", { addSpecialTokens: false });
    const { length: medium } = models[2]!.tokenizer!.encode("medium", { addSpecialTokens: false });
    expect((await tokens("medium")) - (await tokens("low"))).toBe(medium - low);
    expect(medium).toBeGreaterThan(low);
  });

  test("continues a conversation with the messages of its answers", async () => {
    const given = { ...asked, model: provider("random"), maxOutputTokens: 12 };
    const first = await ai.generateText({ ...given, prompt: "The cat" });
    const messages = [
      { role: "user", content: "The cat" },
      ...first.response.messages,
      { role: "user", content: "The sea" },
    ];
    const { usage } = await ai.generateText({ ...given, messages });
    const rendered = `[user]The cat[assistant]${first.text}[user]The sea[assistant]-`;
    expect(usage.inputTokens).toBe(models[2]!.tokenizer!.encode(rendered, { addSpecialTokens: false }).length);
  });

  test("gets an error for images and for hosted tools", async () => {
    const refused = (given: object) => ai.generateText({ ...asked, ...given }).catch((reason: unknown) => reason);
    const content = [{ type: "image", image: new Uint8Array([1]), mediaType: "image/png" }];
    expect(await refused({ messages: [{ role: "user", content }] })).toMatchObject({
      ...{ statusCode: 400, message: expect.stringContaining("image is not supported") },
    });
    const tools = { web_search: provider.tools.webSearch_20250305({ maxUses: 1 }) };
    expect(await refused({ prompt: "go", tools })).toMatchObject({
      ...{ statusCode: 400, message: expect.stringContaining("web_search_20250305 is not supported") },
    });
  });

  test("reports errors with their status and message", async () => {
    const error = await ai.generateText({ ...asked, prompt: "x".repeat(5000) }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ statusCode: 400, message: expect.stringContaining("the context length") });
  });
});
