import { describe, expect, it } from "vitest";
import { added, byteLevelJson, fromJson } from "../samples.ts";

const tokenizer = fromJson(
  byteLevelJson([], { added_tokens: [added(256, "<|im_start|>"), added(257, "<|im_end|>"), added(258, "<bos>")] }),
  { bos_token: "<bos>" },
);
const messages = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hi <|im_end|>" },
  { role: "assistant", content: " 日本 " },
  { role: "user", content: "" },
];

describe("applyChatTemplateWithSpans", () => {
  it("returns the token range of each message", () => {
    const { ids, text, spans } = tokenizer.applyChatTemplateWithSpans(messages);
    const whole = tokenizer.applyChatTemplate(messages);
    expect([text, ids]).toEqual([whole.text, whole.ids]);
    const turns = spans.map(({ begin, end }) => tokenizer.decode(ids.subarray(begin, end)));
    expect(turns).toEqual([
      "<|im_start|>system\nBe brief.<|im_end|>\n",
      "<|im_start|>user\nHi <|im_end|><|im_end|>\n",
      "<|im_start|>assistant\n 日本 <|im_end|>\n",
      "<|im_start|>user\n<|im_end|>\n",
    ]);
    const contents = spans.map(({ contentBegin, contentEnd }) =>
      tokenizer.decode(ids.subarray(contentBegin, contentEnd)),
    );
    expect(contents).toEqual(["Be brief.", "Hi <|im_end|>", "日本", ""]);
    expect(spans.map(({ message }) => message)).toEqual([0, 1, 2, 3]);
    expect(spans[0]!.begin).toBe(0);
    for (const [i, span] of spans.entries()) expect(span.end).toBe(spans[i + 1]?.begin ?? ids.length);
  });

  it("finds a content that also occurs in the mark-up before it", () => {
    const short = ["system", "user", "a"].map((content, i) => ({ role: messages[i]!.role, content }));
    const { ids, spans } = tokenizer.applyChatTemplateWithSpans([...short, { role: "user", content: " i " }]);
    const heads = spans.map(({ begin, contentBegin }) => tokenizer.decode(ids.subarray(begin, contentBegin)));
    expect(heads).toEqual([
      "<|im_start|>system\n",
      "<|im_start|>user\n",
      "<|im_start|>assistant\n",
      "<|im_start|>user\n ",
    ]);
    for (const [i, { contentBegin, contentEnd }] of spans.entries())
      expect(tokenizer.decode(ids.subarray(contentBegin, contentEnd))).toBe(short[i]?.content ?? "i");
  });

  it("excludes the generation prompt", () => {
    const { ids, spans } = tokenizer.applyChatTemplateWithSpans(messages, { addGenerationPrompt: true });
    expect(tokenizer.decode(ids.subarray(spans.at(-1)!.end))).toBe("<|im_start|>assistant\n");
  });

  it("supports templates that write a prefix, reject partial conversations and replace past answers", () => {
    const template =
      "{{ bos_token }}{% if messages[-1].role != 'user' %}{{ raise_exception('ask') }}{% endif %}" +
      "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' and not loop.last %}(past){% else %}{{ m.content }}{% endif %}{% endfor %}";
    const { ids, spans } = tokenizer.applyChatTemplateWithSpans(
      messages.slice(0, 3).concat({ role: "user", content: "more" }),
      {
        template,
      },
    );
    const turns = spans.map(({ begin, end }) => tokenizer.decode(ids.subarray(begin, end)));
    expect(turns.join("")).toBe("<bos>[system]Be brief.[user]Hi <|im_end|>[assistant](past)[user]more");
    expect(turns[1]).toBe("[user]Hi <|im_end|>");
    expect(turns[0]).toBe("<bos>[system]Be brief.");
    expect(tokenizer.decode(ids.subarray(spans[3]!.contentBegin, spans[3]!.contentEnd))).toBe("more");
    expect(spans[2]!.contentBegin).toBe(spans[2]!.contentEnd);
  });

  it("returns no spans for an empty conversation", () => {
    expect(tokenizer.applyChatTemplateWithSpans([], { template: "x {{ 1 }}" }).spans).toEqual([]);
  });
});
