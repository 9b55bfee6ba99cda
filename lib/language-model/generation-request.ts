import { BEAM_PAGE_SIZE, runBeams } from "../inference/beam/beam-engine.ts";
import type { SpareStore } from "../inference/cache/cache-store.ts";
import { KvCache } from "../inference/cache/kv-cache.ts";
import { MOST_SLOTS } from "../inference/cache/slots.ts";
import { type Progress, runSequences } from "../inference/engine.ts";
import type { ResolvedOptions } from "../inference/generation-options.ts";
import { promptScores } from "../inference/prompt-scores.ts";
import { checkPromptFits, type Piece, promptName, Sequence } from "../inference/sequence.ts";
import type { HeldModel } from "../models/model-view.ts";
import { Answers } from "./completion.ts";
import type { LanguageModel } from "./language-model.ts";
import { areLong, type Prompt, promptIds, promptIdsAhead } from "./prompt.ts";

/** A generation request: prompts of one call, which share a cache. */
export interface Call {
  /** Collects the pieces of the answers. */
  answers: Answers;
  /** The pieces of each run. Reading them drives the generation. */
  runs: AsyncIterable<readonly Piece[]>;
  signal: AbortSignal | undefined;
}

/**
 * Starts a request. Long prompts are tokenized off-thread first.
 * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export function callOf(
  model: LanguageModel,
  prompts: readonly Prompt[],
  { options, spare }: { options: ResolvedOptions; spare: SpareStore },
): Call | Promise<Call> {
  const { tokenizer, contextLength, config } = model;
  const { addSpecialTokens, contextOverflow, signal } = options;
  const nameOf = (p: number) => promptName(p, prompts.length);
  const reading = { tokenizer, vocabSize: config.vocabSize, addSpecialTokens, goesOn: true };
  if (!areLong(prompts)) {
    const ids = prompts.map((prompt, p) => promptIds(prompt, { ...reading, name: nameOf(p) }));
    return newCall(model, ids, { options, spare });
  }
  const check = (tokens: number, p: number) => checkPromptFits(tokens, { contextLength, contextOverflow }, nameOf(p));
  // Hold the model's current state, which may change meanwhile.
  const held = model.model.hold();
  return promptIdsAhead(prompts, { ...reading, nameOf, check, signal })
    .then((ids) => newCall(model, ids, { options, spare, held }))
    .catch((error) => {
      held.release();
      throw error;
    });
}

/** @param prompts their ids, arrays that become the call's own @param given.held the model as the call found it, which its runs release */
function newCall(
  model: LanguageModel,
  prompts: readonly number[][],
  { options, spare, held }: { options: ResolvedOptions; spare: SpareStore; held?: HeldModel },
): Call {
  const { contextLength, tokenizer } = model;
  const sequences = prompts.flatMap((ids, p) => {
    const scores = promptScores(ids, options, tokenizer);
    const name = promptName(p, prompts.length);
    return Array.from({ length: options.n }, (_, sample) => {
      const index = p * options.n + sample;
      // The last of a prompt's samples goes on in its array, when the others have their copies.
      const takesPrompt = sample === options.n - 1 && scores === undefined;
      return new Sequence(ids, options, { index, sample, contextLength, tokenizer, scores, name, takesPrompt });
    });
  });
  const answers = new Answers(sequences);
  return { answers, runs: run(model, sequences, answers.progress, { options, spare, held }), signal: options.signal };
}

async function* run(
  { model, contextLength, cacheDtype: dtype, cachePageSize }: LanguageModel,
  sequences: readonly Sequence[],
  progress: Progress,
  { options, spare: store, held }: { options: ResolvedOptions; spare: SpareStore; held: HeldModel | undefined },
): AsyncGenerator<readonly Piece[], void, undefined> {
  if (sequences.length === 0) return;
  const { signal, speculation, adapters, beams, n } = options;
  const wanted = beams ? (sequences.length / n) * beams.numBeams : sequences.length;
  const together = beams ? Math.max(1, Math.floor(MOST_SLOTS / beams.numBeams)) * beams.numBeams : MOST_SLOTS;
  const slots = Math.min(wanted, together);
  const pageSize = cachePageSize ?? (beams && BEAM_PAGE_SIZE);
  // Other devices split attention by the cache's capacity. Reusing memory would make bits depend on earlier calls.
  const spare = model.device.kind === "cpu" ? store : undefined;
  let cache: KvCache;
  try {
    cache = new KvCache(held ?? model, { slots, contextLength, dtype, adapters, pageSize, spare });
  } finally {
    held?.release(); // the cache holds it itself
  }
  let whole = false;
  try {
    if (beams) yield* runBeams(cache, sequences, { signal, progress });
    else yield* runSequences(cache, sequences, { signal, progress, speculation });
    whole = true;
  } finally {
    cache.dispose(whole);
  }
}
