// examples/mcp.ts calls the tools of an MCP server. The published SDK provides the server and the client.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { respondWithTools, toolsOf } from "../../examples/mcp.ts";
import type { ChatMessage, LanguageModel } from "../../lib/index.ts";
import { client } from "../serve/clients/installed.ts";
import { type Json, user } from "../serve/helpers.ts";
import { toolModel } from "../serve/tool-model.ts";

const sdk = "@modelcontextprotocol/sdk";
const modules = [
  ...[client<Json>(`${sdk}/client/index.js`), client<Json>(`${sdk}/server/mcp.js`), client<Json>(`${sdk}/inMemory.js`)],
  client<Json>("zod"),
] as const;

describe.skipIf(modules[0] === undefined)("the MCP example", () => {
  let model: LanguageModel;
  let connected: { client: Json; server: Json; inputs: Json[] };
  let answer = "blue";
  beforeAll(async () => {
    const [{ Client }, { McpServer }, { InMemoryTransport }, { z }] = await Promise.all(modules);
    model = await toolModel();
    const server = new McpServer({ name: "sea", version: "1.0.0" });
    const inputs: Json[] = [];
    server.registerTool("sea", { description: "Looks.", inputSchema: { a: z.number() } }, (input: Json) => {
      inputs.push(input);
      if (answer === "storm") throw new Error("a storm");
      return { content: [{ type: "text", text: answer }] };
    });
    const mcp = new Client({ name: "heddle", version: "1.0.0" });
    const [here, there] = InMemoryTransport.createLinkedPair();
    await Promise.all([server.connect(there), mcp.connect(here)]);
    connected = { client: mcp, server, inputs };
  });
  afterAll(async () => {
    await connected?.client.close();
    await connected?.server.close();
    await model?.dispose();
  });

  const asked = { maxTokens: 100, temperature: 0 };

  test("offers the server's tools", async () => {
    expect(await toolsOf(connected.client)).toMatchObject([
      { type: "function", function: { name: "sea", description: "Looks.", parameters: { required: ["a"] } } },
    ]);
  });

  test("calls a tool, and continues with its result", async () => {
    const messages: ChatMessage[] = user("go");
    connected.inputs.length = 0;
    answer = "blue";
    const { text } = await respondWithTools(model, connected.client, messages, asked);
    expect({ text, inputs: connected.inputs }).toEqual({ text: "It is blue.", inputs: [{ a: 1 }] });
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    expect(messages[2]).toMatchObject({ content: "blue", tool_call_id: (messages[1] as Json).tool_calls[0].id });
  });

  test("passes the error of a failed tool to the model", async () => {
    const messages: ChatMessage[] = user("go");
    answer = "storm";
    await respondWithTools(model, connected.client, messages, { ...asked, maxRounds: 1 });
    expect(messages[2]).toMatchObject({ role: "tool", content: expect.stringMatching(/^Error: .*a storm/) });
  });

  test("without rounds, the model of the MCP example answers without a call", async () => {
    const messages: ChatMessage[] = user("go");
    const { toolCalls } = await respondWithTools(model, connected.client, messages, { ...asked, maxRounds: 0 });
    expect(toolCalls).toBeUndefined();
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
  });
});

const call = { id: "1", type: "function", function: { name: "sea", arguments: "{}" } };
const server = {
  listTools: async () => ({ tools: [{ name: "sea", inputSchema: {} }] }),
  callTool: async () => ({ content: [{ type: "text", text: "blue" }] }),
};

test.each([
  [{ maxRounds: 0 }, 0],
  [{ maxRounds: 1 }, 1],
  [{ maxRounds: 3 }, 3],
  [{}, 8],
])("the MCP example ends after the given number of rounds: %j", async (options, rounds) => {
  const choices: unknown[] = [];
  const model = {
    respond: async (_: ChatMessage[], { toolChoice }: { toolChoice: string }) => {
      choices.push(toolChoice);
      return toolChoice === "none" ? { text: "Blue." } : { text: "Well.", toolCalls: [call] };
    },
  } as unknown as LanguageModel;
  const messages: ChatMessage[] = user("go");
  expect(await respondWithTools(model, server, messages, options)).toEqual({ text: "Blue." });
  expect(choices).toEqual([...Array(rounds).fill("auto"), "none"]);
  const round = ["assistant", "tool"];
  expect(messages.map(({ role }) => role)).toEqual(["user", ...Array(rounds).fill(round).flat(), "assistant"]);
});

test("the MCP example passes the reasoning before a tool call to the next request", async () => {
  const answers = [{ text: "Well.", reasoning: "Look first.", toolCalls: [call] }, { text: "Blue." }];
  const seen: ChatMessage[][] = [];
  const model = {
    respond: async (messages: ChatMessage[]) => {
      seen.push(structuredClone(messages));
      return answers[seen.length - 1];
    },
  } as unknown as LanguageModel;
  const messages: ChatMessage[] = user("go");
  await respondWithTools(model, server, messages);
  expect(seen[1]!.slice(1)).toEqual([
    { role: "assistant", content: "Well.", reasoning_content: "Look first.", tool_calls: [call] },
    { role: "tool", tool_call_id: "1", content: "blue" },
  ]);
  expect(messages.at(-1)).toEqual({ role: "assistant", content: "Blue." });
  // @ts-expect-error: the server provides the tools, so `tools` is not an option
  await respondWithTools(model, { ...server, listTools: async () => ({ tools: [] }) }, [], { tools: [] }).catch(
    () => {},
  );
});
