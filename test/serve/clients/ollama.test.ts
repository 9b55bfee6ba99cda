// Ollama's published client talks to the server, unmodified.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../../lib/serve/index.ts";
import { endlessModel, type Json, until, user } from "../helpers.ts";
import { ANSWER, THOUGHT, thinkModel } from "../think-model.ts";
import { toolModel } from "../tool-model.ts";
import { client } from "./installed.ts";

const loaded = client<Json>("ollama");

describe.skipIf(loaded === undefined)("ollama", () => {
  let models: LanguageModel[];
  let servers: ModelServer[];
  let Ollama: Json;
  /** Clients of three models. One answers at random, one calls a tool, and one thinks first. */
  let [random, tooled, thinker]: Json[] = [];

  beforeAll(async () => {
    ({ Ollama } = await loaded!);
    models = [await endlessModel({ maxPositionEmbeddings: 32_768 }), await toolModel(), await thinkModel()];
    servers = await Promise.all(
      models.map((model) => serve(model, { port: 0, modelName: "tiny", apiKeys: ["secret"] })),
    );
    const headers = { authorization: "Bearer secret" };
    [random, tooled, thinker] = servers.map(({ url }) => new Ollama({ host: url, headers }));
  });
  afterAll(async () => {
    for (const server of servers ?? []) await server.close(0);
    for (const model of models ?? []) await model.dispose();
  });

  const options = { num_predict: 12, temperature: 0 };
  const asked = { model: "tiny", messages: user("The cat"), options };
  const schema = { type: "object", properties: { a: { enum: [1, 2] } }, required: ["a"], additionalProperties: false };
  const partsOf = async (stream: AsyncIterable<Json>) => {
    const parts: Json[] = [];
    for await (const part of stream) parts.push(part);
    return parts;
  };

  test("chats, whole and streamed", async () => {
    const { message, done, eval_count: count } = await random.chat(asked);
    expect({ done, count }).toEqual({ done: true, count: 12 });
    const parts = await partsOf(await random.chat({ ...asked, model: "tiny:latest", stream: true }));
    expect(parts.length).toBeGreaterThan(2);
    expect(parts.map((part) => part.message.content).join("")).toBe(message.content);
    expect(parts.at(-1)).toMatchObject({ done: true, done_reason: "length", eval_count: 12 });
  });

  test("generate applies the chat template unless raw is set, and streams the same text", async () => {
    const { response } = await random.generate({ model: "tiny", prompt: "The cat", options });
    expect(response).toBe((await random.chat(asked)).message.content);
    const raw = { model: "tiny", prompt: "The cat", raw: true, options };
    const parts = await partsOf(await random.generate({ ...raw, stream: true }));
    const whole = await random.generate(raw);
    expect(parts.map((part) => part.response).join("")).toBe(whole.response);
    expect(whole.response).not.toBe(response);
  });

  test("follows a schema", async () => {
    const { message } = await random.chat({ ...asked, format: schema, options: { ...options, num_predict: 60 } });
    expect([1, 2]).toContain(JSON.parse(message.content).a);
  });

  test.each([false, true])("calls a tool and continues with its result (stream: %s)", async (stream) => {
    const tools = [
      { type: "function", function: { name: "sea", description: "Looks.", parameters: { type: "object" } } },
    ];
    const answer = async (messages: Json[]) => {
      const body = { model: "tiny", messages, tools, stream, options: { temperature: 0, num_predict: 100 } };
      const given = await tooled.chat(body);
      const parts: Json[] = stream ? await partsOf(given) : [given];
      const content = parts.map(({ message }) => message.content).join("");
      return { role: "assistant", content, tool_calls: parts.flatMap(({ message }) => message.tool_calls ?? []) };
    };
    const calling = await answer(user("go"));
    expect(calling).toMatchObject({
      content: "Well.",
      tool_calls: [{ function: { name: "sea", arguments: { a: 1 } } }],
    });
    const result = { role: "tool", content: "blue", tool_name: "sea" };
    expect(await answer([...user("go"), calling, result])).toMatchObject({ content: "It is blue.", tool_calls: [] });
  });

  test("think turns reasoning on and off, whole and streamed", async () => {
    const going = { model: "tiny", messages: user("go"), options: { temperature: 0, num_predict: 100 } };
    const thought = { role: "assistant", content: ANSWER, thinking: THOUGHT };
    expect((await thinker.chat({ ...going, think: true })).message).toEqual(thought);
    const parts = await partsOf(await thinker.chat({ ...going, think: true, stream: true }));
    const joined = (name: string) => parts.map(({ message }) => message[name] ?? "").join("");
    expect({ content: joined("content"), thinking: joined("thinking") }).toMatchObject({
      ...{ content: ANSWER, thinking: THOUGHT },
    });
    expect((await thinker.chat({ ...going, think: false })).message).toEqual({ role: "assistant", content: ANSWER });
    const { messages: _, ...rest } = going;
    const generated = await thinker.generate({ ...rest, prompt: "go", think: true });
    expect(generated).toMatchObject({ response: ANSWER, thinking: THOUGHT });
  });

  test("embeds one text and several", async () => {
    const { embeddings } = await random.embed({ model: "tiny", input: ["The cat", "a dog"] });
    expect(embeddings).toEqual((await models[0]!.embed(["The cat", "a dog"])).map((vector) => [...vector]));
    const { embedding } = await random.embeddings({ model: "tiny", prompt: "The cat" });
    expect(embedding).toEqual(embeddings[0]);
  });

  test("lists and shows models", async () => {
    const [listed] = (await random.list()).models;
    expect(listed).toMatchObject({ name: "tiny:latest", details: { family: "llama" } });
    const shown = await random.show({ model: "tiny" });
    expect(shown.capabilities).toEqual(["completion", "tools", "thinking"]);
    const [running] = (await random.ps()).models;
    expect(running).toMatchObject({ name: "tiny:latest", size: listed.size, context_length: 32_768 });
    expect(await random.version()).toEqual({ version: expect.any(String) });
  });

  test("an aborted stream ends the answer", async () => {
    const stream = await random.chat({ ...asked, stream: true, options: { num_predict: -1 } });
    const reading = async () => {
      for await (const _ of stream) random.abort();
    };
    await expect(reading()).rejects.toThrow(/abort/i);
    await until(() => servers[0]!.stats.answers === 0, "the answer to end");
  });

  test("gets errors with their messages", async () => {
    const refused = (work: Promise<unknown>) =>
      work.catch((error: Json) => [error.name, error.status_code, error.message]);
    const images = [{ ...user("a")[0], images: ["eA=="] }];
    expect(await refused(random.chat({ ...asked, messages: images }))).toEqual([
      ...["ResponseError", 400, "messages[0].images: is not supported: the model reads text"],
    ]);
    expect(await refused(random.chat({ ...asked, model: "other" }))).toEqual([
      "ResponseError",
      404,
      expect.stringMatching(/^model:/),
    ]);
    expect(await refused(tooled.chat({ ...asked, think: true }))).toEqual([
      "ResponseError",
      400,
      expect.stringMatching(/^think:/),
    ]);
    expect(await refused(random.pull({ model: "tiny" }))).toEqual([
      "ResponseError",
      501,
      expect.stringMatching(/^\/api\/pull:/),
    ]);
    expect(await refused(random.delete({ model: "tiny" }))).toEqual([
      "ResponseError",
      501,
      expect.stringMatching(/^\/api\/delete:/),
    ]);
    expect(await refused(new Ollama({ host: servers[0]!.url }).list())).toEqual([
      "ResponseError",
      401,
      expect.stringMatching(/key/),
    ]);
  });
});
