import { compiledAhead } from "../constrain/index.ts";
import { KvCache } from "../inference/cache/kv-cache.ts";
import { MOST_SLOTS } from "../inference/cache/slots.ts";
import { runSequences } from "../inference/engine.ts";
import { type GenerateOptions, resolveOptions } from "../inference/generation-options.ts";
import { Sequence } from "../inference/sequence.ts";
import { Answers, type Completion } from "./completion.ts";
import type { LanguageModel } from "./language-model.ts";

/** A prompt with its seed. */
export interface SeededPrompt {
  ids: readonly number[];
  /** A safe integer of at least 0. */
  seed: number;
}

/**
 * One continuation of each prompt, in order, all decoded together: what training draws answers with. Unlike `completeAll`
 * every sequence has its own seed.
 */
export async function completeSeeded(
  model: LanguageModel,
  prompts: readonly SeededPrompt[],
  options: Omit<GenerateOptions, "seed" | "n"> = {},
): Promise<Completion[]> {
  if (prompts.length === 0) return [];
  const { contextLength, tokenizer, cacheDtype: dtype, cachePageSize: pageSize } = model;
  const resolved = resolveOptions(await compiledAhead({ ...options, seed: 0 }), model.optionContext);
  model.checkTexts(resolved);
  const sequences = prompts.map(({ ids, seed }, index) => {
    const own = { ...resolved, seed };
    return new Sequence(ids, own, { index, sample: 0, contextLength, tokenizer });
  });
  const answers = new Answers(sequences);
  const { progress } = answers;
  const { signal, speculation, adapters } = resolved;
  const slots = Math.min(sequences.length, MOST_SLOTS);
  const cache = new KvCache(model.model, { slots, contextLength, dtype, adapters, pageSize });
  try {
    for await (const pieces of runSequences(cache, sequences, { signal, progress, speculation }))
      for (const piece of pieces) answers.add(piece);
  } finally {
    cache.dispose();
  }
  return answers.finish(0);
}
