// Answers that the published chat template of each family writes are read back unchanged.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createJiti } from "jiti";
import { describe, expect, test } from "vitest";
import { atOnce } from "../../lib/core/slices.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { templateMessages, templateTools } from "../../lib/language-model/chat/template-messages.ts";
import { installed, packaged } from "../tokenizer/files/packaged.ts";
import { readWith, tools } from "./helpers.ts";
import { llamaCppTemplates } from "./llama-cpp-templates.ts";
import { ANSWERS, expectedOf, type Kind, readBack, tokenizer, type Writing } from "./read-back.ts";

const ONE = ["plain", "one call"] as const;
const TWO = [...ONE, "two calls"] as const;
const REASONS = ["reasoning", "reasoning and a call"] as const;
const chatml = { family: "qwen2", end: "<|im_end|>\n" };
const deepseek = { family: "llama", end: "<｜end▁of▁sentence｜>" };
const granite = { family: "granite", end: "<|end_of_text|>\n" };
const mistral = { family: "mistral", end: "<|endoftext|>" };
/** Chat templates of GGUF files, by the name in npm's @huggingface/ollama-utils. */
const MODELS: Readonly<Record<string, Writing>> = {
  "qwen2.5:0.5b": { ...chatml, kinds: TWO },
  "qwen3:0.6b": { ...chatml, family: "qwen3", kinds: [...TWO, ...REASONS] },
  "qwen3-next:80b": { ...chatml, family: "qwen3", kinds: [...TWO, ...REASONS] },
  "qwen3-coder:30b": { ...chatml, family: "qwen3_moe", kinds: TWO },
  "llama3.1:8b": { family: "llama", end: "<|eot_id|>", kinds: ONE },
  "llama3.2:3b": { family: "llama", end: "<|eot_id|>", kinds: ONE },
  "deepseek-v3:671b": { ...deepseek, kinds: TWO },
  "deepseek-r1:latest": { ...deepseek, kinds: TWO },
  "deepseek-v3.1:latest": { ...deepseek, kinds: TWO },
  "granite3-dense:2b": { ...granite, kinds: TWO },
  "granite3.3:2b": { ...granite, kinds: TWO },
  "granite4:latest": { ...granite, family: "granitemoehybrid", kinds: TWO },
  "phi4-mini:3.8b": { family: "phi3", end: "<|end|><|endoftext|>", kinds: TWO },
};

/**
 * Chat templates in llama.cpp's repository, by their files' names. No npm package was found that contains those of ERNIE 4.5, EXAONE 4,
 * Hunyuan and GLM-4-9B, and of SmolLM 3 with tools: see hand-written-templates.test.ts.
 */
const LLAMA_CPP: Readonly<Record<string, Writing>> = {
  // This template writes one call per message.
  "openai-gpt-oss-120b": { family: "gpt_oss", end: "", kinds: [...ONE, ...REASONS] },
  "GLM-4.6": { family: "glm4", end: "", kinds: [...TWO, ...REASONS, "text and a call"] },
  "GLM-4.7-Flash": {
    ...{ family: "glm4", end: "", kinds: [...TWO, ...REASONS, "text and a call"] },
    withoutReasoning: { enable_thinking: false },
  },
  // This version of the template writes neither tools nor reasoning.
  "HuggingFaceTB-SmolLM3-3B": { family: "smollm3", end: "<|im_end|>\n", kinds: ["plain"] },
  "ByteDance-Seed-OSS": { family: "seed_oss", end: "<seed:eos>", kinds: [...TWO, ...REASONS, "text and a call"] },
  "ibm-granite-granite-4.1": { ...granite, family: "granitemoehybrid", kinds: [...TWO, "text and a call"] },
  "meta-llama-Llama-3.3-70B-Instruct": { family: "llama", end: "<|eot_id|>", kinds: ONE },
  "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": {
    family: "llama",
    end: "<|im_end|>\n",
    kinds: TWO,
    needsTools: true,
  },
  "Mistral-Small-3.2-24B-Instruct-2506": { ...mistral, kinds: TWO },
  "unsloth-mistral-Devstral-Small-2507": { ...mistral, kinds: [...TWO, "text and a call"] },
  "mistralai-Ministral-3-14B-Reasoning-2512": { ...mistral, kinds: [...TWO, ...REASONS, "text and a call"] },
  Cohere2MoE: { family: "cohere2", end: "<|END_OF_TURN_TOKEN|>", kinds: REASONS },
};

const list = installed("@huggingface", "ollama-utils", "src", "chat-template-automap.ts");
const { OLLAMA_CHAT_TEMPLATE_MAPPING: published = [] } = list
  ? ((await createJiti(import.meta.url).import(list)) as {
      OLLAMA_CHAT_TEMPLATE_MAPPING: { model: string; gguf: string }[];
    })
  : {};
describe.skipIf(!list)("the published template (npm @huggingface/ollama-utils)", () => {
  describe.each(Object.entries(MODELS))("of %s", (name, model) => {
    test.each<Kind>(model.kinds)("writes an answer that is read back: %s", (kind) => {
      const { gguf: template } = published.find((one) => one.model === `library/${name}`)!;
      expect(readBack(template, model, kind)).toEqual(expectedOf(kind));
    });
  });

  test.each<Kind>(["two calls", "reasoning and a call"])(
    "the template of Command R7B writes %s into an action",
    (kind) => {
      // This template writes tools only together with documents.
      const { gguf: template } = published.find(({ model }) => model === "library/command-r7b:7b")!;
      const model = {
        family: "cohere2",
        end: "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        kinds: [kind],
        documents: [{ title: "Sea" }],
      };
      expect(readBack(template, model, kind)).toEqual(expectedOf(kind));
    },
  );
});

const repository = llamaCppTemplates();
describe.skipIf(!repository)("the published template in llama.cpp's repository (npm node-llama-cpp)", () => {
  describe.each(Object.entries(LLAMA_CPP))("of %s", (name, model) => {
    test.each<Kind>(model.kinds)("writes an answer that is read back: %s", (kind) => {
      expect(readBack(repository!.get(name)!, model, kind)).toEqual(expectedOf(kind));
    });
  });

  test.each<Kind>(["one call", "two calls"])(
    "the template of Command R+ writes an answer that is read back, although instructions follow it: %s",
    (kind) => {
      const template = repository!.get("CohereForAI-c4ai-command-r-plus-tool_use")!;
      const messages = atOnce(templateMessages([{ role: "user", content: "go" }, ANSWERS[kind]], template));
      const given = templateTools(tools, template);
      const { text } = tokenizer.applyChatTemplate(messages, { template, tools: given });
      const written = text.split("<|CHATBOT_TOKEN|>")[1]!.split("<|START_OF_TURN_TOKEN|>")[0]!.trim();
      const form = new AnswerForm({ tokenizer, config: { modelType: "cohere" } }, { template, tools });
      const { text: rest, calls } = readWith(form.parser()!, [...written]);
      expect({ rest, calls: calls.map(([name, args]) => [name, JSON.parse(args)]) }).toEqual({
        ...{ rest: "", calls: expectedOf(kind).calls },
      });
    },
  );

  test("the template of gpt-oss writes the text before a call as reasoning, after the reasoning itself", () => {
    const template = repository!.get("openai-gpt-oss-120b")!;
    const messages = [
      { role: "user", content: "go" },
      { ...ANSWERS["reasoning and a call"], content: "Let me see." },
    ];
    const { text } = tokenizer.applyChatTemplate(atOnce(templateMessages(messages, template)), { template });
    expect(text).toContain(
      "<|channel|>analysis<|message|>Hm.\n\nLet me see.<|end|><|start|>assistant to=functions.sea",
    );
  });
});

const nemo = packaged("tokenizer-mistral_nemo");
test.skipIf(!nemo).each<Kind>(TWO)(
  "the published template of Mistral Nemo (npm @lenml/tokenizer-…) writes an answer that is read back: %s",
  (kind) => {
    const config = JSON.parse(readFileSync(join(nemo!, "tokenizer_config.json"), "utf8")) as { chat_template: string };
    const model = { ...mistral, kinds: TWO };
    expect(readBack(config.chat_template, model, kind)).toEqual(expectedOf(kind));
  },
);
