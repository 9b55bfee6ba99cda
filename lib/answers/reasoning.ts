// How families separate reasoning from the answer.
import type { ReasoningFormat } from "./format.ts";

const THINK = ["<think>", "</think>"] as const;
const hasThink = (template: string) => template.includes(THINK[0]) || template.includes(THINK[1]);
/** Returns the format with an opening and a closing mark. @param answer the tags around the answer */
const marked = ([open, close]: readonly [string, string], answer?: ReasoningFormat["answer"]): ReasoningFormat => ({
  isIn: (template) => template.includes(open),
  open,
  close,
  ...(open === THINK[0] && { closing: `\n${close}\n\n` }),
  ...(answer && { answer }),
});
/** Returns the `<think>` format for templates that also put the answer into `<tag>` and `</tag>`. */
const wrapped = (tag: string): ReasoningFormat => {
  const answer = { opens: [`<${tag}>`], closes: [`</${tag}>`] };
  return { ...marked(THINK, answer), isIn: (template) => hasThink(template) && template.includes(`<${tag}>`) };
};

/**
 * The formats of reasoning. The first one that is in a template applies, so the formats with more marks than `<think>` precede `think`.
 */
export const REASONING_FORMATS = {
  /** Command R7B and Command A. */
  command: marked(["<|START_THINKING|>", "<|END_THINKING|>"], {
    opens: ["<|START_RESPONSE|>", "<|START_TEXT|>"],
    closes: ["<|END_RESPONSE|>", "<|END_TEXT|>"],
  }),
  /** Magistral and Ministral 3. */
  mistral: marked(["[THINK]", "[/THINK]"]),
  /** Seed-OSS. */
  seed: marked(["<seed:think>", "</seed:think>"]),
  /** Granite 3.2, which writes sentences instead of marks. */
  granite: marked(["Here is my thought process:", "Here is my response:"]),
  /** ERNIE 4.5 and Granite 3.3. */
  thinkResponse: wrapped("response"),
  /** Hunyuan. */
  thinkAnswer: wrapped("answer"),
  /** Qwen 3, DeepSeek R1, GLM 4.5, EXAONE 4, SmolLM 3 and many others. */
  think: { ...marked(THINK), isIn: hasThink },
} satisfies Record<string, ReasoningFormat>;
