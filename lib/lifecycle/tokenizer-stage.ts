import { writeTogether } from "../io/staged-files.ts";
import { chatMlTemplate } from "../tokenizer/chat/default-templates.ts";
import { Tokenizer } from "../tokenizer/index.ts";
import { everydayQuestions } from "./recipe/everyday-questions.ts";
import type { Recipe } from "./recipe/recipe.ts";
import { smallTalk } from "./recipe/small-talk.ts";
import type { StageMetrics } from "./types.ts";

const BOS = "<|endoftext|>";
/** Special tokens that begin and end a turn of a conversation. */
const TURN = ["<|im_start|>", "<|im_end|>"] as const;

/**
 * Trains a tokenizer on a sample of the corpus, and on small talk and everyday questions. It has a chat template. Prompts
 * and documents begin with the same token.
 */
export async function trainTokenizer(recipe: Recipe, vocabSize: number, signal?: AbortSignal): Promise<Tokenizer> {
  const { stories, facts, knowledge } = recipe.corpus;
  const sample = [
    ...stories.slice(0, 2500),
    ...facts.slice(0, 8000),
    ...knowledge.slice(0, 1500),
    ...[...smallTalk, ...everydayQuestions()].flatMap(({ question, answer }) => [question, answer]),
  ];
  return await Tokenizer.train(sample, {
    vocabSize,
    specialTokens: [BOS, ...TURN],
    bosToken: BOS,
    eosToken: TURN[1],
    chatTemplate: chatMlTemplate,
    ...(signal && { signal }),
  });
}

/** Writes a tokenizer's files, all or none of them. */
export async function saveTokenizer(tokenizer: Tokenizer, path: (name: string) => string): Promise<void> {
  await writeTogether(async (files) => {
    for (const [name, text] of Object.entries(tokenizer.files())) await files.writeText(path(name), text);
  });
}

/**
 * Returns bits per byte of held-out text under a uniform distribution over the vocabulary, where each token takes
 * log2(vocabulary size) bits. Before the stage, tokens are bytes.
 */
export function tokenizerMetrics(
  tokenizer: Tokenizer,
  texts: readonly string[],
): { before: StageMetrics; after: StageMetrics } {
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const tokens = texts.reduce((sum, text) => sum + tokenizer.encode(text, { addSpecialTokens: false }).length, 0);
  return { before: { bitsPerByte: 8 }, after: { bitsPerByte: (tokens * Math.log2(tokenizer.vocabSize)) / bytes } };
}
