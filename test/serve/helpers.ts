// A server with a tiny model, and plain HTTP clients.
import { connect, type Socket } from "node:net";
import { expect } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { type ModelServer, type ServeOptions, serve } from "../../lib/serve/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

/** A chat template that prints all its inputs, with tool calls in the supported format. */
export const chatTemplate = [
  "{% if tools %}<tool_call>{% for t in tools %}{{ t.function.name }},{% endfor %}{% endif %}",
  "{% for m in messages %}[{{ m.role }}]{{ m.content }}",
  "{% for c in m.tool_calls or [] %}!{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}{% endfor %}",
  "{% if add_generation_prompt %}[assistant]{% if enable_thinking is false %}-{% endif %}{% endif %}",
].join("");

/** A model with random weights and a chat template. */
export async function chatModel(config: object = {}, template = chatTemplate): Promise<LanguageModel> {
  const files = (await tinyTokenizer()).files();
  const tokenizer = Tokenizer.fromFiles({
    tokenizer: files["tokenizer.json"],
    tokenizerConfig: files["tokenizer_config.json"],
    chatTemplate: template,
  });
  return tinyModel({ tokenizer }, { maxPositionEmbeddings: 1024, ...config });
}

/** Like chatModel, but without an end token. Without a token limit, its answers end when the context is full. */
export async function endlessModel(config: object = {}): Promise<LanguageModel> {
  const model = await chatModel({ ...config, eosTokenIds: [] });
  Object.defineProperty(model.tokenizer, "eosTokenIds", { value: [] });
  return model;
}

// biome-ignore lint/suspicious/noExplicitAny: the tests say what the fields are
export type Json = any;

export interface Client {
  server: ModelServer;
  /** Sends any request. */
  ask(path: string, init?: RequestInit): Promise<{ status: number; headers: Headers; body: Json }>;
  post(path: string, body: unknown, init?: RequestInit): Promise<{ status: number; headers: Headers; body: Json }>;
  chat(body: object): Promise<Json>;
  /** Returns the objects of a stream that ends with `[DONE]`. */
  events(path: string, body: object): Promise<Json[]>;
}

/** Runs `work` with a server, then closes it. */
export async function withServer<T>(
  model: LanguageModel,
  options: ServeOptions,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const server = await serve(model, { port: 0, modelName: "tiny", ...options });
  try {
    return await work(clientOf(server));
  } finally {
    await server.close(0);
  }
}

export function clientOf(server: ModelServer): Client {
  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(server.url + path, init);
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    return { status: response.status, headers: response.headers, body: isJson && text ? JSON.parse(text) : text };
  };
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    ask(path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
      headers: { "content-type": "application/json", ...init.headers },
    });
  return {
    server,
    ask,
    post,
    async chat(body) {
      const { status, body: answer } = await post("/v1/chat/completions", body);
      expect({ status, answer }).toMatchObject({ status: 200 });
      return answer;
    },
    async events(path, body) {
      const { status, headers, body: text } = await post(path, { ...body, stream: true });
      expect({ status, text }).toMatchObject({ status: 200 });
      expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
      return eventsIn(text);
    },
  };
}

/** Parses the objects of a complete stream, which must end with `[DONE]`. */
export function eventsIn(text: string): Json[] {
  expect(text.endsWith("\n\n")).toBe(true);
  const data = text
    .slice(0, -2)
    .split("\n\n")
    .map((event) => {
      expect(event).toMatch(/^data: [^\n]+$/);
      return event.slice(6);
    });
  expect(data.pop()).toBe("[DONE]");
  return data.map((event) => JSON.parse(event));
}

export const user = (content: string) => [{ role: "user", content }];
/** Options of the library for a greedy answer of 24 tokens. */
export const greedy = { maxTokens: 24, temperature: 0, ignoreEos: true };
/** The request parameters that equal `greedy`. */
export const greedily = { max_tokens: 24, temperature: 0, ignore_eos: true };

/** A connection that sends and reads only on demand. */
export async function rawSocket(server: ModelServer, text = ""): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.pause();
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  if (text) socket.write(text);
  return socket;
}

/** A raw POST request. */
export function rawPost(path: string, body: object, headers: readonly string[] = []): string {
  const json = JSON.stringify(body);
  return [
    `POST ${path} HTTP/1.1`,
    "host: localhost",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(json)}`,
    ...headers,
    "",
    json,
  ].join("\r\n");
}

/** Everything received until the other side ends. */
export async function readAll(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  socket.resume();
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return text;
}

/** Waits until a condition holds. `what` describes the condition in the error after `ms` milliseconds. */
export async function until(condition: () => boolean, what: string, ms = 30_000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`expected ${what} within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
