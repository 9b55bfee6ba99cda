// The AI SDK talks to the server with its published provider for Anthropic's API, unmodified.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../../lib/serve/index.ts";
import type { Json } from "../helpers.ts";
import { toolModel } from "../tool-model.ts";
import { client } from "./installed.ts";

const modules = [client<Json>("ai"), client<Json>("@ai-sdk/anthropic"), client<Json>("zod")] as const;

describe.skipIf(modules[0] === undefined)("the AI SDK with @ai-sdk/anthropic", () => {
  let model: LanguageModel;
  let server: ModelServer;
  let ai: Json;
  let z: Json;
  let asked: Json;

  beforeAll(async () => {
    const [sdk, { createAnthropic }, zod] = await Promise.all(modules);
    [ai, z] = [sdk, zod.z];
    model = await toolModel();
    server = await serve(model, { port: 0, modelName: "tiny" });
    const provider = createAnthropic({ baseURL: `${server.url}/v1`, apiKey: "none" });
    asked = { model: provider("tiny"), maxOutputTokens: 100, temperature: 0, maxRetries: 0 };
  });
  afterAll(async () => {
    await server?.close(0);
    await model?.dispose();
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

  test("reports errors with their status and message", async () => {
    const error = await ai.generateText({ ...asked, prompt: "x".repeat(5000) }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ statusCode: 400, message: expect.stringContaining("the context length") });
  });
});
