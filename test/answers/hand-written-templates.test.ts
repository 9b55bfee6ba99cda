// Families whose published templates are in no npm package. Hand-written templates of the same form write answers, which are read back.
import { describe, expect, test } from "vitest";
import { chooseCallFormat, chooseReasoningFormat } from "../../lib/answers/call-formats.ts";
import { REASONING_FORMATS } from "../../lib/answers/reasoning.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { readWith, tools } from "./helpers.ts";
import { expectedOf, type Kind, readBack, tokenizer, type Writing } from "./read-back.ts";

const call = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}';
const calls = (body: string, between = "\\n") =>
  `{% for c in m.tool_calls or [] %}${body}{% if not loop.last %}{{ '${between}' }}{% endif %}{% endfor %}`;

/** Returns a template that writes turns between marks. `answer` writes the parts of an answer `m`. */
const template = (turn: { user: string; answer: string; end: string }, answer: string) =>
  [
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}",
    `{% if m.role == 'assistant' %}{{ '${turn.answer}' }}${answer}{% else %}{{ '${turn.user}' + m.content }}{% endif %}`,
    `{{ '${turn.end}' }}{% endfor %}{% if add_generation_prompt %}{{ '${turn.answer}' }}{% endif %}`,
  ].join("");
const think = (after = "\\n\\n") =>
  `{% if m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + '\\n</think>${after}' }}{% endif %}`;
/** Returns template code that writes the text of an answer between marks, if there is text. */
const wrapped = (open: string, close: string) =>
  `{% if m.content %}{{ '${open}' + m.content + '${close}' }}{% endif %}`;

const chatml = { user: "<|im_start|>user\\n", answer: "<|im_start|>assistant\\n", end: "<|im_end|>" };
const ALL: readonly Kind[] = [
  ...(["plain", "one call", "two calls", "text and a call", "reasoning", "reasoning and a call"] as const),
];

const FAMILIES: Readonly<Record<string, Writing & { template: string; calls: string; reasoning?: object }>> = {
  "ERNIE 4.5": {
    ...{
      family: "ernie4_5",
      end: "<|im_end|>",
      kinds: ALL,
      calls: "hermes",
      reasoning: REASONING_FORMATS.thinkResponse,
    },
    template: template(
      chatml,
      think() + wrapped("<response>\\n", "\\n</response>\\n") + calls(`<tool_call>\n${call}\n</tool_call>`),
    ),
  },
  "EXAONE 4": {
    ...{ family: "exaone4", end: "[|endofturn|]", kinds: ALL, calls: "hermes", reasoning: REASONING_FORMATS.think },
    template: template(
      { user: "[|user|]\\n", answer: "[|assistant|]\\n", end: "[|endofturn|]" },
      `${think()}{{ m.content }}${calls(`<tool_call>${call}</tool_call>`)}`,
    ),
  },
  Hunyuan: {
    ...{ family: "hunyuan_v1_dense", end: "<｜hy_end｜>", kinds: ALL, calls: "hunyuan" },
    reasoning: REASONING_FORMATS.thinkAnswer,
    template: template(
      { user: "<｜hy_User｜>", answer: "<｜hy_Assistant｜>", end: "<｜hy_end｜>" },
      `${think("\\n")}${wrapped("<answer>\\n", "\\n</answer>\\n")}{% if m.tool_calls %}<tool_calls>[${calls(call, ", ")}]</tool_calls>{% endif %}`,
    ),
  },
  "SmolLM 3 with JSON": {
    ...{ family: "smollm3", end: "<|im_end|>", kinds: ALL, calls: "smollm", reasoning: REASONING_FORMATS.think },
    template: template(chatml, `${think()}{{ m.content }}${calls(`<tool_call>\n${call}\n</tool_call>`)}{# <code> #}`),
  },
  "SmolLM 3 with Python": {
    ...{ family: "smollm3", end: "<|im_end|>", kinds: ALL, calls: "smollm", reasoning: REASONING_FORMATS.think },
    template: template(
      chatml,
      `${think()}{{ m.content }}${calls("<code>{{ c.function.name }}({% for k, v in c.function.arguments | items %}{{ k }}={{ v | tojson }}{% if not loop.last %}, {% endif %}{% endfor %})</code>")}{# <tool_call> #}`,
    ),
  },
  "GLM-4-9B": {
    ...{ family: "glm4", end: "<|observation|>", kinds: ["plain", "one call"], calls: "glm_plain" },
    template: template(
      { user: "<|user|>\\n", answer: "<|assistant|>\\n", end: "<|observation|>" },
      `{{ m.content }}${calls("{{ c.function.name }}\n{{ c.function.arguments | tojson }}")}`,
    ),
  },
};

describe.each(Object.entries(FAMILIES))("%s", (_, model) => {
  test("selects its formats of calls and of reasoning", () => {
    expect(chooseCallFormat(model.template)).toBe(model.calls);
    expect(chooseReasoningFormat(model.template)).toBe(model.reasoning);
  });

  test.each<Kind>(model.kinds)("writes an answer that is read back: %s", (kind) => {
    expect(readBack(model.template, model, kind)).toEqual(expectedOf(kind));
  });

  test("leaves a malformed call as text", () => {
    for (const text of ["<tool_call>{name}", "<tool_calls>[1]</tool_calls>", "<code>sea</code>", "sea\n[1]", "sea("]) {
      const parser = new AnswerForm({ tokenizer, config: { modelType: model.family } }, { ...model, tools }).parser()!;
      expect(readWith(parser, [...text])).toEqual({ text, reasoning: "", calls: [] });
    }
  });
});
