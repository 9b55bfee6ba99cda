// Renders an answer by a chat template, and reads back what the template wrote.
import { expect } from "vitest";
import { callFormatOf, chooseCallFormat } from "../../lib/answers/call-formats.ts";
import { atOnce } from "../../lib/core/slices.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { templateMessages, templateTools } from "../../lib/language-model/chat/template-messages.ts";
import { familyOf } from "../../lib/models/registry.ts";
import type { ChatMessage } from "../../lib/tokenizer/index.ts";
import { tinyTokenizer } from "../inference/helpers.ts";
import { readWith, tools } from "./helpers.ts";

const calls = [
  ["sea", { place: "Kyoto, café", depth: 12, tags: ["a", "b"] }],
  ["now", {}],
] as const;
const toolCalls = calls.map(([name, args], i) => ({
  id: `call_${i}123456789abcdef`,
  type: "function",
  function: { name, arguments: JSON.stringify(args) },
}));

export type Kind = "plain" | "one call" | "two calls" | "text and a call" | "reasoning" | "reasoning and a call";
export const ANSWERS: Readonly<Record<Kind, ChatMessage>> = {
  plain: { role: "assistant", content: "It is." },
  "one call": { role: "assistant", content: "", tool_calls: toolCalls.slice(0, 1) },
  "two calls": { role: "assistant", content: "", tool_calls: toolCalls },
  "text and a call": { role: "assistant", content: "Let me see.", tool_calls: toolCalls.slice(0, 1) },
  reasoning: { role: "assistant", content: "It is.", reasoning_content: "Hm." },
  "reasoning and a call": {
    role: "assistant",
    content: "",
    reasoning_content: "Hm.",
    tool_calls: toolCalls.slice(0, 1),
  },
};

export interface Writing {
  /** The family of the model, by its name in config.json. */
  family: string;
  /** The text that the template writes after an answer. */
  end: string;
  /** The kinds of answers that the template can write. */
  kinds: readonly Kind[];
  documents?: readonly unknown[];
  /** Whether the template fails without tools. */
  needsTools?: boolean;
  /** Variables for answers without reasoning. Needed if the prompt begins the reasoning by default. */
  withoutReasoning?: Readonly<Record<string, unknown>>;
}

export const tokenizer = await tinyTokenizer();

/** Renders an answer, and reads what the template wrote. */
export function readBack(template: string, model: Writing, kind: Kind) {
  const { family, end, documents } = model;
  const answer = ANSWERS[kind];
  const given = answer.tool_calls || model.needsTools ? templateTools(tools, template) : undefined;
  const variables = answer.reasoning_content ? {} : model.withoutReasoning;
  const format = chooseCallFormat(template, familyOf(family).calls);
  const shape = format && callFormatOf(format).shape;
  const render = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => {
    const prepared = atOnce(templateMessages(messages, template, shape));
    const inputs = { template, tools: given, documents, variables };
    return tokenizer.applyChatTemplate(prepared, { ...inputs, addGenerationPrompt });
  };
  const user = { role: "user", content: "Is it raining?" };
  const prompt = render([user], true);
  const { text } = render([user, answer], false);
  expect(text.startsWith(prompt.text), text).toBe(true);
  // DeepSeek V3's template writes no end after an answer that has a single call.
  const answered = text.slice(prompt.text.length);
  const written = answered.endsWith(end) ? answered.slice(0, answered.length - end.length) : answered;
  const form = new AnswerForm({ tokenizer, config: { modelType: family } }, { template, tools: given });
  const parser = () => form.parser({ prompt: prompt.ids });
  if (!parser()) return { text: written, reasoning: "", calls: [] };
  const whole = readWith(parser()!, [written]);
  expect(readWith(parser()!, [...written])).toEqual(whole);
  return { ...whole, calls: whole.calls.map(([name, args]) => [name, JSON.parse(args)]) };
}

/** Returns what `readBack` must return for an answer of this kind. */
export function expectedOf(kind: Kind) {
  const { content, reasoning_content: reasoning = "", tool_calls: given = [] } = ANSWERS[kind];
  return { text: content, reasoning, calls: calls.slice(0, (given as unknown[]).length) };
}
