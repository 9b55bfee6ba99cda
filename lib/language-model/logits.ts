import { HeddleError } from "../core/errors.ts";
import { checkFlag, checkWhole } from "../core/option-values.ts";
import { prefill } from "../inference/async-prefill.ts";
import { KvCache, PREFILL_ROWS } from "../inference/cache/kv-cache.ts";
import { prefillRuns } from "../inference/prefill-runs.ts";
import { logitsProgram } from "../inference/programs.ts";
import { scoredRows } from "../inference/prompt-scores.ts";
import { scoreRuns } from "../inference/score-runs.ts";
import { holding, type ModelView } from "../models/model-view.ts";
import type { LanguageModel } from "./language-model.ts";
import { needOffThread, type Prompt, promptIds, promptIdsAsync } from "./prompt.ts";

/** Options of a call that reads a prompt. */
interface ReadingOptions {
  /** Names of the adapters that apply. Default: the active ones. */
  adapters?: readonly string[] | undefined;
  /** Stops the call, which then throws ABORTED. */
  signal?: AbortSignal | undefined;
}

/** Options of `logits`. */
export interface LogitsOptions extends ReadingOptions {
  /** Whether to compute the logits of the last position only. */
  last?: boolean | undefined;
}

/** Options of `score`. */
export interface ScoreOptions extends ReadingOptions {
  /** Index of the first token to score. Default 1, because the first token has no score. */
  from?: number | undefined;
}

interface Options extends ReadingOptions {
  contextLength: number;
}

/** Checks that a prompt fits the context. @throws HeddleError CONTEXT_OVERFLOW */
function checkFits(tokens: number, contextLength: number): void {
  if (tokens > contextLength)
    throw new HeddleError("CONTEXT_OVERFLOW", `prompt: expected at most ${contextLength} tokens, got ${tokens}`);
}

/**
 * Runs `work` on a prompt's ids with the current state of the model.
 * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED, DISPOSED
 */
export async function reading<T>(
  { model, tokenizer, contextLength }: LanguageModel,
  prompt: unknown,
  { signal }: { signal?: AbortSignal | undefined },
  work: (model: ModelView, ids: readonly number[]) => Promise<T>,
): Promise<T> {
  model.assertLive();
  const how = { tokenizer, vocabSize: model.config.vocabSize };
  if (!needOffThread([prompt])) return work(model, promptIds(prompt, how));
  return holding(model, async (held) => {
    const check = (tokens: number) => checkFits(tokens, contextLength);
    const ids = await promptIdsAsync([prompt as Prompt], { ...how, nameOf: () => "prompt", check, signal });
    return work(held, ids[0]!);
  });
}

function open(model: ModelView, ids: readonly number[], { contextLength, adapters }: Options): KvCache {
  checkFits(ids.length, contextLength);
  return new KvCache(model, { slots: 1, contextLength, capacity: ids.length, adapters });
}

/** Computes logits of each position, or of the last, as one Float32Array (vocabulary) per position. */
export async function logitsOf(
  model: ModelView,
  ids: readonly number[],
  options: Options & { last?: boolean | undefined },
): Promise<Float32Array[]> {
  const { signal } = options;
  const last = options.last ?? false;
  checkFlag("last", last);
  const { vocabSize } = model.config;
  const cache = open(model, ids, options);
  try {
    const start = last ? ids.length - 1 : 0;
    const { length } = ids;
    await prefill(cache, 0, ids.slice(0, start), { signal, length });
    const logitRows = scoredRows(vocabSize);
    const out: Float32Array[] = [];
    for (const run of prefillRuns([{ slot: 0, ids: ids.slice(start), length }], { rows: logitRows })) {
      const [{ ids: part, from }] = run as [(typeof run)[0]];
      const inputs = { logitRows: Int32Array.from(part, (_, row) => row) };
      const shape = { rows: PREFILL_ROWS, logitRows, top: 0 };
      const results = await cache.run(logitsProgram, run, { shape, inputs, signal });
      const logits = results.logits as Float32Array;
      for (let row = 0; row < part.length; row++)
        out.push(checked(logits.subarray(row * vocabSize, (row + 1) * vocabSize), start + from + row));
    }
    return out;
  } finally {
    cache.dispose();
  }
}

function checked(logits: Float32Array, position: number): Float32Array {
  if (logits.every(Number.isFinite)) return logits;
  const got = logits.find((v) => !Number.isFinite(v));
  throw new HeddleError("NUMERICAL", `logits of position ${position}: expected finite numbers, got ${got}`);
}

/**
 * Returns log p(ids[i] | ids before it) for i ≥ `from`, and 0 for earlier positions. `from` is at least 1. The result is (ids) f32.
 * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, NUMERICAL, ABORTED
 */
export async function scoreOf(
  model: ModelView,
  ids: readonly number[],
  options: Options & { from?: number | undefined },
): Promise<Float32Array> {
  const { signal, from = 1 } = options;
  checkWhole("from", from, 1);
  const cache = open(model, ids, options);
  try {
    const out = new Float32Array(ids.length);
    const { length } = ids;
    const held = Math.min(from, length) - 1;
    await prefill(cache, 0, ids.slice(0, held), { signal, length });
    const item = { slot: 0, sequence: ids, held, rows: length - held, first: from };
    for await (const { index, logprobs } of scoreRuns(cache, [item], signal)) {
      // −∞ is valid (the model rules the token out). NaN is not.
      const broken = logprobs.findIndex(Number.isNaN);
      if (broken >= 0)
        throw new HeddleError("NUMERICAL", `score of position ${index + broken}: expected a number, got NaN`);
      out.set(logprobs, index);
    }
    return out;
  } finally {
    cache.dispose();
  }
}
