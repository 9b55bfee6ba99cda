import { compiledAhead } from "../constrain/index.ts";
import { type GenerateOptions, resolveOptions } from "../inference/generation-options.ts";
import { sequencesOf } from "../inference/sequence.ts";
import type { Completion } from "./completion.ts";
import { answersOf, newCall } from "./generation-request.ts";
import type { LanguageModel } from "./language-model.ts";

/** A prompt with its seed. */
interface SeededPrompt {
  ids: readonly number[];
  /** A safe integer of at least 0. */
  seed: number;
}

/**
 * Returns one continuation of each prompt, in order. Batches all prompts. Training uses it to sample answers.
 * Unlike in `completeAll`, every sequence has a separate seed.
 */
export async function completeSeeded(
  model: LanguageModel,
  prompts: readonly SeededPrompt[],
  options: Omit<GenerateOptions, "seed" | "n"> = {},
): Promise<Completion[]> {
  if (prompts.length === 0) return [];
  const { contextLength, tokenizer } = model;
  const resolved = resolveOptions(await compiledAhead({ ...options, seed: 0 }), model.optionContext);
  model.checkTexts(resolved);
  const ids = prompts.map((prompt) => prompt.ids);
  const optionsAt = (place: number) => ({ ...resolved, seed: prompts[place]!.seed });
  const sequences = sequencesOf(ids, resolved, { contextLength, tokenizer, optionsAt });
  return answersOf(newCall(model, sequences, { options: resolved }), 0);
}
