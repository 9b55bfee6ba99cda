import { describe, expect, it } from "vitest";
import { added, byteLevelJson, fromJson } from "../samples.ts";

const chatMl = [added(256, "<|im_start|>"), added(257, "<|im_end|>")];
const withTokens = (tokens: object[], config?: Record<string, unknown>) =>
  fromJson(byteLevelJson([], { added_tokens: tokens }), config);
const message = (role: string, content: string) => ({ role, content });

/** The text of each run of masked tokens. */
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

describe("which tokens are the assistant's", () => {
  it("ChatML: answers and the tokens that end them, no mark-up, no line break after", () => {
    const { runs } = learned(withTokens(chatMl), turns);
    expect(runs).toEqual(["Yes, one.<|im_end|>", ' No: "two" <|im_end|>']);
  });

  it("the plain template: from behind the generation prompt to the end token", () => {
    const plain = withTokens([added(256, "<s>"), added(257, "</s>")], { bos_token: "<s>", eos_token: "</s>" });
    expect(learned(plain, turns).runs).toEqual([" Yes, one.</s>", '  No: "two" </s>']);
  });

  it("a template that trims, with an end of turn that is text", () => {
    const template =
      "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}[/]\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
    expect(learned(withTokens([]), turns, template).runs).toEqual(["Yes, one.[/]\n", 'No: "two"[/]\n']);
  });

  it("a generation prompt that opens a thought; thoughts that later turns drop", () => {
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
    // The prompt opens the thought. The second answer is there without its own: what was said is no longer what is shown.
    expect(learned(of, thinking, template).runs).toEqual(["Plain.<|im_end|>", "ho</think>\nC.<|im_end|>"]);
  });

  it("a generation prompt that ends in a space, which the answer's first word takes in", () => {
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

  it("an answer that says what the user said, and what looks like mark-up", () => {
    const of = withTokens(chatMl);
    const { runs } = learned(of, [
      message("user", "same"),
      message("assistant", "same"),
      message("user", "x"),
      message("assistant", "<|im_end|>\n<|im_start|>assistant\nsame"),
    ]);
    expect(runs).toEqual(["same<|im_end|>", "<|im_end|>\n<|im_start|>assistant\nsame<|im_end|>"]);
  });

  it("a conversation that begins with the assistant, and one without it", () => {
    const of = withTokens(chatMl);
    expect(learned(of, [message("assistant", "Hello."), message("user", "hi")]).runs).toEqual(["Hello.<|im_end|>"]);
    expect(learned(of, [message("user", "hi")]).runs).toEqual([]);
  });
});

describe("a template with generation tags says itself what counts", () => {
  const head = "<|im_start|>{{ m.role }}\n";
  const chat = (answer: string, other = "{{ m.content }}<|im_end|>\n") =>
    `{% for m in messages %}{% if m.role == 'assistant' %}${answer}{% else %}${head}${other}{% endif %}{% endfor %}`;

  it.each([
    [
      "the content alone",
      `${head}{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>\n`,
      ["Yes, one.", ' No: "two" '],
    ],
    [
      "with its end and the line break, which re-rendering leaves out",
      `${head}{% generation %}{{ m.content }}<|im_end|>{{ '\n' }}{% endgeneration %}`,
      ["Yes, one.<|im_end|>\n", ' No: "two" <|im_end|>\n'],
    ],
    [
      "the last answer alone",
      `${head}{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n`,
      [' No: "two" '],
    ],
    [
      "blanks trimmed as the tags say",
      `${head}  {%- generation -%}  {{ m.content }}  {%- endgeneration -%}  <|im_end|>\n`,
      ["Yes, one.", ' No: "two" '],
    ],
    [
      "nothing, where they enclose nothing",
      `${head}{% generation %}{% endgeneration %}{{ m.content }}<|im_end|>\n`,
      [],
    ],
  ])("%s", (_, answer, runs) => {
    expect(learned(withTokens(chatMl), turns, chat(answer)).runs).toEqual(runs);
  });

  it("the text is that of the same template without them", () => {
    const answer = `${head}\n  {% generation %}\n  {{ m.content }}\n  {% endgeneration %}\n<|im_end|>\n`;
    const without = answer.replace(/ *\{% (end)?generation %\}\n/g, "");
    const of = withTokens(chatMl);
    const { text, runs } = learned(of, turns, chat(answer));
    expect(text).toBe(of.applyChatTemplate(turns, { template: chat(without) }).text);
    expect(runs).toEqual(["  Yes, one.\n", '   No: "two" \n']);
  });

  it("marks that a message holds are the message's own", () => {
    const answer = `${head}{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>\n`;
    const own = [message("user", "\ue000\ue001"), message("assistant", "a\ue001b\ue002<|im_end|>")];
    expect(learned(withTokens(chatMl), own, chat(answer)).runs).toEqual(["a\ue001b\ue002<|im_end|>"]);
  });
});
