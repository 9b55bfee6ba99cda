// A reference beam search over logits that are computed anew for every prefix.
import { afterAll, expect } from "vitest";
import type { Completion, GenerateOptions, LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel } from "../helpers.ts";

const owned: LanguageModel[] = [];
afterAll(async () => {
  for (const model of owned) await model.dispose();
});
/** Creates a tiny model that is disposed of after the file's tests. */
export function own(...args: Parameters<typeof tinyModel>): LanguageModel {
  const model = tinyModel(...args);
  owned.push(model);
  return model;
}

export interface Found {
  tokens: number[];
  score: number;
}

/** Applies penalties and biases to log-probabilities, in the sampler's order. */
function changed(logprobs: number[], ids: readonly number[], prompt: number, options: GenerateOptions): number[] {
  const out = [...logprobs];
  for (const [id, value] of Object.entries(options.logitBias ?? {})) out[Number(id)]! += value as number;
  const { repetitionPenalty: r = 1, presencePenalty = 0, frequencyPenalty = 0 } = options;
  for (const id of new Set(ids)) out[id]! = out[id]! > 0 ? out[id]! / r : out[id]! * r;
  for (const id of new Set(ids.slice(prompt))) out[id]! -= presencePenalty;
  for (const id of ids.slice(prompt)) out[id]! -= frequencyPenalty;
  return out;
}

export const NEVER = -1e9;

/** Reference beam search. The numbers of beams and hypotheses are fixed. Unused entries have a score of −1e9. */
export async function reference(
  { logits: logitsOf }: Pick<LanguageModel, "logits">,
  prompt: readonly number[],
  options: GenerateOptions & {
    numBeams: number;
    maxTokens: number;
    ends: readonly number[];
    /** Whether the last of these tokens ends the text. */
    stops?: (tokens: readonly number[]) => boolean;
    /** The required form: which token may follow, and whether the text is finished. */
    form?: {
      allows(tokens: readonly number[], id: number): boolean;
      finished(tokens: readonly number[]): boolean;
    };
  },
): Promise<Found[]> {
  const { numBeams: K, maxTokens, ends, stops, form, lengthPenalty = 1, earlyStopping = false } = options;
  let running = Array.from({ length: K }, (_, i) => ({ tokens: [] as number[], sum: i === 0 ? 0 : NEVER }));
  let finished = Array.from({ length: K }, () => ({ tokens: [] as number[], score: NEVER, real: false }));
  for (let length = 1; ; length++) {
    const all: { tokens: number[]; sum: number }[] = [];
    for (const beam of running) {
      const ids = [...prompt, ...beam.tokens];
      const [logits] = await logitsOf(ids, { last: true });
      const most = Math.max(...logits!);
      const logSum = most + Math.log([...logits!].reduce((n, v) => n + Math.exp(v - most), 0));
      const logprobs = changed(
        [...logits!].map((v) => v - logSum),
        ids,
        prompt.length,
        options,
      );
      for (const [id, v] of logprobs.entries())
        if (form?.allows(beam.tokens, id) ?? true) all.push({ tokens: [...beam.tokens, id], sum: beam.sum + v });
    }
    all.sort((a, b) => b.sum - a.sum);
    const best = all.slice(0, Math.max(2, 1 + ends.length) * K);
    const over = best.map(
      ({ tokens }) =>
        length === maxTokens ||
        ends.includes(tokens.at(-1)!) ||
        form?.finished(tokens) === true ||
        stops?.(tokens) === true,
    );
    running = best.filter((_, i) => !over[i]).slice(0, K);
    const ended = best
      .filter((_, i) => i < K && over[i])
      .map(({ tokens, sum }) => ({ tokens, score: sum / length ** lengthPenalty, real: true }));
    finished = [...finished, ...ended].sort((a, b) => b.score - a.score).slice(0, K);
    const reach = earlyStopping === "never" && lengthPenalty > 0 ? maxTokens : length;
    const hopeful =
      running.length > 0 &&
      finished.some(({ score, real }) => running[0]!.sum / reach ** lengthPenalty > (real ? score : NEVER));
    if (!hopeful || (earlyStopping === true && finished.every(({ real }) => real))) break;
  }
  return finished.map(({ tokens, score }) => ({ tokens, score }));
}

/** Computes logits without a cache. */
export const anew = (model: LanguageModel) => ({ logits: model.logits.bind(model) });

export function expectSame(got: readonly Completion[], want: readonly Found[]): void {
  expect(got.map(({ tokens }) => tokens)).toEqual(want.map(({ tokens }) => tokens));
  for (const [i, { score }] of want.entries())
    expect(Math.abs(got[i]!.score! - score)).toBeLessThan(2e-4 * (1 + Math.abs(score)));
}
