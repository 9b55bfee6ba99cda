// tool_choice forces even a model with random weights to make a call that matches the tool's schema.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { compileFormat } from "../../../lib/constrain/index.ts";
import { AnswerForm } from "../../../lib/language-model/chat/answer-format.ts";
import type { LanguageModel, ToolChoice } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { type Json, type Schema, validate } from "../../constrain/validator.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { added } from "../../tokenizer/samples.ts";
import {
  type Json as Body,
  type Client,
  chatModel,
  chatTemplate,
  clientOf,
  greedily,
  user,
  withServer,
} from "../helpers.ts";

const CHAT = "/v1/chat/completions";
const schemas: Record<string, Schema> = {
  sea: {
    type: "object",
    properties: { place: { $ref: "#/$defs/place" }, depth: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["place", "depth"],
    additionalProperties: false,
    $defs: { place: { enum: ["Kyoto", "Naïve", 'a "b"'] } },
  },
  // References resolve within their own schema.
  seal: {
    type: "object",
    properties: { place: { $ref: "#/$defs/place" }, loud: { type: "boolean" } },
    required: ["place"],
    additionalProperties: false,
    $defs: { place: { type: "array", items: { const: null }, maxItems: 2 } },
  },
};
const functions = Object.entries(schemas).map(([name, parameters]) => ({
  type: "function",
  function: { name, parameters },
}));
const tools = [...functions, { type: "function", function: { name: "now" } }];
const argumentsOf = (name: string): Schema => schemas[name] ?? { type: "object", maxProperties: 0 };
const named = (name: string): ToolChoice => ({ type: "function", function: { name } });
const body = { messages: user("hi"), tools, max_tokens: 200, temperature: 20 };

function check({ id, type, function: called }: Body): string {
  expect({ id, type }).toEqual({ id: expect.stringMatching(/^call_[\da-f]{24}$/), type: "function" });
  const args = JSON.parse(called.arguments) as Json;
  expect(validate(args, argumentsOf(called.name)), `${called.name} ${called.arguments}`).toBe(true);
  return called.name;
}

/** Creates a tiny model whose vocabulary has tokens for the markup of calls. @param special whether they are special tokens */
async function modelWithMarkup(special: boolean): Promise<LanguageModel> {
  const files = (await tinyTokenizer()).files();
  const json = JSON.parse(files["tokenizer.json"]);
  const size = Object.keys(json.model.vocab).length + json.added_tokens.length;
  json.added_tokens.push(...["<tool_call>", "</tool_call>"].map((text, i) => added(size + i, text, { special })));
  const tokenizer = Tokenizer.fromFiles({
    tokenizer: JSON.stringify(json),
    tokenizerConfig: files["tokenizer_config.json"],
    chatTemplate,
  });
  return tinyModel({ tokenizer }, { maxPositionEmbeddings: 1024, vocabSize: tokenizer.vocabSize });
}

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

/** A template whose prompt ends with the mark that opens reasoning. */
const opening = `${chatTemplate}{% if add_generation_prompt %}<think>\n{% endif %}{# </think> reasoning_content #}`;

describe("tool_choice", () => {
  test("required gives one call of any tool", async () => {
    const { choices } = await client.chat({ ...body, tool_choice: "required", n: 16, seed: 1 });
    for (const { message, finish_reason } of choices) {
      expect({ ...message, finish_reason }).toMatchObject({ content: null, finish_reason: "tool_calls" });
      expect(message.tool_calls).toHaveLength(1);
    }
    const called = new Set(choices.map(({ message }: Body) => check(message.tool_calls[0])));
    expect(called.size).toBeGreaterThan(1);
  });

  test.each(["sea", "seal", "now"])("a named function gives a call of it with finish_reason stop: %s", async (name) => {
    const { choices } = await client.chat({ ...body, tool_choice: named(name), n: 4, seed: 2 });
    for (const { message, finish_reason } of choices) {
      expect({ calls: message.tool_calls.map(check), finish_reason }).toEqual({ calls: [name], finish_reason: "stop" });
    }
  });

  test("gives the same calls when streamed", async () => {
    for (const [choice, reason] of [
      ["required", "tool_calls"],
      [named("sea"), "stop"],
    ] as const) {
      const ask = { ...body, tool_choice: choice, seed: 3 };
      const { choices } = await client.chat(ask);
      const events = (await client.events(CHAT, ask)).map((event) => event.choices[0]);
      // Arguments can arrive in any number of deltas.
      const parts = events.flatMap(({ delta }) => delta.tool_calls ?? []);
      const written = parts.map((part: Body) => part.function.arguments).join("");
      expect(parts.flatMap((part: Body) => part.function.name ?? [])).toHaveLength(1);
      expect([{ ...parts[0].function, arguments: written }]).toEqual(
        choices[0].message.tool_calls.map((call: Body) => call.function),
      );
      expect(events.map(({ delta }) => delta.content ?? "").join("")).toBe("");
      expect(events.at(-1)).toMatchObject({ delta: {}, finish_reason: reason });
    }
  });

  test("required gives several calls only with parallel_tool_calls", async () => {
    const ask = { ...body, tool_choice: "required", n: 16, seed: 4, max_tokens: 400 };
    const counts = async (more: object) => {
      const { choices } = await client.chat({ ...ask, ...more });
      const whole = choices.filter((choice: Body) => choice.finish_reason === "tool_calls");
      return whole.map(({ message }: Body) => message.tool_calls.map(check).length);
    };
    expect(Math.max(...(await counts({ parallel_tool_calls: true })))).toBeGreaterThan(1);
    for (const more of [{}, { parallel_tool_calls: false }]) expect(new Set(await counts(more))).toEqual(new Set([1]));
  });

  test("a truncated call is returned as text", async () => {
    const { choices } = await client.chat({ ...body, tool_choice: "required", max_tokens: 14 });
    expect(choices[0]).toMatchObject({
      finish_reason: "length",
      message: { content: expect.stringMatching(/^<tool_call>\n/) },
    });
    expect(choices[0].message.tool_calls).toBeUndefined();
  });

  test.each<[string, object, string, string, RegExp]>([
    [
      "an unknown function",
      { tool_choice: named("lake") },
      "tool_choice.function.name",
      "invalid_value",
      /one of the tools, got "lake"/,
    ],
    [
      "an unsupported schema keyword",
      {
        tools: [
          tools[0],
          { type: "function", function: { name: "f", parameters: { properties: { a: { not: {} } } } } },
        ],
        tool_choice: "required",
      },
      "tools",
      "unsupported",
      /^tools\[1\]\.function\.parameters#\/properties\/a\/not: /,
    ],
    [
      "arguments that are not an object",
      {
        tools: [{ type: "function", function: { name: "f", parameters: { type: "string" } } }],
        tool_choice: "required",
      },
      "tools",
      "invalid_value",
      /contradiction/,
    ],
    [
      "a response_format together with a required call",
      { tool_choice: "required", response_format: { type: "json_object" } },
      "response_format",
      "invalid_value",
      /required tool call/,
    ],
  ])("rejects %s with a 400", async (_, more, param, code, message) => {
    const { status, body: answer } = await client.post(CHAT, { ...body, ...more });
    expect({ status, ...answer.error }).toMatchObject({
      status: 400,
      param,
      code,
      message: expect.stringMatching(message),
    });
  });

  test("renders the tools once, off the event loop", async () => {
    await using thinking = await chatModel({}, opening);
    const synchronous = vi.spyOn(thinking.tokenizer!, "applyChatTemplate");
    const rendered = vi.spyOn(thinking.tokenizer!, "applyChatTemplateUpTo");
    await withServer(thinking, {}, async ({ chat, post }) => {
      const description = "x".repeat(20_000);
      const large = [{ type: "function", function: { ...tools[0]!.function, description } }];
      await chat({ ...body, tools: large, tool_choice: "required", max_tokens: 1 });
      expect([synchronous.mock.calls.length, rendered.mock.calls.length]).toEqual([0, 1]);
      const huge = [{ type: "function", function: { name: "f", description: "x".repeat(1024 * 128) } }];
      const refused = await post(CHAT, { ...body, tools: huge, tool_choice: "required" });
      expect(refused).toMatchObject({ status: 400, body: { error: { code: "context_length_exceeded" } } });
      expect([synchronous.mock.calls.length, rendered.mock.calls.length]).toEqual([0, 1]);
    });
  });

  test("if the template opens reasoning, a required call comes after the end of the reasoning", async () => {
    await using thinking = await chatModel({}, opening);
    const formats = vi.spyOn(AnswerForm.prototype, "callFormat");
    await withServer(thinking, {}, async ({ chat }) => {
      for (const messages of [user("hi"), [...user("<think>"), ...user("b </think>")]])
        await chat({ ...body, messages, tool_choice: "required", max_tokens: 1 });
    });
    const format = expect.objectContaining({ type: "tool_calls", reasoningEnd: "</think>" });
    expect(formats.mock.results.map(({ value }) => value)).toEqual([format, format]);
    formats.mockRestore();
  });

  test("functions that are not chosen may have unsupported schemas", async () => {
    const odd = { type: "function", function: { name: "odd", parameters: { not: {} } } };
    expect(
      (await client.chat({ ...body, tools: [odd, ...tools], tool_choice: named("sea") })).choices[0].finish_reason,
    ).toBe("stop");
    expect((await client.post(CHAT, { ...body, tools: [odd], ...greedily })).status).toBe(200);
  });

  const modelWith = async (template: string) => {
    const files = (await tinyTokenizer()).files();
    const texts = { tokenizer: files["tokenizer.json"], tokenizerConfig: files["tokenizer_config.json"] };
    const tokenizer = Tokenizer.fromFiles({ ...texts, chatTemplate: template });
    return tinyModel({ tokenizer }, { maxPositionEmbeddings: 1024 });
  };

  test("answers 400 if the chat template has no known format of tool calls", async () => {
    const other = await modelWith("{{ messages[0].content }}");
    await withServer(other, {}, async (asked) => {
      const { status, body: answer } = await asked.post(CHAT, { ...body, tool_choice: "required" });
      expect({ status, ...answer.error }).toMatchObject({
        status: 400,
        param: "tool_choice",
        code: "unsupported",
        message: expect.stringContaining("<tool_call>"),
      });
    });
    await other.dispose();
  });

  test("writes the calls in the form of the template", async () => {
    const other = await modelWith("{{ messages[0].content }}<tool_call>\n<function=f>\n<parameter=p>{{ tools }}");
    await withServer(other, {}, async (asked) => {
      const { choices } = await asked.chat({ ...body, tool_choice: named("sea"), n: 4, seed: 3 });
      for (const { message } of choices) expect(message.tool_calls.map(check)).toEqual(["sea"]);
      expect(choices.map(({ message }: Body) => message.content)).toEqual([null, null, null, null]);
    });
    await other.dispose();
  });
});

describe("a vocabulary with markup tokens", () => {
  test("uses them for calls, and bans them with tool_choice none", async () => {
    const marked = await modelWithMarkup(false);
    const [open] = marked.tokenizer!.addedTokens.filter(({ content }) => content === "<tool_call>");
    // The bias makes the model choose the token wherever it is allowed.
    const bias = { [open!.id]: 100 };
    await withServer(marked, {}, async (asked) => {
      const ask = { ...body, temperature: 1, logit_bias: bias, logprobs: true, seed: 5 };
      const { choices } = await asked.chat({ ...ask, tool_choice: "required" });
      expect(choices[0].logprobs.content[0].token).toBe("<tool_call>");
      expect(choices[0].logprobs.content.filter(({ token }: Body) => token === "<tool_call>")).toHaveLength(1);
      check(choices[0].message.tool_calls[0]);
      const none = (await asked.chat({ ...ask, tool_choice: "none", max_tokens: 20, ignore_eos: true })).choices[0];
      expect(none.logprobs.content.map(({ token }: Body) => token)).not.toContain("<tool_call>");
      expect(none.message.tool_calls).toBeUndefined();
      const auto = (await asked.chat({ ...ask, max_tokens: 20, ignore_eos: true })).choices[0];
      expect(auto.logprobs.content[0].token).toBe("<tool_call>");
    });
    await marked.dispose();
  });

  test("gives a valid call when the markup tokens are special, whether or not a bias suppresses them", async () => {
    const marked = await modelWithMarkup(true);
    const [open] = marked.tokenizer!.addedTokens.filter(({ content }) => content === "<tool_call>");
    await withServer(marked, {}, async (asked) => {
      for (const [bias, first] of [
        [100, "<tool_call>"],
        [-100, "<"],
      ] as const) {
        const ask = { ...body, temperature: 1, logprobs: true, logit_bias: { [open!.id]: bias } };
        const { choices } = await asked.chat({ ...ask, tool_choice: "required" });
        expect(choices[0].logprobs.content[0].token).toBe(first);
        check(choices[0].message.tool_calls[0]);
      }
    });
    await marked.dispose();
  });
});

describe("toolChoice in the library", () => {
  const call = /^<tool_call>\n\{"name": "(\w+)", "arguments": (.*)\}\n<\/tool_call>$/su;
  const options = { maxTokens: 200, temperature: 1.5, seed: 6 };

  test("is an option of chat.send", async () => {
    const chat = model.chat({ tools });
    for (const choice of ["required", named("seal")] as const) {
      const { text, rawText, finishReason, toolCalls } = await chat.send("hi", { ...options, toolChoice: choice });
      const [, name, args] = call.exec(rawText)!;
      expect(text).toBe("");
      expect(toolCalls).toEqual([
        { id: expect.stringMatching(/^call_/), type: "function", function: { name, arguments: expect.any(String) } },
      ]);
      expect(JSON.parse(toolCalls![0]!.function.arguments)).toEqual(JSON.parse(args!));
      expect(validate(JSON.parse(args!), argumentsOf(name!))).toBe(true);
      if (choice !== "required") expect(name).toBe("seal");
      expect(finishReason).toBe("stop");
    }
    expect(chat.messages).toHaveLength(4);
    const [without, none] = [model.chat(), model.chat({ tools })];
    const greedy = { maxTokens: 12, temperature: 0, ignoreEos: true };
    const uncalled = await none.send("hi", { ...greedy, toolChoice: "none" });
    expect(uncalled.text).toBe((await without.send("hi", greedy)).text);
    expect(Object.keys(uncalled)).not.toContain("toolCalls");
    // In a chat without tools, the call is returned as text.
    const told = await model.chat().send("hi", { responseFormat: { type: "tool_calls", tools }, ...options });
    expect(told.text).toMatch(call);
    expect(Object.keys(told)).not.toContain("toolCalls");
    expect((await none.fork().send("hi", greedy)).text).not.toBe((await without.fork().send("hi", greedy)).text);
  });

  test("rejects invalid combinations", async () => {
    const refusals: [() => unknown, RegExp][] = [
      [
        () => model.chat({ tools }).send("a", { toolChoice: "any" as never }),
        /INVALID_ARGUMENT toolChoice: expected "none"/,
      ],
      [() => model.chat().send("a", { toolChoice: "required" }), /INVALID_ARGUMENT toolChoice: expected tools/],
      [
        () => model.chat({ tools }).send("a", { toolChoice: named("lake") }),
        /INVALID_ARGUMENT tools: expected a tool named "lake"/,
      ],
      [
        () => model.chat({ tools }).send("a", { toolChoice: "required", responseFormat: { type: "json_object" } }),
        /INVALID_ARGUMENT responseFormat/,
      ],
      [
        () => model.chat({ tools, template: "{{ messages[0].content }}" }).send("a", { toolChoice: "required" }),
        /UNSUPPORTED toolChoice: .*<tool_call>/,
      ],
      [() => compileFormat({ type: "tool_calls", tools: [] }), /INVALID_ARGUMENT tools: expected an array of 1 to 128/],
      [
        () => compileFormat({ type: "tool_calls", tools: [{ name: "" }] }),
        /INVALID_ARGUMENT tools\[0\]: expected a function with a name/,
      ],
      [
        () => compileFormat({ type: "tool_calls", tools, parallel: 1 as never }),
        /INVALID_ARGUMENT responseFormat.parallel/,
      ],
      [
        () => compileFormat({ type: "tool_calls", tools, names: 1 } as never),
        /INVALID_ARGUMENT responseFormat.names: expected a known name \(nearest: name\)/,
      ],
    ];
    for (const [work, message] of refusals) {
      const failure = await failureOf(work);
      expect(`${failure.code} ${failure.message}`).toMatch(message);
    }
  });

  test("the tool_calls format accepts exactly valid calls", () => {
    const one = compileFormat({ type: "tool_calls", tools: functions.map((tool) => tool.function) })!;
    const several = compileFormat({ type: "tool_calls", tools, parallel: true })!;
    const made = (name: string, args: string) => `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>`;
    const whole = (of: typeof one, text: string) => of.read(of.start, Buffer.from(text))?.whole === true;
    const [sea, seal] = [made("sea", '{"place":"Kyoto","depth":4}'), made("seal", '{"place": [null], "loud": true}')];
    for (const text of [sea, seal]) expect([whole(one, text), whole(several, text)]).toEqual([true, true]);
    expect([whole(one, `${sea}\n${seal}`), whole(several, `${sea}\n${seal}\n${sea}`)]).toEqual([false, true]);
    for (const text of [
      "",
      "{}",
      made("seal", '{"place":"Kyoto"}'),
      made("lake", "{}"),
      made("sea", "{}"),
      `${sea} `,
      sea.slice(0, -1),
      `a${sea}`,
    ])
      expect([whole(one, text), whole(several, text)], text).toEqual([false, false]);
    expect([whole(several, made("now", "{}")), whole(several, made("now", '{"a":1}'))]).toEqual([true, false]);
  });
});
