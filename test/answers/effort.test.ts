// A request sets a reasoning effort, or turns reasoning on or off. Both become variables of the chat template.
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { controlsOf, EFFORTS, nearestEffort, type ReasoningEffort } from "../../lib/answers/effort.ts";
import { tagsOf } from "../../lib/answers/template-tags.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { cpuMilliseconds } from "../helpers/clock.ts";
import { tinyTokenizer } from "../inference/helpers.ts";

const QWEN = "{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>{% endif %}";
const DEEPSEEK =
  "{% if not thinking is defined %}{% set thinking = false %}{% endif %}{% if thinking %}<think>{% endif %}";
const COMMAND = "{% if reasoning %}<|START_THINKING|>{% endif %}";
const HARMONY = [
  '{%- if reasoning_effort is not defined %}{%- set reasoning_effort = "medium" %}{%- endif %}',
  "{{- message.thinking }}Reasoning: {{ reasoning_effort }}<|channel|>analysis",
].join("");
const MINIMAL = `${HARMONY}{% if reasoning_effort == 'minimal' %}{% endif %}`;
const OFF_BY_LEVEL = `${HARMONY}{% if reasoning_effort != 'none' %}[THINK]{% endif %}`;
const SEED = "{% if thinking_budget is defined %}{{ thinking_budget }}{% endif %}<seed:think>";
const ALWAYS = "{{ messages }}<think>";
const PLAIN = "{{ 'enable_thinking' }}{{ message.thinking }} Think about thinking.";

describe("a template's controls", () => {
  const none = { switches: [], levels: [], hasBudget: false };

  test.each<[string, string, object]>([
    ["a switch", QWEN, { switches: ["enable_thinking"] }],
    ["a switch with a default in the template", DEEPSEEK, { switches: ["thinking"] }],
    [
      "a switch that the template sets from its own value",
      "{% set thinking = thinking | default(true) %}",
      { switches: ["thinking"] },
    ],
    ["the switch of Command A", COMMAND, { switches: ["reasoning"] }],
    ["the common levels", HARMONY, { levels: ["low", "medium", "high"] }],
    ["the common levels and one in a string literal", MINIMAL, { levels: ["minimal", "low", "medium", "high"] }],
    [
      "levels in the code, but not in text or comments",
      `${HARMONY}"xhigh"{# 'none' #}`,
      { levels: ["low", "medium", "high"] },
    ],
    ["a budget", SEED, { hasBudget: true }],
    ["a variable after a literal with the end of a tag", "{{ '}}' + thinking }}", { switches: ["thinking"] }],
  ])("are found: %s", (_, template, controls) => {
    expect(controlsOf(template)).toEqual({ ...none, ...controls });
  });

  test.each<[string, string]>([
    ["text", "{{ messages }} enable_thinking {thinking}"],
    ["a comment", "{# {% if thinking %} #}"],
    ["a literal", "{{ \"thinking\" }}{{ 'it\\'s {{ thinking }}' }}"],
    ["a field of a message", "{{ message.thinking }}{{ message['reasoning'] }}"],
    ["a variable with fields", "{% if reasoning.effort %}{{ thinking[0] }}{% endif %}"],
    ["a function", "{{ thinking() }}"],
    ["a named argument", "{{ f(thinking=true) }}{% set ns = namespace(reasoning = 1) %}"],
    ["a longer name", "{{ my_thinking }}{{ reasoning_content }}"],
    ["a variable that the template sets", "{% set thinking = 1 %}{{ thinking }}"],
    ["a block that the template sets", "{% set thinking %}a{% endset %}{{ thinking }}"],
    ["a loop's variable", "{% for thinking in messages %}{{ thinking }}{% endfor %}"],
    ["a macro's parameter", "{%- macro f(a, thinking=none) %}{{ thinking }}{% endmacro %}"],
    ["a tag that does not end", "{% if thinking"],
    ["a literal that does not end", "{{ 'a }}{{ thinking }}"],
  ])("do not come from %s", (_, template) => {
    expect(controlsOf(template)).toEqual(none);
  });

  test("are found in time linear in the template's length", () => {
    for (const part of ["{{", "{%", "{#", '{{ "', `{{ '\\'`, "{{ ''", "{% set ", "}}"]) {
      const template = part.repeat(100_000);
      let tags: readonly unknown[] = [];
      const spent = cpuMilliseconds(() => {
        tags = tagsOf(template);
      });
      expect(tags.length, part).toBeLessThan(2);
      expect(spent, part).toBeLessThan(1000);
    }
  });

  test("are searched only in the code of tags, without the contents of string literals", () => {
    const text = fc.string().filter((one) => !one.includes("{") && !one.includes("}"));
    const code = fc.constantFrom(" a ", "- b -", ' f("%}", 1) ', " x['k'] ");
    fc.assert(
      fc.property(fc.array(fc.tuple(text, code)), (parts) => {
        const template = parts.map(([before, one], i) => before + (i % 2 ? `{%${one}%}` : `{{${one}}}`)).join("");
        const expected = parts.map(([, one]) => one.replace(/"[^"]*"|'[^']*'/g, "''"));
        expect(tagsOf(template).map((tag) => tag.code)).toEqual(expected);
      }),
    );
  });
});

test('an effort that a template lacks becomes the nearest common level, but "none" stays "none"', () => {
  const common: ReasoningEffort[] = ["low", "medium", "high"];
  expect(EFFORTS.map((effort) => nearestEffort(common, effort))).toEqual([
    ...["none", "low", "low", "medium", "high", "high"],
  ]);
  expect(nearestEffort(["minimal"], "minimal")).toBe("minimal");
});

describe("the form of a template's answers", () => {
  let form: (template: string | undefined) => AnswerForm;
  beforeAll(async () => {
    const files = (await tinyTokenizer()).files();
    form = (template) => {
      const tokenizer = Tokenizer.fromFiles({
        tokenizer: files["tokenizer.json"],
        tokenizerConfig: files["tokenizer_config.json"],
        ...(template !== undefined && { chatTemplate: template }),
      });
      return new AnswerForm({ tokenizer, config: { modelType: "llama" } });
    };
  });

  test.each<[string, string, ReasoningEffort, object]>([
    ["turns a switch off", QWEN, "none", { enable_thinking: false }],
    ["turns a switch on", QWEN, "minimal", { enable_thinking: true }],
    ["turns on a switch with a default in the template", DEEPSEEK, "high", { thinking: true }],
    ["is passed to a template with levels", HARMONY, "low", { reasoning_effort: "low" }],
    ["is passed if it is a level of this template only", MINIMAL, "minimal", { reasoning_effort: "minimal" }],
    ["turns reasoning off by a level", OFF_BY_LEVEL, "none", { reasoning_effort: "none" }],
    ["sets both a switch and a level", QWEN + HARMONY, "high", { enable_thinking: true, reasoning_effort: "high" }],
    ["turns off only the switch in a template with both", QWEN + HARMONY, "none", { enable_thinking: false }],
    ["is a budget in a template without levels", SEED, "medium", { thinking_budget: 4096 }],
    ["is a budget of no tokens", SEED, "none", { thinking_budget: 0 }],
    ["is a level, not a budget, in a template with both", SEED + HARMONY, "low", { reasoning_effort: "low" }],
    ["sets no variable if it is none and the model cannot reason", PLAIN, "none", {}],
  ])("translates an effort to variables: the effort %s", (_, template, effort, variables) => {
    expect(form(template).efforts).toContain(effort);
    expect(form(template).effortVariables(effort)).toEqual(variables);
  });

  test.each<[string, string, ReasoningEffort, RegExp]>([
    ["an unknown level", HARMONY, "xhigh", /^reasoning: expected .* knows \(low, medium, high\), got "xhigh"/],
    ["the effort none where nothing turns reasoning off", HARMONY, "none", /\(low, medium, high\), got "none"/],
    ["an unknown level beside a switch", QWEN + HARMONY, "xhigh", /\(none, low, medium, high\), got "xhigh"/],
    ["a template without a variable", ALWAYS, "low", /^reasoning: expected .*with a variable for it.*, got "low"/],
    ["the effort none in a template without a variable", ALWAYS, "none", /with a variable for it/],
    ["a template without reasoning", PLAIN, "low", /with a variable for it/],
  ])("refuses an effort: %s", (_, template, effort, message) => {
    expect(form(template).efforts).not.toContain(effort);
    expect(() => form(template).effortVariables(effort)).toThrow(message);
  });

  test("refuses an unknown effort", () => {
    expect(() => form(QWEN).effortVariables("most" as ReasoningEffort)).toThrow("reasoning: expected none, minimal");
  });

  test("turns reasoning on and off, and refuses what the template cannot do", () => {
    const [on, off] = [true, false].map((is) => (template: string) => form(template).switchVariables(is));
    expect([QWEN, DEEPSEEK, COMMAND].map(on!)).toEqual([
      { enable_thinking: true },
      { thinking: true },
      { reasoning: true },
    ]);
    expect([QWEN, DEEPSEEK, OFF_BY_LEVEL, SEED, PLAIN].map(off!)).toEqual([
      { enable_thinking: false },
      { thinking: false },
      { reasoning_effort: "none" },
      { thinking_budget: 0 },
      {},
    ]);
    expect([ALWAYS, HARMONY].map(on!)).toEqual([{}, {}]);
    expect(() => off!(ALWAYS)).toThrow("reasoning: expected reasoning, because");
    expect(() => off!(HARMONY)).toThrow("reasoning: expected reasoning, because");
    expect(() => on!(PLAIN)).toThrow("reasoning: expected none, because");
  });

  test("passes an effort and a budget on to templates that read them", () => {
    const amount = { effort: "high", budget: 512 } as const;
    expect(form(HARMONY).switchVariables(true, amount)).toEqual({ reasoning_effort: "high" });
    expect(form(SEED).switchVariables(true, amount)).toEqual({ thinking_budget: 512 });
    expect(form(QWEN).switchVariables(true, amount)).toEqual({ enable_thinking: true });
    expect(form(HARMONY).switchVariables(true, { effort: "xhigh" })).toEqual({ reasoning_effort: "high" });
    expect(form(HARMONY).levelVariables("low")).toEqual({ reasoning_effort: "low" });
    expect(form(QWEN).levelVariables("low")).toEqual({});
    expect(form(HARMONY).levelVariables(undefined)).toEqual({});
  });

  test("reports whether the model can reason, and whether it always does", () => {
    const templates = [QWEN, DEEPSEEK, HARMONY, OFF_BY_LEVEL, SEED, ALWAYS, PLAIN, undefined];
    expect(templates.map((one) => form(one).canReason)).toEqual([...Array(6).fill(true), false, false]);
    const always = templates.filter((one) => form(one).alwaysReasons);
    expect(always).toEqual([HARMONY, ALWAYS]);
    expect(new AnswerForm({ config: { modelType: "llama" } }).canReason).toBe(false);
  });
});
