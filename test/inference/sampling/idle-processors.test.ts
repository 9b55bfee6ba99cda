// With idleSteps, a logit processor states for how many steps it changes nothing. In these steps logits stay in native code, and steps are
// queued ahead.
import { afterAll, describe, expect, test, vi } from "vitest";
import { Executable } from "../../../lib/graph/compile.ts";
import { KvCache } from "../../../lib/inference/cache/kv-cache.ts";
import { choiceProgram, sampleAndLogitsProgram } from "../../../lib/inference/programs.ts";
import { SharedScheduler } from "../../../lib/inference/shared-scheduler.ts";
import { reasoningLimit } from "../../../lib/language-model/chat/reasoning-limit.ts";
import type { GenerateOptions, LogitContext, LogitProcessor } from "../../../lib/language-model/index.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../helpers.ts";

const tokenizer = await tinyTokenizer();
const model = tinyModel({ tokenizer }, { maxPositionEmbeddings: 512 });
afterAll(() => model.dispose());

const prompts = [[5, 250, 99], [17, 3], [8, 8, 8, 41], [200]];
const FROM = 30;
const FORCED = [7, 8, 9];

/** Returns a processor that forces the 31st to the 33rd token. */
function forcing(withWindow: boolean): LogitProcessor & { calls: number[] } {
  const calls: number[] = [];
  const processor: LogitProcessor = (logits, { ids, promptLength }) => {
    const generated = ids.length - promptLength;
    calls.push(generated);
    const token = FORCED[generated - FROM];
    if (token === undefined) return;
    logits.fill(Number.NEGATIVE_INFINITY);
    logits[token] = 0;
  };
  const idleSteps = ({ ids, promptLength }: LogitContext) => {
    const generated = ids.length - promptLength;
    if (generated < FROM) return FROM - generated;
    return generated < FROM + FORCED.length ? 0 : Number.POSITIVE_INFINITY;
  };
  return Object.assign(processor, { calls }, withWindow && { idleSteps });
}

/** Counts the steps whose logits were copied to JavaScript, the rows of each repeated sampling, and the steps queued ahead. */
async function counted<T>(work: () => Promise<T>) {
  const runs = vi.spyOn(KvCache.prototype, "run");
  const choices = vi.spyOn(KvCache.prototype, "runChoice");
  const starts = vi.spyOn(Executable.prototype, "start");
  try {
    const result = await work();
    const rows = choices.mock.calls.map(([program, { params, logits }]) => {
      expect(program).toBe(choiceProgram);
      expect(params!.length).toBeGreaterThan(0);
      return logits!.length / tokenizer.vocabSize;
    });
    const ahead = starts.mock.calls.filter(([, { late = [] } = {}]) => late.length > 0);
    return {
      result,
      fetched: runs.mock.calls.filter(([program]) => program === sampleAndLogitsProgram).length,
      rows,
      ahead: ahead.reduce((n, [, options]) => n + (options?.series?.count ?? 1), 0),
    };
  } finally {
    for (const spy of [runs, choices, starts]) spy.mockRestore();
  }
}

/** Answers all prompts together, the third of them with a processor. */
function batch(processor: LogitProcessor | undefined, options: GenerateOptions = {}) {
  return counted(async () => {
    const scheduler = new SharedScheduler(model, { slots: 4, deterministic: true });
    try {
      const all = prompts.map((ids, i) => {
        const own = i === 2 && processor ? { logitProcessors: [processor] } : {};
        const base = { maxTokens: 80, temperature: 0, ignoreEos: true };
        return scheduler.submit([ids], { ...base, ...options, ...own })[0]!;
      });
      return await Promise.all(
        all.map(async ({ stream }) => {
          const tokens: [number, number][] = [];
          for await (const pieces of stream) tokens.push(...pieces.map((p): [number, number] => [p.token, p.logprob]));
          return tokens;
        }),
      );
    } finally {
      await scheduler.close();
    }
  });
}

describe.each<[string, GenerateOptions]>([
  ["greedy", {}],
  ["sampled", { temperature: 1, topP: 0.9, seed: 5 }],
  ["with likeliest tokens", { topLogprobs: 3 }],
])("a processor that acts in three steps of a batch: %s", (_, options) => {
  test("fetches logits only in these steps, with the same answers as a processor without idleSteps", async () => {
    const always = forcing(false);
    const windowed = forcing(true);
    const before = await batch(always, options);
    const after = await batch(windowed, options);
    expect(after.result).toEqual(before.result);
    expect(after.result[2]!.slice(FROM, FROM + 3).map(([token]) => token)).toEqual(FORCED);
    expect(before.fetched).toBeGreaterThanOrEqual(80);
    expect(after.fetched).toBe(FORCED.length);
    expect(windowed.calls).toEqual([FROM, FROM + 1, FROM + 2]);
    // With idleSteps, the steps before and after the three are queued ahead.
    expect(before.ahead).toBe(0);
    expect(after.ahead).toBeGreaterThan(50);
  });

  test("repeats sampling only for the sequence whose logits it changes", async () => {
    const { rows } = await batch(forcing(true), options);
    expect(rows).toEqual([1, 1, 1]);
  });
});

test("a batch whose processor never acts fetches no logits", async () => {
  const never: LogitProcessor = Object.assign(() => {}, { idleSteps: () => Number.POSITIVE_INFINITY });
  const [plain, after] = [await batch(undefined), await batch(never)];
  expect(after.result).toEqual(plain.result);
  expect(after.fetched).toBe(0);
});

test("drafts that extend into a processor's active steps are checked with the processed logits", async () => {
  const options = { temperature: 0, maxTokens: 80, ignoreEos: true };
  const plain = await model.complete(prompts[2]!, { ...options, logitProcessors: [forcing(false)] });
  const drafting = { ...options, promptLookupNumTokens: 6, logitProcessors: [forcing(true)] };
  const { result, fetched } = await counted(() => model.complete(prompts[2]!, drafting));
  expect(result.tokens).toEqual(plain.tokens);
  expect(fetched).toBeGreaterThan(0);
  expect(fetched).toBeLessThanOrEqual(FORCED.length + 1);
});

test("a reasoning budget fetches logits only in the steps that force the closing mark", async () => {
  const marks = { open: "<think>", close: "</think>", closing: "\n</think>\n\n" };
  const limit = reasoningLimit(tokenizer, marks, { promptEnd: "within", maxTokens: 40 })!;
  const closing = tokenizer.encode(marks.closing, { addSpecialTokens: false, addPrefixSpace: false });
  const always: LogitProcessor = (logits, context) => limit(logits, context);
  const [before, after] = [await batch(always), await batch(limit)];
  expect(after.result).toEqual(before.result);
  const text = tokenizer.decode(after.result[2]!.map(([token]) => token));
  expect(text).toContain(marks.closing);
  expect(after.fetched).toBeGreaterThanOrEqual(closing.length);
  expect(after.fetched).toBeLessThanOrEqual(closing.length + 3);
});

test.each<[string, () => unknown]>([
  ["NaN", () => Number.NaN],
  ["-1", () => -1],
  ["a Promise", async () => 1],
])("rejects idleSteps that return %s", async (got, idleSteps) => {
  const processor = Object.assign(() => {}, { idleSteps }) as unknown as LogitProcessor;
  const failure = await failureOf(() => model.complete([5], { maxTokens: 3, logitProcessors: [processor] }));
  expect(failure.code).toBe("INVALID_ARGUMENT");
  expect(failure.message).toContain(`a number of at least 0, got ${got}`);
});

test("rejects idleSteps that are not a function", async () => {
  const processor = Object.assign(() => {}, { idleSteps: 3 }) as unknown as LogitProcessor;
  const failure = await failureOf(() => model.complete([5], { maxTokens: 3, logitProcessors: [processor] }));
  expect(failure).toEqual({
    code: "INVALID_ARGUMENT",
    message: "logitProcessors.idleSteps: expected a function, got 3",
  });
});
