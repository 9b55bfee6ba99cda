// Tool calls are parsed from text in any chunks, and from answers of a model trained to write one.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Scheduled } from "../../lib/inference/shared-scheduler.ts";
import { ToolCallParser } from "../../lib/language-model/chat/tool-calls.ts";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { type Delta, deltas } from "../../lib/serve/answer.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { sft } from "../../lib/train/stages/sft.ts";
import { chatTemplate, type Json, user, withServer } from "./helpers.ts";

type Call = [name: string, args: string];

function parse(pieces: readonly string[]): { text: string; calls: Call[] } {
  const parser = new ToolCallParser();
  const parts = [...pieces.map((piece) => parser.push(piece)), parser.flush()];
  const calls = parts.flatMap((part) => part.calls);
  for (const call of calls) expect(call).toMatchObject({ id: /^call_[\da-f]{24}$/, type: "function" });
  expect(new Set(calls.map((call) => call.id)).size).toBe(calls.length);
  return {
    text: parts.map((part) => part.text).join(""),
    calls: calls.map(({ function: { name, arguments: args } }) => [name, args]),
  };
}

describe("parsing of tool calls", () => {
  const call = (json: string) => `<tool_call>\n${json}\n</tool_call>`;
  test.each<[string, string, string, Call[]]>([
    ["a text without calls", " a <b> \n", " a <b> \n", []],
    ["one call", call('{"name": "f", "arguments": {"x": [1, "é"]}}'), "", [["f", '{"x":[1,"é"]}']]],
    [
      "calls between other text",
      `Let me see.\n\n${call('{"name":"f","arguments":{}}')}\n${call('{"name":"g"}')}\n`,
      "Let me see.",
      [
        ["f", "{}"],
        ["g", "{}"],
      ],
    ],
    ["text after a call", `${call('{"name":"f"}')} so be it `, " so be it", [["f", "{}"]]],
    ["arguments that are a JSON string", call('{"name":"f","arguments":"{\\"x\\":1}"}'), "", [["f", '{"x":1}']]],
    [
      "the end mark inside a string",
      call('{"name":"f","arguments":{"a":"\\"</tool_call>","b":"<tool_call>"}}') + call('{"name":"g"}'),
      "",
      [
        ["f", '{"a":"\\"</tool_call>","b":"<tool_call>"}'],
        ["g", "{}"],
      ],
    ],
    [
      "numbers that JavaScript cannot represent",
      call('{"arguments": {"id": 12345678901234567890, "x": 1.0, "y": [1e400, " : "]}, "name": "f"}'),
      "",
      [["f", '{"id":12345678901234567890,"x":1.0,"y":[1e400," : "]}']],
    ],
    [
      "a key named arguments inside the arguments",
      call('{"name":"f","arguments":{"arguments":[1],"name":2}}'),
      "",
      [["f", '{"arguments":[1],"name":2}']],
    ],
    [
      "a call with an extra quote before a valid call",
      '<tool_call>{"name: "f"}</tool_call><tool_call>{"name":"g"}</tool_call>',
      '<tool_call>{"name: "f"}</tool_call>',
      [["g", "{}"]],
    ],
    ["a call that is not JSON", `a ${call("{name: f}")} b`, `a ${call("{name: f}")} b`, []],
    ["a call without a name", call('{"arguments":{}}'), call('{"arguments":{}}'), []],
    ["a call that is not an object", call("null") + call("[1]"), call("null") + call("[1]"), []],
    ["nested arguments that are too deep to serialize", call(`{"name":"f","arguments":${"[".repeat(9000)}`), "", []],
    ["an unterminated call", '<tool_call>{"name":"f"', '<tool_call>{"name":"f"', []],
    ["a partial start mark", "a <tool_ca", "a <tool_ca", []],
    ["an end mark without a start", "a</tool_call>", "a</tool_call>", []],
  ])("%s", (name, text, expected, calls) => {
    if (name.startsWith("nested")) expect(parse([text])).toEqual({ text, calls: [] });
    else expect(parse([text])).toEqual({ text: expected, calls });
  });

  test("does not depend on how the text is chunked", () => {
    const part = fc.constantFrom(
      ...[
        call('{"name":"f","arguments":{"a":"</tool"}}'),
        call('{"name":"f","arguments":{"a":"</tool_call>"}}'),
        call("{"),
        call('{"'),
        '"',
        "<tool_call>",
        "</tool_call>",
        "<",
        "</tool_",
        " ",
        "\n",
        "a",
      ],
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), fc.array(fc.nat(12)), (parts, cuts) => {
        const text = parts.join("");
        const pieces: string[] = [];
        let at = 0;
        for (const cut of cuts) {
          pieces.push(text.slice(at, at + cut));
          at += cut;
        }
        pieces.push(text.slice(at));
        const whole = parse([text]);
        expect(parse(pieces)).toEqual(whole);
        expect(parse([...text])).toEqual(whole);
        if (!text.includes("<tool_call>")) expect(whole).toEqual({ text, calls: [] });
      }),
      { numRuns: 400 },
    );
  });

  test("does not hold back text indefinitely", () => {
    const parser = new ToolCallParser();
    let held = 0;
    for (let i = 0; i < 300 && held < 300; i++)
      held = parser.push(i === 0 ? "<tool_call>" : "x".repeat(1000)).text === "" ? held + 1 : 300;
    expect(held).toBe(300);
    expect(parser.push("more")).toEqual({ text: "more", calls: [] });
    const broken = new ToolCallParser();
    expect(broken.push('<tool_call>{"name: "f"\n}</tool_call> more').text).toBe(
      '<tool_call>{"name: "f"\n}</tool_call> more',
    );
  });
});

test("an answer limited to one call ends after it, without reading further", async () => {
  const call = (name: string) => `<tool_call>{"name":"${name}"}</tool_call>`;
  const texts = ["a ", `b${call("f")} c${call("g")}`, "d"];
  const read = async (single: boolean) => {
    let given = 0;
    const stream = async function* () {
      for (const [i, text] of texts.entries()) {
        given++;
        yield [{ text, token: i, logprob: 0, index: 0, ...(i === 2 && { finishReason: "stop" }) }];
      }
    };
    const one = { sequence: { options: { stopTokens: new Set() } }, stream: stream() } as unknown as Scheduled;
    const parts: Delta[] = [];
    for await (const delta of deltas(one, { single, named: false })) parts.push(delta);
    const text = parts.map((part) => part.text).join("");
    const calls = parts.flatMap((part) => part.calls.map((made) => made.function.name));
    return { given, text, calls, finish: parts.at(-1)!.finishReason };
  };
  expect(await read(true)).toEqual({ given: 2, text: "a b", calls: ["f"], finish: "tool_calls" });
  expect(await read(false)).toEqual({ given: 3, text: "a b cd", calls: ["f", "g"], finish: "tool_calls" });
});

describe("an answer of a model with tools", () => {
  const answer = 'Well.\n<tool_call>\n{"name": "sea", "arguments": {"a": 1}}\n</tool_call>';
  let folder: string;
  let model: LanguageModel;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "heddle-tools-"));
    const text = `<tool_call>sea,[user]go[assistant]${answer}`;
    const trained = await Tokenizer.train([`${text}\n[user]no[assistant]`], { vocabSize: 300 });
    const files = trained.files();
    const tokenizer = Tokenizer.fromFiles({
      tokenizer: files["tokenizer.json"],
      tokenizerConfig: files["tokenizer_config.json"],
      chatTemplate,
    });
    const sizes = {
      hiddenSize: 64,
      intermediateSize: 128,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
    };
    model = createModel({ modelType: "llama", ...sizes, maxPositionEmbeddings: 256 }, { tokenizer, seed: 1 });
    const rows = ["<tool_call>sea,", ""].map((begin) => ({
      prompt: `${begin}[user]go[assistant]`,
      completion: answer,
    }));
    const data = join(folder, "rows.jsonl");
    await writeFile(data, rows.map((row) => JSON.stringify(row)).join("\n"));
    const run = sft(model, { data, maxSteps: 400, perDeviceTrainBatchSize: 2, maxSeqLength: 128, learningRate: 1e-3 });
    let loss = 1;
    for await (const event of run) if ("loss" in event) loss = event.loss;
    expect(loss).toBeLessThan(0.02); // otherwise the model has not learned the call
  });
  afterAll(async () => {
    await model?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const tools = [{ type: "function", function: { name: "sea", parameters: { type: "object" } } }];
  const body = { messages: user("go"), temperature: 0, max_tokens: 100 };
  const called = {
    id: expect.stringMatching(/^call_/),
    type: "function",
    function: { name: "sea", arguments: '{"a":1}' },
  };

  test("returns calls and text, whole and streamed", () =>
    withServer(model, {}, async (client) => {
      expect((await client.chat({ ...body, tools })).choices[0]).toMatchObject({
        message: { role: "assistant", content: "Well.", tool_calls: [called] },
        finish_reason: "tool_calls",
      });
      const choices = (await client.events("/v1/chat/completions", { ...body, tools })).map((e) => e.choices[0]);
      expect(choices.map((choice: Json) => choice.delta.content ?? "").join("")).toBe("Well.");
      expect(choices.flatMap((choice: Json) => choice.delta.tool_calls ?? [])).toEqual([{ index: 0, ...called }]);
      expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: "tool_calls" });
    }));

  test("is plain text if no tools are given", () =>
    withServer(model, {}, async (client) => {
      for (const more of [{}, { tools, tool_choice: "none" }]) {
        const choice = (await client.chat({ ...body, ...more })).choices[0];
        expect(choice.message).toEqual({ role: "assistant", content: answer, refusal: null });
        expect(choice.finish_reason).toBe("stop");
      }
    }));
});
