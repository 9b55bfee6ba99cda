import type { z } from "zod";
import { Stream, uniformAt } from "../../data/random.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { completeSeeded } from "../../language-model/rollout-generate.ts";
import { type AnsweredPrompt, joined } from "../preference/sequences.ts";
import type { samplingShape } from "./options.ts";
import type { PolicyPrompt } from "./prompts.ts";

/** A prompt with its index in the rollout. */
export interface PlacedPrompt {
  readonly prompt: PolicyPrompt;
  readonly place: number;
}

type SamplingOptions = z.output<z.ZodObject<typeof samplingShape>>;

/** An answer of the policy. */
export interface DrawnAnswer {
  readonly prompt: PolicyPrompt;
  readonly answer: AnsweredPrompt;
  readonly text: string;
  /** The log-probability of each token under the model that drew it, from its unscaled logits (temperature 1). */
  readonly logprobs: readonly number[];
  /** Whether it ended with an end token. */
  readonly ended: boolean;
}

/**
 * Draws answers by the generation engine: batched decoding over a KV cache, with the current weights. The answers to a prompt depend on its
 * index, the seed and the rollout, and not on the other prompts.
 * @param count number of answers to a prompt, which are consecutive in the result
 */
export async function drawAnswers(
  model: LanguageModel,
  prompts: readonly PlacedPrompt[],
  count: number,
  options: SamplingOptions & { seed: number; rollout: number; signal?: AbortSignal | undefined },
): Promise<DrawnAnswer[]> {
  const { seed, rollout, signal, maxCompletionLength: maxTokens, temperature, topK, topP, minP } = options;
  const asked = prompts.flatMap(({ prompt, place }) =>
    Array.from({ length: count }, (_, i) => ({ prompt, index: place * count + i })),
  );
  // A seed is an integer below 2⁴⁷, like the seeds that generation draws for requests without one.
  const seeded = asked.map(({ prompt: { ids }, index }) => ({
    ids,
    seed: Math.floor(uniformAt(seed, Stream.rollouts, rollout, index) * 2 ** 47),
  }));
  const { repetitionPenalty } = options;
  const sampling = { maxTokens, temperature, topK, topP, minP, repetitionPenalty };
  const completions = await completeSeeded(model, seeded, { ...sampling, contextOverflow: "stop", signal });
  return completions.map(({ tokens, logprobs, text, finishReason }, i) => ({
    prompt: asked[i]!.prompt,
    answer: joined(asked[i]!.prompt.ids, tokens),
    text,
    logprobs,
    ended: finishReason === "stop",
  }));
}
