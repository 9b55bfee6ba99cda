// Answers that the published chat template of each family writes are read back unchanged.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createJiti } from "jiti";
import { describe, expect, test } from "vitest";
import { callFormatOf, chooseCallFormat } from "../../lib/answers/catalogue.ts";
import { atOnce } from "../../lib/core/slices.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { templateMessages } from "../../lib/language-model/chat/template-messages.ts";
import { familyOf } from "../../lib/models/registry.ts";
import type { ChatMessage } from "../../lib/tokenizer/index.ts";
import { tinyTokenizer } from "../inference/helpers.ts";
import { installed, packaged } from "../tokenizer/files/packaged.ts";
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

type Kind = "plain" | "one call" | "two calls" | "reasoning" | "reasoning and a call";
const ANSWERS: Readonly<Record<Kind, ChatMessage>> = {
  plain: { role: "assistant", content: "It is." },
  "one call": { role: "assistant", content: "", tool_calls: toolCalls.slice(0, 1) },
  "two calls": { role: "assistant", content: "", tool_calls: toolCalls },
  reasoning: { role: "assistant", content: "It is.", reasoning_content: "Hm." },
  "reasoning and a call": {
    role: "assistant",
    content: "",
    reasoning_content: "Hm.",
    tool_calls: toolCalls.slice(0, 1),
  },
};

interface Published {
  /** The family of the model, by its name in config.json. */
  family: string;
  /** The text that the template writes after an answer. */
  end: string;
  /** What the template can write besides plain answers. */
  kinds: readonly Kind[];
  documents?: readonly unknown[];
}

const TWO = ["one call", "two calls"] as const;
const REASONS = ["reasoning", "reasoning and a call"] as const;
const chatml = { family: "qwen2", end: "<|im_end|>\n" };
const deepseek = { family: "llama", end: "<｜end▁of▁sentence｜>" };
const granite = { family: "granite", end: "<|end_of_text|>\n" };
/** Chat templates of GGUF files, by the name in npm's @huggingface/ollama-utils. */
const MODELS: Readonly<Record<string, Published>> = {
  "qwen2.5:0.5b": { ...chatml, kinds: TWO },
  "qwen3:0.6b": { ...chatml, family: "qwen3", kinds: [...TWO, ...REASONS] },
  "qwen3-next:80b": { ...chatml, family: "qwen3", kinds: [...TWO, ...REASONS] },
  "qwen3-coder:30b": { ...chatml, family: "qwen3_moe", kinds: TWO },
  "llama3.1:8b": { family: "llama", end: "<|eot_id|>", kinds: ["one call"] },
  "llama3.2:3b": { family: "llama", end: "<|eot_id|>", kinds: ["one call"] },
  "deepseek-v3:671b": { ...deepseek, kinds: TWO },
  "deepseek-r1:latest": { ...deepseek, kinds: TWO },
  "deepseek-v3.1:latest": { ...deepseek, kinds: TWO },
  "granite3-dense:2b": { ...granite, kinds: TWO },
  "granite3.3:2b": { ...granite, kinds: TWO },
  "granite4:latest": { ...granite, family: "granitemoehybrid", kinds: TWO },
  "phi4-mini:3.8b": { family: "phi3", end: "<|end|><|endoftext|>", kinds: TWO },
};

const list = installed("@huggingface", "ollama-utils", "src", "chat-template-automap.ts");
const { OLLAMA_CHAT_TEMPLATE_MAPPING: published = [] } = list
  ? ((await createJiti(import.meta.url).import(list)) as {
      OLLAMA_CHAT_TEMPLATE_MAPPING: { model: string; gguf: string }[];
    })
  : {};
const tokenizer = await tinyTokenizer();

/** Renders an answer, and reads what the template wrote. */
function readBack(template: string, { family, end, documents }: Published, kind: Kind) {
  const answer = ANSWERS[kind];
  const given = answer.tool_calls ? tools : undefined;
  const format = chooseCallFormat(template, familyOf(family).calls);
  const shape = format && callFormatOf(format).shape;
  const render = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => {
    const prepared = atOnce(templateMessages(messages, template, shape));
    return tokenizer.applyChatTemplate(prepared, { template, tools: given, addGenerationPrompt, documents });
  };
  const user = { role: "user", content: "Is it raining?" };
  const prompt = render([user], true);
  const { text } = render([user, answer], false);
  expect(text.startsWith(prompt.text), text).toBe(true);
  // DeepSeek V3's template does not end an answer with a single call.
  const written = text.slice(prompt.text.length, text.endsWith(end) ? -end.length : undefined);
  const form = new AnswerForm({ tokenizer, config: { modelType: family } }, { template, tools: given });
  const parser = () => form.parser({ prompt: prompt.ids });
  if (!parser()) return { text: written, reasoning: "", calls: [] };
  const whole = readWith(parser()!, [written]);
  expect(readWith(parser()!, [...written])).toEqual(whole);
  return { ...whole, calls: whole.calls.map(([name, args]) => [name, JSON.parse(args)]) };
}

function expectedOf(kind: Kind) {
  const { content, reasoning_content: reasoning = "", tool_calls: given = [] } = ANSWERS[kind];
  return { text: content, reasoning, calls: calls.slice(0, (given as unknown[]).length) };
}

describe.skipIf(!list)("the published template (npm @huggingface/ollama-utils)", () => {
  describe.each(Object.entries(MODELS))("of %s", (name, model) => {
    test.each<Kind>(["plain", ...model.kinds])("writes an answer that is read back: %s", (kind) => {
      const { gguf: template } = published.find((one) => one.model === `library/${name}`)!;
      expect(readBack(template, model, kind)).toEqual(expectedOf(kind));
    });
  });

  test.each<Kind>(["two calls", "reasoning and a call"])("of Command R7B writes %s into an action", (kind) => {
    // This template writes tools only together with documents.
    const { gguf: template } = published.find(({ model }) => model === "library/command-r7b:7b")!;
    const model = {
      family: "cohere2",
      end: "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
      kinds: [kind],
      documents: [{ title: "Sea" }],
    };
    expect(readBack(template, model, kind)).toEqual(expectedOf(kind));
  });
});

const nemo = packaged("tokenizer-mistral_nemo");
test.skipIf(!nemo).each<Kind>(["plain", ...TWO])(
  "the published template of Mistral Nemo (npm @lenml/tokenizer-…) writes an answer that is read back: %s",
  (kind) => {
    const config = JSON.parse(readFileSync(join(nemo!, "tokenizer_config.json"), "utf8")) as { chat_template: string };
    const model = { family: "mistral", end: "<|endoftext|>", kinds: TWO };
    expect(readBack(config.chat_template, model, kind)).toEqual(expectedOf(kind));
  },
);
