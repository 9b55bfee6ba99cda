// If a request has tools and a JSON format, the model chooses: its answer is a call or JSON, in every API.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { heddle } from "../../../lib/ai-sdk/index.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { type Client, chatModel, clientOf, type Json, user } from "../helpers.ts";

const CHAT = "/v1/chat/completions";
const parameters = {
  type: "object",
  properties: { place: { enum: ["Kyoto", "Lima"] } },
  required: ["place"],
  additionalProperties: false,
};
const schema = {
  type: "object",
  properties: { depth: { type: "integer", minimum: 0, maximum: 9 } },
  required: ["depth"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "sea", parameters } }];
const messages = user("hi");

let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await chatModel();
  client = clientOf(await serve(model, { port: 0, modelName: "tiny" }));
});
afterAll(async () => {
  await client.server.close(0);
  await model.dispose();
});

/** The parts of an answer that the APIs name differently. */
interface Said {
  text: string;
  calls: { name: string; args: Json }[];
  reason: string;
}

/** How each API requests tools together with a JSON format, and how to read its answer. */
const apis: Record<
  string,
  { path: string; body: (seed: number) => object; said: (body: Json) => Said; reasons: object }
> = {
  "chat completions": {
    path: CHAT,
    body: (seed) => ({
      ...{ messages, tools, max_tokens: 200, temperature: 20, seed },
      response_format: { type: "json_schema", json_schema: { name: "a", schema } },
    }),
    said: ({ choices: [{ message, finish_reason: reason }] }) => ({
      text: message.content ?? "",
      calls: (message.tool_calls ?? []).map((call: Json) => ({
        name: call.function.name,
        args: JSON.parse(call.function.arguments),
      })),
      reason,
    }),
    reasons: { call: "tool_calls", json: "stop" },
  },
  responses: {
    path: "/v1/responses",
    body: (seed) => ({
      ...{ input: messages, tools: [{ type: "function", name: "sea", parameters }], max_output_tokens: 200 },
      ...{ temperature: 20, seed, text: { format: { type: "json_schema", name: "a", schema } } },
    }),
    said: ({ output, status: reason }) => ({
      text: output
        .flatMap((item: Json) => item.content ?? [])
        .map((part: Json) => part.text)
        .join(""),
      calls: output
        .filter(({ type }: Json) => type === "function_call")
        .map((call: Json) => ({ name: call.name, args: JSON.parse(call.arguments) })),
      reason,
    }),
    reasons: { call: "completed", json: "completed" },
  },
  messages: {
    path: "/v1/messages",
    body: () => ({
      ...{ messages, tools: [{ name: "sea", input_schema: parameters }], max_tokens: 200, temperature: 1 },
      tool_choice: { type: "auto", disable_parallel_tool_use: true },
      output_config: { format: { type: "json_schema", schema } },
    }),
    said: ({ content, stop_reason: reason }) => ({
      text: content.map((block: Json) => block.text ?? "").join(""),
      calls: content
        .filter(({ type }: Json) => type === "tool_use")
        .map((block: Json) => ({ name: block.name, args: block.input })),
      reason,
    }),
    reasons: { call: "tool_use", json: "end_turn" },
  },
  ollama: {
    path: "/api/chat",
    body: (seed) => ({
      ...{ messages, tools, stream: false, format: schema, options: { temperature: 20, seed, num_predict: 200 } },
    }),
    said: ({ message, done_reason: reason }) => ({
      text: message.content,
      calls: (message.tool_calls ?? []).map((call: Json) => ({
        name: call.function.name,
        args: call.function.arguments,
      })),
      reason,
    }),
    reasons: { call: "stop", json: "stop" },
  },
};

/** Checks an answer. @returns whether it is a call or JSON */
function kindOf({ text, calls }: Omit<Said, "reason">): "call" | "json" {
  if (calls.length === 0) {
    const value = JSON.parse(text);
    expect(value).toEqual({ depth: expect.any(Number) });
    return "json";
  }
  expect(text).toBe("");
  for (const { name, args } of calls) {
    expect(name).toBe("sea");
    expect(parameters.properties.place.enum).toContain(args.place);
  }
  return "call";
}

test.each(Object.entries(apis))("an answer of %s is a call or JSON", async (_, { path, body, said, reasons }) => {
  const kinds = new Set<string>();
  for (let seed = 0; seed < 60 && kinds.size < 2; seed++) {
    const { status, body: answer } = await client.post(path, body(seed));
    expect({ status, answer }).toMatchObject({ status: 200 });
    const one = said(answer);
    const kind = kindOf(one);
    expect(one.reason).toBe((reasons as Json)[kind]);
    kinds.add(kind);
  }
  expect([...kinds].sort()).toEqual(["call", "json"]);
});

describe("chat completions", () => {
  const both = apis["chat completions"]!.body(1) as Json;

  test("stream the same calls and the same JSON", async () => {
    const kinds = new Set<string>();
    for (let seed = 0; seed < 60 && kinds.size < 2; seed++) {
      const whole = (await client.chat({ ...both, seed })).choices[0].message;
      const events = (await client.events(CHAT, { ...both, seed })).flatMap(({ choices }) => choices);
      const text = events.map(({ delta }) => delta.content ?? "").join("");
      const args = events.flatMap(({ delta }) => delta.tool_calls ?? []).map((call: Json) => call.function.arguments);
      expect(text).toBe(whole.content ?? "");
      const expected = (whole.tool_calls ?? []).map((call: Json) => call.function.arguments).join("");
      expect(args.join("")).toBe(expected);
      kinds.add(text === "" ? "call" : "json");
    }
    expect([...kinds].sort()).toEqual(["call", "json"]);
  });

  test("have JSON alone if no tool may be called", async () => {
    for (let seed = 0; seed < 8; seed++) {
      const none = await client.chat({ ...both, tool_choice: "none", seed });
      expect(kindOf(apis["chat completions"]!.said(none))).toBe("json");
    }
  });

  test("have only the first of several calls if parallel calls are off", async () => {
    const callsOf = async (body: object) => (await client.chat(body)).choices[0].message.tool_calls ?? [];
    let several = 0;
    for (let seed = 0; seed < 60 && several < 2; seed++) {
      if ((await callsOf({ ...both, seed })).length < 2) continue;
      several++;
      expect(await callsOf({ ...both, parallel_tool_calls: false, seed })).toHaveLength(1);
    }
    expect(several).toBe(2);
  });

  test("name an unsupported part of a tool's schema", async () => {
    const wrong = { type: "function", function: { name: "f", parameters: { $dynamicRef: "#a" } } };
    const { status, body } = await client.post(CHAT, { ...both, tools: [wrong] });
    expect({ status, message: body.error.message }).toEqual({
      ...{ status: 400, message: expect.stringContaining("$dynamicRef") },
    });
  });
});

test("a model of the AI SDK calls a tool or gives JSON", async () => {
  const kinds = new Set<string>();
  for (let seed = 0; seed < 60 && kinds.size < 2; seed++) {
    const { content, warnings } = await heddle(model).doGenerate({
      prompt: [{ role: "user", content: [{ type: "text", text: "hi" }] }],
      tools: [{ type: "function", name: "sea", inputSchema: parameters as Json }],
      responseFormat: { type: "json", schema: schema as Json },
      ...{ temperature: 20, seed, maxOutputTokens: 200 },
    });
    expect(warnings).toEqual([]);
    const texts = content.flatMap((part) => (part.type === "text" ? [part.text] : []));
    const calls = content.flatMap((part) =>
      part.type === "tool-call" ? [{ name: part.toolName, args: JSON.parse(part.input) }] : [],
    );
    kinds.add(kindOf({ text: texts.join(""), calls }));
  }
  expect([...kinds].sort()).toEqual(["call", "json"]);
});

test("a template without a call format gets JSON alone", async () => {
  const options = { tools, template: "{{ messages[0].content }}", maxTokens: 200, temperature: 20 };
  for (let seed = 0; seed < 8; seed++) {
    const responseFormat = { type: "json_schema", schema } as const;
    const { text, toolCalls } = await model.respond(messages, { ...options, responseFormat, seed });
    expect(kindOf({ text, calls: (toolCalls ?? []) as never })).toBe("json");
  }
});
