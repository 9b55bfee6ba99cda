import { describe, expect, it } from "vitest";
import { added, byteLevelJson, fromJson } from "../samples.ts";

const chatMl = [added(256, "<|im_start|>"), added(257, "<|im_end|>")];
const withTokens = (tokens: object[], config?: Record<string, unknown>) =>
  fromJson(byteLevelJson([], { added_tokens: tokens }), config);
const message = (role: string, content: string) => ({ role, content });

/** Returns the text of each run of tokens in the mask, and the rendered chat. */
function learned(of: ReturnType<typeof fromJson>, messages: { role: string; content: string }[], template?: string) {
  const { ids, assistantMask, text } = of.applyChatTemplateWithMask(messages, template ? { template } : {});
  expect([...ids]).toEqual([...of.applyChatTemplate(messages, template ? { template } : {}).ids]);
  expect(assistantMask).toHaveLength(ids.length);
  const runs: string[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (!assistantMask[i]) continue;
    const start = i;
    while (i < ids.length && assistantMask[i]) i++;
    runs.push(of.decode(ids.subarray(start, i)));
  }
  return { runs, text };
}

const turns = [
  message("system", "Be brief."),
  message("user", "One?"),
  message("assistant", "Yes, one."),
  message("user", "Two?"),
  message("assistant", ' No: "two" '),
];

describe("assistant token mask", () => {
  it("covers ChatML answers and their end tokens, without markup or the line break that follows", () => {
    const { runs } = learned(withTokens(chatMl), turns);
    expect(runs).toEqual(["Yes, one.<|im_end|>", ' No: "two" <|im_end|>']);
  });

  it("covers plain-template answers from the end of the generation prompt to the end token", () => {
    const plain = withTokens([added(256, "<s>"), added(257, "</s>")], { bos_token: "<s>", eos_token: "</s>" });
    expect(learned(plain, turns).runs).toEqual([" Yes, one.</s>", '  No: "two" </s>']);
  });

  it("supports a template that trims contents and ends turns with plain text", () => {
    const template =
      "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}[/]\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
    expect(learned(withTokens([]), turns, template).runs).toEqual(["Yes, one.[/]\n", 'No: "two"[/]\n']);
  });

  it("supports generation prompts that open a thought, and thoughts dropped from past turns", () => {
    const template =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] | trim }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";
    const of = withTokens(chatMl);
    const thinking = [
      message("user", "a"),
      message("assistant", "Plain."),
      message("user", "b"),
      message("assistant", "<think>\nhm</think>\nB."),
      message("user", "c"),
      message("assistant", "<think>\nho</think>\nC."),
    ];
    // The prompt opens the thought. The second answer is skipped, because the template dropped its thought.
    expect(learned(of, thinking, template).runs).toEqual(["Plain.<|im_end|>", "ho</think>\nC.<|im_end|>"]);
  });

  it("supports a generation prompt whose final space merges into the answer's first word", () => {
    const of = fromJson(
      byteLevelJson([
        ["Ġ", "Y"],
        ["ĠY", "e"],
        ["ĠYe", "s"],
      ]),
    );
    const template =
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    const answers = ["Yes", "Yes!", "No"].flatMap((text) => [message("user", "Yes?"), message("assistant", text)]);
    expect(learned(of, answers, template).runs).toEqual([" Yes\n", " Yes!\n", "No\n"]);
  });

  it("is correct if an answer repeats the user's message or looks like markup", () => {
    const of = withTokens(chatMl);
    const { runs } = learned(of, [
      message("user", "same"),
      message("assistant", "same"),
      message("user", "x"),
      message("assistant", "<|im_end|>\n<|im_start|>assistant\nsame"),
    ]);
    expect(runs).toEqual(["same<|im_end|>", "<|im_end|>\n<|im_start|>assistant\nsame<|im_end|>"]);
  });

  it("finds past answers that also occur in the user's message or in the mark-up", () => {
    // Like Qwen 3's template, which adds an empty thought to the last answer only.
    const template =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    const chosen = [
      message("user", "Is it A or B?"),
      message("assistant", "A"),
      message("user", "Which letter is in assistant?"),
      message("assistant", "a"),
      message("user", "And B or C?"),
      message("assistant", "B"),
    ];
    const of = withTokens(chatMl);
    const { runs, text } = learned(of, chosen, template);
    expect(runs).toEqual(["A<|im_end|>", "a<|im_end|>", "<think>\n\n</think>\n\nB<|im_end|>"]);
    expect(text).toContain("assistant\na<|im_end|>");
  });

  it("finds an answer that also occurs in the mark-up if the generation prompt opens a thought", () => {
    const template =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";
    const answer = (content: string) => [message("user", "x"), message("assistant", content)];
    const of = withTokens(chatMl);
    expect(learned(of, answer("a"), template).runs).toEqual(["a<|im_end|>"]);
    expect(learned(of, answer("<thin>"), template).runs).toEqual(["<thin><|im_end|>"]);
  });

  it("supports conversations that begin with an answer or have none", () => {
    const of = withTokens(chatMl);
    expect(learned(of, [message("assistant", "Hello."), message("user", "hi")]).runs).toEqual(["Hello.<|im_end|>"]);
    expect(learned(of, [message("user", "hi")]).runs).toEqual([]);
  });
});

describe("a template with generation tags", () => {
  const head = "<|im_start|>{{ m.role }}\n";
  const chat = (answer: string, other = "{{ m.content }}<|im_end|>\n") =>
    `{% for m in messages %}{% if m.role == 'assistant' %}${answer}{% else %}${head}${other}{% endif %}{% endfor %}`;

  it.each([
    [
      "marks the content only",
      `${head}{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>\n`,
      ["Yes, one.", ' No: "two" '],
    ],
    [
      "marks the end token and the line break if the tags enclose them",
      `${head}{% generation %}{{ m.content }}<|im_end|>{{ '\n' }}{% endgeneration %}`,
      ["Yes, one.<|im_end|>\n", ' No: "two" <|im_end|>\n'],
    ],
    [
      "marks only the last answer if only it has tags",
      `${head}{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n`,
      [' No: "two" '],
    ],
    [
      "marks the content without the whitespace that the tags trim",
      `${head}  {%- generation -%}  {{ m.content }}  {%- endgeneration -%}  <|im_end|>\n`,
      ["Yes, one.", ' No: "two" '],
    ],
    [
      "marks nothing if the tags enclose nothing",
      `${head}{% generation %}{% endgeneration %}{{ m.content }}<|im_end|>\n`,
      [],
    ],
  ])("gives an assistant token mask that %s", (_, answer, runs) => {
    expect(learned(withTokens(chatMl), turns, chat(answer)).runs).toEqual(runs);
  });

  it("renders the same text as without the tags", () => {
    const answer = `${head}\n  {% generation %}\n  {{ m.content }}\n  {% endgeneration %}\n<|im_end|>\n`;
    const without = answer.replace(/ *\{% (end)?generation %\}\n/g, "");
    const of = withTokens(chatMl);
    const { text, runs } = learned(of, turns, chat(answer));
    expect(text).toBe(of.applyChatTemplate(turns, { template: chat(without) }).text);
    expect(runs).toEqual(["  Yes, one.\n", '   No: "two" \n']);
  });

  it("treats private-use characters in a message as text", () => {
    const answer = `${head}{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>\n`;
    const own = [message("user", "\ue000\ue001"), message("assistant", "a\ue001b\ue002<|im_end|>")];
    expect(learned(withTokens(chatMl), own, chat(answer)).runs).toEqual(["a\ue001b\ue002<|im_end|>"]);
  });
});
