// Refusals of OpenAI's Responses API name the parameter. Interrupted streams state why they end.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { type Client, chatModel, clientOf, type Json, rawPost, rawSocket, until, withServer } from "../helpers.ts";
import { namedEvents, RESPONSES, tool } from "./helpers.ts";

let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await chatModel();
  client = clientOf(await serve(model, { port: 0, modelName: "tiny", aliases: ["gpt-4o"] }));
});
afterAll(async () => {
  await client.server.close(0);
  await model.dispose();
});

async function refusal(body: object): Promise<Json> {
  const { status, body: refused } = await client.post(RESPONSES, body);
  return { status, ...refused.error };
}

describe("a refusal", () => {
  const hi = { input: "hi" };
  const inputs = (item: unknown) => ({ input: [{ role: "user", content: "a" }, item] });
  const image = { type: "input_image", image_url: "data:image/png;base64,AA" };
  test.each<[string, object, string, RegExp]>([
    ["no input", {}, "input", /a string or an array of items/],
    ["an empty conversation", { input: [] }, "input", /at least one message/],
    ["an input of another type", { input: 1 }, "input", /a string or an array of items/],
    ["an item that is not an object", inputs(1), "input[1]", /an item/],
    [
      "an item of another type",
      inputs({ type: "web_search_call" }),
      "input[1].type",
      /web_search_call is not supported/,
    ],
    ["a message without content", inputs({ role: "user" }), "input[1].content", /a string or an array of parts/],
    [
      "an image",
      inputs({ role: "user", content: [image] }),
      "input[1].content[0].type",
      /input_image is not supported/,
    ],
    [
      "a file",
      inputs({ role: "user", content: [{ type: "input_file" }] }),
      "input[1].content[0].type",
      /input_file is not/,
    ],
    [
      "an image as output of a call",
      inputs({ type: "function_call_output", call_id: "1", output: [image] }),
      "input[1].output[0].type",
      /input_image is not supported/,
    ],
    [
      "a part without text",
      inputs({ role: "user", content: [{ type: "input_text" }] }),
      "input[1].content[0].text",
      /a string/,
    ],
    ["an unknown part", inputs({ role: "user", content: [{ type: "poem" }] }), "input[1].content[0].type", /"poem"/],
    ["a part that is not an object", inputs({ role: "user", content: [1] }), "input[1].content[0]", /a part/],
    [
      "the output of an unknown call",
      inputs({ type: "function_call_output", call_id: "9", output: "" }),
      "input",
      /call_id "9"/,
    ],
    ["a call without a name", inputs({ type: "function_call", call_id: "9", arguments: "{}" }), "input[1].name", /./],
    ["a reference without an id", inputs({ type: "item_reference" }), "input[1].id", /the id of a stored item/],
    ["a background response", { ...hi, background: true }, "background", /is not supported: pass stream/],
    ["a conversation object", { ...hi, conversation: "conv_1" }, "conversation", /pass previous_response_id/],
    ["a stored prompt", { ...hi, prompt: { id: "p" } }, "prompt", /pass input/],
    ["chat parameters", { messages: [], max_tokens: 1 }, "messages", /pass input/],
    ["max_tokens", { ...hi, max_tokens: 1 }, "max_tokens", /pass max_output_tokens/],
    ["several answers", { ...hi, n: 2 }, "n", /a response is one answer/],
    ["an unknown parameter", { ...hi, temprature: 1 }, "temprature", /nearest: temperature/],
    [
      "a hosted tool",
      { ...hi, tools: [{ type: "web_search" }] },
      "tools[0].type",
      /web_search is not supported: .*pass functions/,
    ],
    ["a custom tool", { ...hi, tools: [{ type: "custom", name: "x" }] }, "tools[0].type", /custom is not supported/],
    ["a tool without a name", { ...hi, tools: [{ type: "function" }] }, "tools[0].name", /the name of a function/],
    ["a tool that is not an object", { ...hi, tools: [1] }, "tools[0]", /a function/],
    ["an unknown choice", { ...hi, tool_choice: "any" }, "tool_choice", /none, auto, required/],
    ["a choice of another type", { ...hi, tool_choice: 1 }, "tool_choice", /none, auto, required/],
    [
      "a hosted choice",
      { ...hi, tools: [tool], tool_choice: { type: "file_search" } },
      "tool_choice.type",
      /file_search is not/,
    ],
    [
      "a choice of an unknown function",
      { ...hi, tools: [tool], tool_choice: { type: "function", name: "x" } },
      "tool_choice.name",
      /the name of one of the tools/,
    ],
    [
      "allowed tools in another mode",
      { ...hi, tools: [tool], tool_choice: { type: "allowed_tools", mode: "x", tools: [] } },
      "tool_choice.mode",
      /auto or required/,
    ],
    [
      "no allowed tools",
      { ...hi, tools: [tool], tool_choice: { type: "allowed_tools", mode: "auto", tools: [] } },
      "tool_choice.tools",
      /at least one/,
    ],
    ["a required call without tools", { ...hi, tool_choice: "required" }, "tools", /at least one/],
    ["an unknown format", { ...hi, text: { format: { type: "yaml" } } }, "text.format.type", /json_schema/],
    ["a format that is not an object", { ...hi, text: { format: "json" } }, "text.format", /an object/],
    [
      "a format without a schema",
      { ...hi, text: { format: { type: "json_schema", name: "a" } } },
      "text.format.schema",
      /a JSON schema/,
    ],
    [
      "an unsupported schema",
      { ...hi, text: { format: { type: "json_schema", name: "a", schema: { type: "nothing" } } } },
      "text.format.schema",
      /nothing/,
    ],
    [
      "a format together with a required call",
      { ...hi, text: { format: { type: "json_object" } }, tools: [tool], tool_choice: "required" },
      "text.format",
      /no format together with a required tool call/,
    ],
    ["a verbosity", { ...hi, text: { verbosity: "low" } }, "text.verbosity", /instructions/],
    ["an unknown field of text", { ...hi, text: { style: 1 } }, "text.style", /is not supported/],
    [
      "an unknown include",
      { ...hi, include: ["file_search_call.results"] },
      "include[0]",
      /file_search_call.results is not/,
    ],
    ["an unknown effort", { ...hi, reasoning: { effort: "most" } }, "reasoning.effort", /./],
    ["an unknown field of reasoning", { ...hi, reasoning: { mode: "x" } }, "reasoning.mode", /is not supported/],
    ["metadata that are not strings", { ...hi, metadata: { a: 1 } }, "metadata", /an object of at most 16 strings/],
    ["an unknown truncation", { ...hi, truncation: "middle" }, "truncation", /./],
    ["an unknown model", { ...hi, model: "gpt-5" }, "model", /expected tiny or gpt-4o/],
  ])("names the parameter for %s", async (_, body, param, message) => {
    const refused = await refusal(body);
    expect(refused).toMatchObject({ type: "invalid_request_error", param });
    expect(refused.message.startsWith(param)).toBe(true);
    expect(refused.message).toMatch(message);
    expect(refused.status).toBe(param === "model" ? 404 : 400);
  });

  test("names an effort that the template has no variable for", async () => {
    const tokenizer = (await tinyTokenizer()).withChatTemplate({ template: "{{ messages[0].content }}" });
    await using plain = tinyModel({ tokenizer });
    await withServer(plain, {}, async (own) => {
      const response = await own.post(RESPONSES, { input: "a", reasoning: { effort: "low" } });
      expect(response.body.error).toMatchObject({ param: "reasoning.effort", code: "unsupported" });
      const chat = await own.post("/v1/chat/completions", {
        ...{ messages: [{ role: "user", content: "a" }], reasoning_effort: "low" },
      });
      expect(chat.body.error).toMatchObject({ param: "reasoning_effort", code: "unsupported" });
    });
  });

  test("a refusal of a POST to a path of a response has the code method_not_allowed", async () => {
    const { status, body } = await client.post(`${RESPONSES}/resp_1/cancel`, {});
    expect([status, body.error.code]).toEqual([405, "method_not_allowed"]);
  });
});

describe("an interrupted stream", () => {
  const endless = { input: "hi", max_output_tokens: 900, temperature: 0, ignore_eos: true };

  test("ends with an error event and a failed response when the server closes", async () => {
    const own = clientOf(await serve(model, { port: 0 }));
    const running = own.post(RESPONSES, { ...endless, stream: true });
    const whole = own.post(RESPONSES, endless);
    await until(() => own.server.stats.running === 2, "both to begin");
    await own.server.close(0);
    const events = namedEvents((await running).body);
    expect(events.at(-2)).toMatchObject({
      type: "error",
      code: "unavailable",
      message: expect.stringMatching(/shutting down/),
    });
    const { type, response } = events.at(-1);
    expect([type, response.status, response.error.code]).toEqual(["response.failed", "failed", "server_error"]);
    expect((await whole).status).toBe(503);
  });

  test("frees its slot when the client disconnects, and is not stored", async () => {
    const socket = await rawSocket(client.server, rawPost(RESPONSES, { ...endless, stream: true }));
    let text = "";
    socket.setEncoding("utf8").on("data", (more: string) => {
      text += more;
    });
    socket.resume();
    await until(() => text.includes("output_text.delta"), "the stream to begin");
    socket.destroy();
    await until(() => client.server.stats.answers === 0, "its slot to be free");
    const id = /"id":"(resp_[\da-f]+)"/.exec(text)![1]!;
    expect((await client.ask(`${RESPONSES}/${id}`)).status).toBe(404);
  });
});
