// Answers of chats and of `respond` separate text, reasoning and tool calls. The model writes the text that a test gives it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CallFormatName } from "../../lib/answers/call-formats.ts";
import { type ChatReply, type LanguageModel, type LogitContext, Tokenizer } from "../../lib/index.ts";
import { dialect } from "../answers/dialects.ts";
import { tools } from "../answers/helpers.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { added } from "../tokenizer/samples.ts";

/** Markers of answer formats. They are special tokens of this test's tokenizer, so decoding omits them by default. */
const MARKS = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|python_tag|>", "[TOOL_CALLS]"];
/** A chat template that shows the reasoning of earlier answers. It opens new reasoning unless `enable_thinking` is false. */
const THINKING = [
  "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}",
  '{% for c in m.tool_calls or [] %}<tool_call>{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}{% endfor %}',
  "{% if tools %}!{% endif %}[assistant]{% if enable_thinking is not false %}<think>{% endif %}",
].join("");

let model: LanguageModel;
beforeAll(async () => {
  const files = (await tinyTokenizer()).files();
  const json = JSON.parse(files["tokenizer.json"]);
  const size = Object.keys(json.model.vocab).length + json.added_tokens.length;
  json.added_tokens.push(...MARKS.map((text, i) => added(size + i, text, { special: true })));
  const tokenizer = Tokenizer.fromFiles({
    tokenizer: JSON.stringify(json),
    tokenizerConfig: files["tokenizer_config.json"],
    chatTemplate: THINKING,
  });
  model = tinyModel({ tokenizer }, { maxPositionEmbeddings: 1024, vocabSize: tokenizer.vocabSize });
});
afterAll(() => model.dispose());

/** Options with which the model writes a text, and ends when it is written. */
function writing(text: string) {
  const ids = [...model.tokenizer!.encode(text, { addSpecialTokens: false, allowSpecial: true })];
  const write = (logits: Float32Array, context: LogitContext) => {
    const next = ids[context.ids.length - context.promptLength]!;
    logits.fill(Number.NEGATIVE_INFINITY);
    logits[next] = 0;
  };
  return { logitProcessors: [write], maxTokens: ids.length, temperature: 0, ignoreEos: true };
}

/** Reads a reply piece by piece, and checks that the pieces add up to the whole answer. */
async function gathered(reply: ChatReply) {
  const calls: { id: string; name: string; arguments: string }[] = [];
  let [text, reasoning, rawText] = ["", "", ""];
  for await (const piece of reply) {
    text += piece.text;
    reasoning += piece.reasoning;
    rawText += piece.rawText;
    for (const { index, id, name, arguments: more } of piece.calls) {
      calls[index] ??= { id, name: name!, arguments: "" };
      calls[index].arguments += more;
    }
  }
  const whole = await reply;
  expect({ text, rawText, reasoning }).toEqual({
    text: whole.text,
    rawText: whole.rawText,
    reasoning: whole.reasoning ?? "",
  });
  const toolCalls = calls.map(({ id, ...called }) => ({ id, type: "function", function: called }));
  expect(toolCalls).toEqual(whole.toolCalls ?? []);
  return { text, reasoning, calls: calls.map(({ name, arguments: args }) => [name, args]), rawText };
}

const user = [{ role: "user", content: "hi" }];
const call = '<tool_call>\n{"name": "sea", "arguments": {"place": "Kyoto"}}\n</tool_call>';
const sea = ["sea", '{"place":"Kyoto"}'];

describe("model.respond", () => {
  test("streams text, reasoning and calls separately", async () => {
    const answer = `Hm.\n</think>\n\nLet me see.\n${call}`;
    const got = await gathered(model.respond(user, { tools, ...writing(answer) }));
    expect(got).toEqual({ text: "Let me see.", reasoning: "Hm.", calls: [sea], rawText: answer });
  });

  test("leaves calls as text without tools", async () => {
    const got = await gathered(model.respond(user, writing(`Hm.</think>${call}`)));
    expect(got).toMatchObject({ text: call, reasoning: "Hm.", calls: [] });
  });

  test("returns a call that maxTokens truncates, with its incomplete arguments", async () => {
    const got = await gathered(model.respond(user, { tools, ...writing(`</think>${call.slice(0, -19)}`) }));
    expect(got.calls).toEqual([["sea", '{"place":"Ky']]);
  });

  test("switches reasoning on and off with the template's variable", async () => {
    const got = await gathered(model.respond(user, { reasoning: "none", ...writing("Hi.</think>") }));
    expect(got).toMatchObject({ text: "Hi.</think>", reasoning: "" });
    expect((await gathered(model.respond(user, { reasoning: "high", ...writing("Hi.") }))).reasoning).toBe("Hi.");
    // The caller's `variables` override those that the `reasoning` option sets.
    const variables = { enable_thinking: false };
    const own = model.respond(user, { reasoning: "high", variables, ...writing("Hi.") });
    expect((await gathered(own)).reasoning).toBe("");
  });

  test.each<[CallFormatName, string, string, string]>([
    [
      "harmony",
      '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.sea<|channel|>commentary json<|message|>{"place": "Kyoto"}',
      "Hm.",
      "",
    ],
    ["llama", '<|python_tag|>{"name": "sea", "parameters": {"place": "Kyoto"}}', "", ""],
    ["mistral", 'Well. [TOOL_CALLS] [{"name": "sea", "arguments": {"place": "Kyoto"}}]', "", "Well."],
  ])("shows the special tokens that %s needs", async (format, answer, reasoning, text) => {
    const template = dialect(format);
    const got = await gathered(model.respond(user, { tools, template, ...writing(answer) }));
    expect(got).toEqual({ text, reasoning, calls: [sea], rawText: answer });
  });

  test("forces a call after the reasoning that the prompt has begun", async () => {
    const options = { tools, toolChoice: "required", maxTokens: 300, temperature: 2, seed: 3 } as const;
    const thought = [...model.tokenizer!.encode("Hm.</think>", { addSpecialTokens: false })];
    const think = (logits: Float32Array, { ids, promptLength }: LogitContext) => {
      const next = thought[ids.length - promptLength];
      if (next === undefined) return;
      logits.fill(Number.NEGATIVE_INFINITY);
      logits[next] = 0;
    };
    const on = await model.respond(user, { ...options, logitProcessors: [think] });
    expect(on.rawText).toMatch(/^Hm\.<\/think>\s*<tool_call>/);
    expect(on.reasoning).toBe("Hm.");
    const off = await model.respond(user, { ...options, reasoning: "none" });
    expect(off.rawText).toMatch(/^<tool_call>/);
    for (const { toolCalls, finishReason } of [on, off]) {
      expect(toolCalls).toHaveLength(1);
      const { name, arguments: args } = toolCalls![0]!.function;
      expect(["sea", "now"]).toContain(name);
      if (finishReason === "stop") expect(() => JSON.parse(args)).not.toThrow();
    }
  });

  test("keeps no state, and ends when the loop is left", async () => {
    const messages = structuredClone(user);
    const long = writing("Hello there. ".repeat(30));
    let written = 0;
    const count = () => {
      written++;
    };
    const options = { ...long, logitProcessors: [count, ...long.logitProcessors], reasoning: "none" } as const;
    for await (const piece of model.respond(messages, options)) {
      expect(piece.rawText).toBe(piece.text);
      break;
    }
    const left = written;
    expect(left).toBeLessThan(10);
    expect(long.maxTokens).toBeGreaterThan(100);
    expect(messages).toEqual(user);
    expect((await model.respond(messages, { ...writing("Yes."), reasoning: "none" })).text).toBe("Yes.");
    expect(written).toBe(left);
  });

  test("does not look for reasoning if a response format is set", async () => {
    const responseFormat = { type: "regex", pattern: "a</think>b" } as const;
    const { text, reasoning } = await model.respond(user, { responseFormat, maxTokens: 20, seed: 1 });
    expect({ text, reasoning }).toEqual({ text: "a</think>b", reasoning: undefined });
  });

  test("rejects options that it cannot fulfil", async () => {
    const refusals: [() => unknown, RegExp][] = [
      [() => model.respond([], {}), /INVALID_ARGUMENT messages: expected an array of at least one/],
      [() => model.respond(user, { n: 2 }), /INVALID_ARGUMENT n: expected 1/],
      [
        () => model.respond(user, { reasoning: "much" as never }),
        /INVALID_ARGUMENT reasoning: expected none, minimal, low/,
      ],
      [() => model.respond(user, { parallelToolCalls: 1 as never }), /INVALID_ARGUMENT parallelToolCalls/],
      [() => model.respond(user, { toolChoice: "required" }), /INVALID_ARGUMENT toolChoice: expected tools/],
      [() => model.respond(user, { template: "{{ messages }}", reasoning: "low" }), /UNSUPPORTED reasoning: /],
      [() => model.respond(user, { visibleTokens: "a" as never }), /INVALID_ARGUMENT visibleTokens/],
      [() => model.respond(user, { maxToken: 1 } as never), /INVALID_ARGUMENT maxToken: .*nearest: maxTokens/],
    ];
    for (const [work, message] of refusals) {
      const failure = await failureOf(async () => work() as unknown);
      expect(`${failure.code} ${failure.message}`).toMatch(message);
    }
  });
});

test("a chat keeps the reasoning and the tool calls of an answer for the template", async () => {
  const chat = model.chat({ tools });
  const { toolCalls = [] } = await chat.send("hi", writing(`Hm.</think>Well.${call}`));
  const kept = { role: "assistant", content: "Well.", reasoning_content: "Hm.", tool_calls: toolCalls };
  expect(chat.messages).toEqual([{ role: "user", content: "hi" }, kept]);
  const seen = `[user]hi[assistant]<think>Hm.</think>Well.<tool_call>{"name": "sea", "arguments": {"place": "Kyoto"}}</tool_call>`;
  const prompt = `${seen}[tool]No![assistant]<think>`;
  const { usage } = await chat.send({ role: "tool", content: "No" }, writing("</think>Ok."));
  expect(usage.promptTokens).toBe(model.tokenizer!.count(prompt));
  expect(model.chat(JSON.parse(JSON.stringify(chat))).messages).toEqual(chat.messages);
  chat.dispose();
});
