// Refused requests of Anthropic's Messages API: features that the server does not have, and invalid parameters.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type Client, chatModel, user, withServer } from "../helpers.ts";

const MESSAGES = "/v1/messages";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const serving = (work: (client: Client) => Promise<void>) => withServer(model, {}, work);
const asked = (content: string) => ({ max_tokens: 12, temperature: 0, messages: user(content) });

describe("the Messages API", () => {
  const image = { type: "image", source: { type: "url", url: "https://x.example/a.png" } };
  const blocks = (...content: object[]) => ({ messages: [{ role: "user", content }] });
  const call = { type: "tool_use", id: "t1", name: "f", input: {} };
  const tool = { name: "f", input_schema: { type: "object" } };
  const saying = (content: unknown[]) => ({ messages: [...user("a"), { role: "assistant", content }] });
  test.each<[string, object, string]>([
    [
      "a request without max_tokens",
      { max_tokens: undefined },
      "max_tokens: expected a whole number from 1 to 2147483647, got nothing",
    ],
    ["no messages", { messages: [] }, "messages: expected an array of at least one message"],
    ["a temperature above 1", { temperature: 1.5 }, "temperature: expected a number from 0 to 1, got 1.5"],
    ["an empty stop sequence", { stop_sequences: [""] }, "stop_sequences: expected at most 64 texts"],
    [
      "an unknown role",
      { messages: [{ role: "tool", content: "a" }] },
      "messages[0].role: expected user, assistant or system",
    ],
    [
      "content of another type",
      { messages: [{ role: "user", content: 1 }] },
      "messages[0].content: expected a text or an array of blocks",
    ],
    ["a block without a type", blocks({ text: "a" }), "messages[0].content[0]: expected a block with a type"],
    [
      "a text block without a text",
      blocks({ type: "text" }),
      "messages[0].content[0].text: expected a text, got undefined",
    ],
    ["images", blocks(image), "messages[0].content[0].type: image is not supported: expected text or tool_result"],
    ["documents", blocks({ type: "document" }), "messages[0].content[0].type: document is not supported"],
    [
      "redacted thinking",
      saying([{ type: "redacted_thinking", data: "" }]),
      "messages[1].content[0].type: redacted_thinking is not supported",
    ],
    [
      "results of server tools",
      saying([{ type: "server_tool_use" }]),
      "messages[1].content[0].type: server_tool_use is not supported",
    ],
    [
      "an unknown block",
      blocks({ type: "poem" }),
      'messages[0].content[0].type: expected text or tool_result, got "poem"',
    ],
    [
      "a result of an unknown call",
      blocks({ type: "tool_result", tool_use_id: "x" }),
      "messages[0].content[0].tool_use_id: expected the id of an earlier tool_use",
    ],
    [
      "an image in a result",
      {
        messages: [
          ...saying([call]).messages,
          { role: "user", content: [{ type: "tool_result", tool_use_id: "t1", content: [image] }] },
        ],
      },
      "messages[2].content[0].content[0].type: image is not supported: expected text",
    ],
    [
      "a call whose input is not an object",
      saying([{ ...call, input: "x" }]),
      "messages[1].content[0].input: expected an object",
    ],
    ["a last message with a call", saying([call]), "messages: expected results of the last message's tool calls"],
    [
      "a last message that ends with space",
      saying([{ type: "text", text: "a " }]),
      "messages: expected a last message of the assistant that does not end with white space",
    ],
    [
      "server tools",
      { tools: [{ type: "web_search_20250305", name: "web_search" }] },
      "tools[0].type: web_search_20250305 is not supported",
    ],
    [
      "null as a tool's description",
      { tools: [{ ...tool, description: null }] },
      "tools[0].description: expected a text, got null",
    ],
    ["a tool without a schema", { tools: [{ name: "f" }] }, "tools[0].input_schema: expected an object"],
    ["deferred tools", { tools: [{ ...tool, defer_loading: true }] }, "tools[0].defer_loading: is not supported"],
    [
      "a choice of an unknown tool",
      { tools: [tool], tool_choice: { type: "tool", name: "g" } },
      'tool_choice.name: expected the name of one of the tools, got "g"',
    ],
    [
      "a required call without tools",
      { tool_choice: { type: "any" } },
      "tools: expected at least one for a required tool call",
    ],
    ["an unknown choice", { tool_choice: { type: "some" } }, "tool_choice.type: expected one of auto, any, tool, none"],
    ["thinking without a budget", { thinking: { type: "enabled" } }, "thinking.budget_tokens: expected a whole number"],
    [
      "omitted thinking",
      { thinking: { type: "adaptive", display: "omitted" } },
      "thinking.display: expected one of summarized",
    ],
    [
      "thinking together with the beginning of an answer",
      { ...saying([{ type: "text", text: "a" }]), thinking: { type: "adaptive" } },
      "messages: expected a last message of the user, because the answer begins with thinking",
    ],
    ["containers", { container: "x" }, "container: is not supported"],
    ["MCP servers", { mcp_servers: [] }, "mcp_servers: is not supported"],
    ["context management", { context_management: {} }, "context_management: is not supported"],
    [
      "an unknown parameter",
      { stop_sequence: ["a"] },
      "stop_sequence: expected a known parameter (nearest: stop_sequences)",
    ],
    [
      "an unsupported schema",
      { output_config: { format: { type: "json_schema", schema: { not: {} } } } },
      "output_config.format",
    ],
  ])("rejects %s", (_, more, start) =>
    serving(async (client) => {
      const answer = await client.post(MESSAGES, { ...asked("a"), ...more });
      expect(answer).toMatchObject({ status: 400, body: { type: "error", error: { type: "invalid_request_error" } } });
      expect(answer.body.error.message.slice(0, start.length)).toBe(start);
    }),
  );

  test("rejects conversations on the server, with the code that clients know", () =>
    serving(async (client) => {
      const { status, body } = await client.post(MESSAGES, { ...asked("a"), thread: { type: "create" } });
      const message = "thread: is not supported: send the whole conversation without it";
      const details = { error_code: "thread_unsupported_request" };
      expect({ status, ...body }).toEqual({
        ...{ status: 400, type: "error", error: { type: "invalid_request_error", message, details } },
        request_id: expect.any(String),
      });
    }));

  test("rejects enabled thinking if the template has none, and disabled thinking if the template always thinks", async () => {
    const plain = await chatModel({}, "{% for m in messages %}{{ m.content }}{% endfor %}");
    const always = await chatModel({}, "{% for m in messages %}{{ m.content }}{% endfor %}<think>");
    const budget = { type: "enabled", budget_tokens: 5 };
    const refusal = async (of: LanguageModel, more: object) =>
      withServer(
        of,
        {},
        async (client) => (await client.post(MESSAGES, { ...asked("a"), ...more })).body.error?.message,
      );
    expect(await refusal(plain, { thinking: budget })).toBe(
      "thinking: expected none, because this model's chat template has no reasoning",
    );
    expect(await refusal(plain, { thinking: { type: "disabled" } })).toBeUndefined();
    expect(await refusal(always, { thinking: { type: "disabled" } })).toContain("cannot turn it off");
    expect(await refusal(always, {})).toBeUndefined();
    const prefilled = [...user("a"), { role: "assistant", content: "b" }];
    expect(await refusal(always, { messages: prefilled })).toContain("the answer begins with thinking");
    await Promise.all([plain.dispose(), always.dispose()]);
  });
});
