// Hugging Face's published inference client talks to the server, unmodified.
import { beforeAll, describe, expect, test } from "vitest";
import { type Json, user } from "../helpers.ts";
import { client } from "./installed.ts";
import { served } from "./served.ts";

const loaded = client<Json>("@huggingface/inference");

describe.skipIf(loaded === undefined)("@huggingface/inference", () => {
  const server = served();
  let hf: Json;
  beforeAll(async () => {
    const { InferenceClient } = await loaded!;
    hf = new InferenceClient("none", { endpointUrl: server.url });
  });

  const asked = { model: "tiny", messages: user("The cat"), max_tokens: 200, temperature: 0 };
  const schema = { type: "object", properties: { a: { enum: [1, 2] } }, required: ["a"], additionalProperties: false };
  const tools = [{ type: "function", function: { name: "f", parameters: schema } }];

  test("chats and streams the same text", async () => {
    const { choices, usage } = await hf.chatCompletion(asked);
    expect(choices[0].message.content).not.toBe("");
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
    const parts: string[] = [];
    for await (const chunk of hf.chatCompletionStream(asked)) parts.push(chunk.choices[0].delta.content ?? "");
    expect(parts.length).toBeGreaterThan(2);
    expect(parts.join("")).toBe(choices[0].message.content);
  });

  test("continues a text", async () => {
    const parameters = { max_new_tokens: 8, temperature: 0 };
    const { generated_text: text } = await hf.textGeneration({ model: "tiny", inputs: "The cat", parameters });
    expect(text).toBe((await server.model.complete("The cat", { maxTokens: 8, temperature: 0 })).text);
  });

  test("requires a tool, and continues with its result", async () => {
    const [{ message }] = (await hf.chatCompletion({ ...asked, tools, tool_choice: "required" })).choices;
    const [call] = message.tool_calls;
    expect(call.function.name).toBe("f");
    expect([1, 2]).toContain(JSON.parse(call.function.arguments).a);
    const result = { role: "tool", tool_call_id: call.id, content: "blue" };
    const { usage } = await hf.chatCompletion({
      ...asked,
      max_tokens: 8,
      messages: [...asked.messages, message, result],
    });
    const { usage: before } = await hf.chatCompletion({ ...asked, max_tokens: 8 });
    expect(usage.prompt_tokens).toBeGreaterThan(before.prompt_tokens);
  });

  test("follows a schema", async () => {
    const response_format = { type: "json_schema", json_schema: { name: "a", schema } };
    const { choices } = await hf.chatCompletion({ ...asked, response_format });
    expect([1, 2]).toContain(JSON.parse(choices[0].message.content).a);
  });

  test("sets a reasoning effort", async () => {
    const tokens = async (effort: string) =>
      (await hf.chatCompletion({ ...asked, max_tokens: 1, reasoning_effort: effort })).usage.prompt_tokens;
    // With thinking off, the template writes one more character.
    expect(await tokens("none")).toBe((await tokens("low")) + 1);
  });

  test("gets an error for images and for models of another name", async () => {
    const content = [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }];
    for (const [given, status, message] of [
      [{ messages: [{ role: "user", content }] }, 400, "image_url is not supported"],
      [{ model: "gpt2" }, 404, "expected tiny"],
    ] as const)
      await expect(hf.chatCompletion({ ...asked, ...given })).rejects.toMatchObject({
        httpResponse: { status, body: { error: { message: expect.stringContaining(message) } } },
      });
  });

  test("embeds texts at the path of the task, and at that of text-embeddings-inference", async () => {
    const { InferenceClient } = await loaded!;
    const expected = (await server.model.embed(["The cat", "The sea"])).map((vector) => [...vector]);
    const task = new InferenceClient("none", { endpointUrl: `${server.url}/models/tiny/pipeline/feature-extraction` });
    expect(await task.featureExtraction({ inputs: "The cat" })).toEqual(expected[0]);
    expect(await task.featureExtraction({ inputs: ["The cat", "The sea"] })).toEqual(expected);
    const embed = new InferenceClient("none", { endpointUrl: `${server.url}/embed` });
    expect(await embed.featureExtraction({ inputs: ["The cat", "The sea"] })).toEqual(expected);
    await expect(embed.featureExtraction({ inputs: "a", prompt_name: "query" })).rejects.toMatchObject({
      httpResponse: { status: 400, body: { error: expect.stringContaining("prompt_name: is not supported") } },
    });
  });
});
