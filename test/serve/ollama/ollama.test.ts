// Ollama's API over plain HTTP: chats, prompts, embeddings, and how they are streamed.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { WholeCalls } from "../../../lib/serve/ollama/send.ts";
import { type Client, endlessModel, type Json, until, user, withServer } from "../helpers.ts";
import { toolModel } from "../tool-model.ts";

const CHAT = "/api/chat";
const GENERATE = "/api/generate";

let model: LanguageModel;
beforeAll(async () => {
  model = await endlessModel();
});
afterAll(() => model.dispose());

const options = { num_predict: 12, temperature: 0 };
const serving = (work: (client: Client) => Promise<void>, how = {}) => withServer(model, how, work);

/** Returns the library's answer to a rendered prompt. */
const answerTo = async (prompt: string | number[], more = {}) =>
  (await model.complete(prompt, { maxTokens: 12, temperature: 0, addSpecialTokens: false, ...more })).text;

async function whole(client: Client, path: string, body: object): Promise<Json> {
  const { status, body: answer } = await client.post(path, { options, ...body, stream: false });
  expect({ status, answer }).toMatchObject({ status: 200 });
  return answer;
}

/** Returns the lines of a stream, which is the default. */
async function lines(client: Client, path: string, body: object): Promise<Json[]> {
  const { status, headers, body: text } = await client.post(path, { options, ...body });
  expect({ status, text }).toMatchObject({ status: 200 });
  expect(headers.get("content-type")).toBe("application/x-ndjson");
  expect(text.endsWith("\n")).toBe(true);
  return (text as string)
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line));
}

const duration = expect.any(Number);
const ends = (reason: string) => ({
  done: true,
  done_reason: reason,
  total_duration: duration,
  load_duration: duration,
  prompt_eval_count: duration,
  prompt_eval_duration: duration,
  eval_count: duration,
  eval_duration: duration,
});

describe("a chat", () => {
  test("is answered in one object with counts and times", () =>
    serving(async (client) => {
      const began = performance.now();
      const answer = await whole(client, CHAT, { model: "tiny", messages: user("The cat") });
      const ms = performance.now() - began;
      expect(answer).toEqual({
        model: "tiny",
        created_at: expect.stringMatching(/^\d{4}-.*Z$/),
        message: { role: "assistant", content: await answerTo("[user]The cat[assistant]") },
        ...ends("length"),
        prompt_eval_count: model.tokenizer!.encode("[user]The cat[assistant]", { addSpecialTokens: false }).length,
        eval_count: 12,
      });
      const { total_duration: total, load_duration: load, prompt_eval_duration: read, eval_duration: write } = answer;
      expect(read).toBeGreaterThan(0);
      expect(write).toBeGreaterThan(0);
      expect(load + read + write).toBeLessThanOrEqual(total);
      expect(total).toBeLessThan(ms * 1e6);
      for (const value of [total, load, read, write]) expect(Number.isInteger(value)).toBe(true);
    }));

  test("streams the same answer by default, one JSON object per line", () =>
    serving(async (client) => {
      const body = { model: "tiny:latest", messages: user("The dog") };
      const answer = await whole(client, CHAT, body);
      const parts = await lines(client, CHAT, body);
      expect(parts.map(({ message }) => message.content).join("")).toBe(answer.message.content);
      expect(parts.length).toBeGreaterThan(2);
      for (const part of parts.slice(0, -1))
        expect(part).toEqual({
          model: "tiny:latest",
          created_at: expect.any(String),
          message: { role: "assistant", content: expect.stringMatching(/./s) },
          done: false,
        });
      expect(parts.at(-1)).toEqual({
        ...{ model: "tiny:latest", created_at: expect.any(String), message: { role: "assistant", content: "" } },
        ...{ ...ends("length"), prompt_eval_count: answer.prompt_eval_count, eval_count: 12 },
      });
    }));

  test("has all roles, calls and results, and continues a last message of the assistant", () =>
    serving(async (client) => {
      const tools = [{ type: "function", function: { name: "sea", parameters: { type: "object" } } }];
      const messages = [
        { role: "system", content: "Be" },
        ...user("go"),
        {
          role: "assistant",
          content: "Well.",
          thinking: "hm",
          tool_calls: [{ function: { name: "sea", arguments: { a: 1 } } }],
        },
        { role: "tool", content: "blue", tool_name: "sea" },
      ];
      const prompt = '<tool_call>sea,[system]Be[user]go[assistant]Well.!sea({"a": 1})[tool]blue[assistant]';
      const answer = await whole(client, CHAT, { messages, tools });
      expect(answer.message.content).toBe(await answerTo(prompt));
      const more = [...user("The cat"), { role: "assistant", content: "saw a" }];
      const continued = await whole(client, CHAT, { messages: more, think: false });
      const ids = ["[user]The cat[assistant]-", "saw a"].flatMap((text) => [
        ...model.tokenizer!.encode(text, { addSpecialTokens: false }),
      ]);
      expect(continued.message.content).toBe(await answerTo(ids));
    }));

  test("turns the template's reasoning off with think: false", () =>
    serving(async (client) => {
      const asked = { messages: user("The cat") };
      const [off, on] = [
        await whole(client, CHAT, { ...asked, think: false }),
        await whole(client, CHAT, { ...asked, think: "high" }),
      ];
      expect(off.message.content).toBe(await answerTo("[user]The cat[assistant]-"));
      expect(on.message.content).toBe(await answerTo("[user]The cat[assistant]"));
    }));

  test("follows format: json or a schema", () =>
    serving(async (client) => {
      const asked = { messages: user("a"), options: { ...options, num_predict: 60 } };
      const schema = {
        type: "object",
        properties: { a: { enum: [1, 2] } },
        required: ["a"],
        additionalProperties: false,
      };
      const bySchema = await whole(client, CHAT, { ...asked, format: schema });
      expect([1, 2]).toContain(JSON.parse(bySchema.message.content).a);
      expect(bySchema.done_reason).toBe("stop");
      const json = await whole(client, CHAT, { ...asked, format: "json" });
      const { text } = await model.complete("[user]a[assistant]", {
        ...{ maxTokens: 60, temperature: 0, addSpecialTokens: false, responseFormat: { type: "json_object" } },
      });
      expect(json.message.content).toBe(text);
      expect((await whole(client, CHAT, { ...asked, format: "" })).message.content).not.toBe(text);
    }));

  test("applies options as the library does", () =>
    serving(async (client) => {
      const sampling = { num_predict: 12, temperature: 1.5, top_k: 40, top_p: 0.9, min_p: 0.01, seed: 7 };
      const penalties = { repeat_penalty: 1.3, presence_penalty: 0.5, frequency_penalty: 0.2 };
      const more = { num_ctx: 512, num_thread: 4, mirostat: 0, typical_p: 1, repeat_last_n: -1 };
      const answer = await whole(client, CHAT, {
        messages: user("a"),
        options: { ...sampling, ...penalties, ...more },
      });
      const library = await answerTo("[user]a[assistant]", {
        ...{ temperature: 1.5, topK: 40, topP: 0.9, minP: 0.01, seed: 7 },
        ...{ repetitionPenalty: 1.3, presencePenalty: 0.5, frequencyPenalty: 0.2 },
      });
      expect(answer.message.content).toBe(library);
      const stop = library.slice(3, 5);
      const asked = { ...sampling, ...penalties, stop };
      const cut = await whole(client, CHAT, { messages: user("a"), options: asked });
      expect(cut).toMatchObject({ message: { content: library.slice(0, library.indexOf(stop)) }, done_reason: "stop" });
      const unlimited = await whole(client, CHAT, {
        messages: user("a"),
        options: { num_predict: -1, temperature: 0 },
      });
      expect(unlimited.done_reason).toBe("length");
      expect(unlimited.prompt_eval_count + unlimited.eval_count).toBe(1025);
    }));

  test("has log-probabilities on request", () =>
    serving(async (client) => {
      const body = { messages: user("a"), logprobs: true, top_logprobs: 2 };
      const answer = await whole(client, CHAT, body);
      expect(answer.logprobs).toHaveLength(12);
      expect(answer.logprobs[0]).toMatchObject({ token: expect.any(String), logprob: expect.any(Number) });
      expect(answer.logprobs[0].top_logprobs).toHaveLength(2);
      const parts = await lines(client, CHAT, body);
      expect(parts.flatMap((part) => part.logprobs ?? [])).toEqual(answer.logprobs);
    }));

  test("a chat without messages only loads the model", () =>
    serving(async (client) => {
      for (const body of [{ messages: [] }, {}]) {
        const { status, body: answer } = await client.post(CHAT, { model: "tiny", ...body });
        expect({ status, answer }).toMatchObject({
          status: 200,
          answer: { done: true, done_reason: "load", message: { role: "assistant", content: "" } },
        });
      }
    }));
});

describe("a model with tools", () => {
  let tooled: LanguageModel;
  beforeAll(async () => {
    tooled = await toolModel();
  });
  afterAll(() => tooled?.dispose());
  const tools = [{ type: "function", function: { name: "sea", parameters: { type: "object" } } }];
  const body = { messages: user("go"), tools, options: { temperature: 0, num_predict: 100 } };

  test("gets calls with arguments as objects, whole and streamed", () =>
    withServer(tooled, {}, async (client) => {
      const called = { id: expect.stringMatching(/^call_/), function: { index: 0, name: "sea", arguments: { a: 1 } } };
      const answer = await whole(client, CHAT, body);
      expect(answer).toMatchObject({ message: { content: "Well.", tool_calls: [called] }, done_reason: "stop" });
      const parts = await lines(client, CHAT, body);
      expect(parts.map(({ message }) => message.content).join("")).toBe("Well.");
      expect(parts.flatMap(({ message }) => message.tool_calls ?? [])).toEqual([called]);
    }));

  test("calls that arrive in pieces are sent when they are complete", () => {
    const calls = new WholeCalls();
    const part = (index: number, json: string, name?: string) => ({
      index,
      id: `c${index}`,
      arguments: json,
      ...(name && { name }),
    });
    expect(calls.push([part(0, "", "f")])).toEqual([]);
    expect(calls.push([part(0, '{"a":'), part(0, "1}")])).toEqual([]);
    const first = { id: "c0", function: { index: 0, name: "f", arguments: { a: 1 } } };
    expect(calls.push([part(1, '{"b"', "g")])).toEqual([first]);
    expect(calls.flush()).toEqual([
      { id: "c1", function: { index: 1, name: "g", arguments: { INVALID_JSON: '{"b"' } } },
    ]);
    expect(calls.flush()).toEqual([]);
  });
});

describe("a prompt", () => {
  test("is answered as a user's message, or continued with raw", () =>
    serving(async (client) => {
      const answer = await whole(client, GENERATE, { model: "tiny", prompt: "The cat" });
      expect(answer).toEqual({
        ...{ model: "tiny", created_at: expect.any(String), response: await answerTo("[user]The cat[assistant]") },
        ...ends("length"),
      });
      const system = await whole(client, GENERATE, { prompt: "The cat", system: "Be" });
      expect(system.response).toBe(await answerTo("[system]Be[user]The cat[assistant]"));
      const raw = await whole(client, GENERATE, {
        prompt: "The cat",
        raw: true,
        context: [],
        suffix: "",
        template: "",
      });
      expect(raw.response).toBe(await answerTo("The cat", { addSpecialTokens: true }));
      const parts = await lines(client, GENERATE, { prompt: "The cat", raw: true });
      expect(parts.map((part) => part.response).join("")).toBe(raw.response);
      expect(parts.at(-1)).toMatchObject({ response: "", ...ends("length") });
    }));

  test("a prompt that is too long is refused by its name", () =>
    serving(async (client) => {
      const got = { 2000: "\\d+", 100000: "more than \\d+ characters" };
      for (const [times, text] of Object.entries(got))
        expect(await client.post(GENERATE, { prompt: "cat ".repeat(Number(times)) })).toMatchObject({
          status: 400,
          body: {
            error: expect.stringMatching(`^prompt: expected at most \\d+ tokens, the context length, got ${text}$`),
          },
        });
    }));

  test("a prompt that is empty only loads the model", () =>
    serving(async (client) => {
      const { body } = await client.post(GENERATE, { prompt: "" });
      expect(body).toMatchObject({ done: true, done_reason: "load", response: "", total_duration: duration });
    }));
});

describe("embeddings", () => {
  test("are those of the library, for one text or several", () =>
    serving(async (client) => {
      const texts = ["The cat", "a dog"];
      const vectors = (await model.embed(texts)).map((vector) => [...vector]);
      const { body } = await client.post("/api/embed", { model: "tiny", input: texts, options: { num_ctx: 10 } });
      expect(body).toEqual({
        model: "tiny",
        embeddings: vectors,
        total_duration: duration,
        load_duration: duration,
        prompt_eval_count: duration,
      });
      const one = await client.post("/api/embed", { input: "The cat", dimensions: 5 });
      expect(one.body.embeddings[0]).toHaveLength(5);
      const older = await client.post("/api/embeddings", { model: "tiny:latest", prompt: "The cat" });
      expect(older.body).toEqual({ embedding: vectors[0] });
    }));

  test("truncate long texts unless truncate is false", () =>
    serving(async (client) => {
      const input = "The cat saw the sea. ".repeat(500);
      expect((await client.post("/api/embed", { input })).body.prompt_eval_count).toBe(1024);
      expect((await client.post("/api/embeddings", { prompt: input })).status).toBe(200);
      const refused = await client.post("/api/embed", { input, truncate: false });
      expect(refused).toMatchObject({
        status: 400,
        body: { error: expect.stringContaining("input: expected at most") },
      });
    }));
});

test("a client that disconnects from a stream ends its answer", () =>
  serving(async (client) => {
    const leaving = new AbortController();
    const body = JSON.stringify({ messages: user("a"), options: { num_predict: 900 } });
    const response = await fetch(client.server.url + CHAT, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal: leaving.signal,
    });
    await response.body!.getReader().read();
    leaving.abort();
    await until(() => client.server.stats.answers === 0, "the answer to end");
  }));
