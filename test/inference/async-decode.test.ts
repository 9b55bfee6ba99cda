// Decoding queues the next step before the current token is known, unless there is a penalty. A penalty that is too small to change a logit
// therefore gives the same completions by step-by-step decoding, for comparison.
import { afterAll, describe, expect, test, vi } from "vitest";
import { Executable } from "../../lib/graph/compile.ts";
import { type GenerateOptions, LanguageModel } from "../../lib/language-model/index.ts";
import { tinyModel } from "./helpers.ts";

const model = tinyModel({}, { maxPositionEmbeddings: 512 });
const sliding = tinyModel(
  {},
  {
    modelType: "gemma3_text",
    maxPositionEmbeddings: 512,
    headDim: 8,
    slidingWindow: 16,
    layerTypes: ["sliding_attention", "full_attention"],
  },
);
const paged = new LanguageModel({ model: model.model, cachePageSize: 16 });
afterAll(() => Promise.all([model.dispose(), sliding.dispose()]));
const prompts = [[5, 250, 99], [17, 3], [8, 8, 8, 41], [200]];
const stepwise = { presencePenalty: 1e-30 };

/** Number of steps of a started run. */
const stepsOf = ([, options]: Parameters<Executable["start"]>) => options?.series?.count ?? 1;

/** Returns completions, the number of steps started before their ids were known, and the steps of the longest run. */
async function complete(options: GenerateOptions, of = model) {
  const starts = vi.spyOn(Executable.prototype, "start");
  try {
    const all = await of.completeAll(prompts, options);
    const ahead = starts.mock.calls.filter(([, { late = [] } = {}]) => late.length > 0).map(stepsOf);
    const [late, longest] = [ahead.reduce((n, steps) => n + steps, 0), Math.max(0, ...ahead)];
    return { late, longest, of: all.map(({ tokens, logprobs, finishReason }) => ({ tokens, logprobs, finishReason })) };
  } finally {
    starts.mockRestore();
  }
}

describe("decoding ahead", () => {
  const greedy = { maxTokens: 30, temperature: 0, ignoreEos: true };
  for (const [name, options] of Object.entries({
    greedy,
    sampled: { maxTokens: 30, temperature: 1, topP: 0.9, seed: 11, ignoreEos: true },
    "with topLogprobs": { ...greedy, topLogprobs: 3 },
    "with deterministic": { ...greedy, deterministic: true },
  }))
    test(`gives the completions of step-by-step decoding: ${name}`, async () => {
      const ahead = await complete(options);
      const plain = await complete({ ...options, ...stepwise });
      // The last bits of a row may depend on the batch, unless the run is deterministic.
      const digits = (c: typeof plain) =>
        "deterministic" in options
          ? c.of
          : c.of.map((one) => ({ ...one, logprobs: one.logprobs.map((l) => l.toFixed(4)) }));
      expect(digits(ahead)).toEqual(digits(plain));
      expect(ahead.late).toBeGreaterThan(20);
      expect(plain.late).toBe(0);
    });

  test("a sequence drops the tokens that are sampled after its end, and the others continue", async () => {
    const { of } = await complete(greedy);
    // These stop tokens end the sequences at different steps.
    const stop = [of[0]!.tokens[9]!, of[2]!.tokens[15]!];
    const stopping = { ...greedy, stop };
    const ahead = await complete(stopping);
    const plain = await complete({ ...stopping, ...stepwise });
    expect(ahead.of.map((c) => c.tokens)).toEqual(plain.of.map((c) => c.tokens));
    expect(ahead.of.map((c) => c.finishReason)).toEqual(plain.of.map((c) => c.finishReason));
    expect(ahead.of.some((c) => c.finishReason === "stop")).toBe(true);
    expect(new Set(ahead.of.map((c) => c.tokens.length)).size).toBeGreaterThan(1);
  });

  test("no step runs after the last token", async () => {
    const starts = vi.spyOn(Executable.prototype, "start");
    for (const maxTokens of [2, 12, 50]) {
      starts.mockClear();
      await model.complete([5, 250, 99], { ...greedy, maxTokens });
      expect(starts.mock.calls.map(stepsOf).reduce((a, b) => a + b)).toBe(maxTokens);
    }
    starts.mockRestore();
  });

  // Steps of such a small model take fractions of a millisecond and run in series without JavaScript.
  for (const [name, of] of Object.entries({ "a model": model, "a paged cache": paged, "a sliding window": sliding }))
    describe(`decoding several steps in one run with ${name}`, () => {
      const long = { temperature: 1, seed: 3, maxTokens: 150, ignoreEos: true };
      test("gives the tokens of step-by-step decoding, up to maxTokens and up to a stop token", async () => {
        const ahead = await complete(long, of);
        expect(ahead.longest).toBeGreaterThan(4);
        const plain = await complete({ ...long, ...stepwise }, of);
        expect(ahead.of.map((c) => c.tokens)).toEqual(plain.of.map((c) => c.tokens));
        const stopping = { ...long, stop: [plain.of[1]!.tokens[83]!, plain.of[3]!.tokens[120]!] };
        const [stopped, apart] = [await complete(stopping, of), await complete({ ...stopping, ...stepwise }, of)];
        expect(stopped.of.map((c) => c.tokens)).toEqual(apart.of.map((c) => c.tokens));
        expect(stopped.of.some((c) => c.finishReason === "stop")).toBe(true);
      });

      // Sessions are not paged.
      if (of === paged) return;
      test("a session keeps the cache of an answer that ended within a run, and continues it", async () => {
        const session = of.session();
        const { tokens } = await of.complete([5, 250], long);
        const last = tokens.findIndex((token, i) => i > 60 && tokens.indexOf(token) === i);
        const first = await session.complete([5, 250], { ...long, stop: [tokens[last]!] });
        expect(first.tokens).toEqual(tokens.slice(0, last + 1));
        const next = [5, 250, ...first.tokens, 7];
        const rest = await session.complete(next, { ...greedy, maxTokens: 40 });
        expect(rest.tokens).toEqual((await of.complete(next, { ...greedy, maxTokens: 40 })).tokens);
        expect(rest.usage.cachedTokens).toBe(last + 2);
        session.dispose();
      });
    });

  test("a session whose reader left early continues as one that was read to the end", async () => {
    const session = model.session();
    let taken = 0;
    const ids = [5, 250, 99];
    for await (const piece of session.generate(ids, greedy)) {
      ids.push(piece.token);
      if (++taken === 7) break;
    }
    const rest = await session.complete([...ids, 4], { ...greedy, maxTokens: 10 });
    expect(rest.tokens).toEqual((await model.complete([...ids, 4], { ...greedy, maxTokens: 10 })).tokens);
    session.dispose();
  });

  test("a session holds the returned tokens except the last, even if later steps have run", async () => {
    const long = { ...greedy, maxTokens: 120 };
    const { tokens } = await model.complete([5, 250, 99], long);
    const last = [40, 75, 110].find((i) => !tokens.slice(0, i).includes(tokens[i]!)) ?? 119;
    for (let round = 0; round < 10; round++) {
      const session = model.session();
      const { tokens: given } = await session.complete([5, 250, 99], { ...long, stop: [tokens[last]!] });
      expect(session.tokens).toEqual([5, 250, 99, ...given.slice(0, -1)]);
      session.truncate();
      let taken = 0;
      for await (const _ of session.generate([5, 250, 99], long)) if (++taken === 30 + round) break;
      expect(session.tokens).toEqual([5, 250, 99, ...tokens.slice(0, taken - 1)]);
      session.dispose();
    }
  });

  test("an error of a later step is reported when its token is due, and only if the caller waits for it", async () => {
    const broken = tinyModel({}, { maxPositionEmbeddings: 512 });
    const options = { temperature: 1, seed: 6, maxTokens: 150, ignoreEos: true };
    const { tokens } = await broken.complete([5, 250], options);
    // A token that first comes late, and then makes every number NaN.
    const at = tokens.findIndex((token, i) => i > 60 && tokens.indexOf(token) === i);
    const table = broken.model.weight("model.embed_tokens.weight");
    const numbers = (await table.read()) as Float32Array;
    const width = broken.config.hiddenSize;
    numbers.fill(Number.NaN, tokens[at]! * width, (tokens[at]! + 1) * width);
    await table.write(numbers);
    for (let round = 0; round < 5; round++) {
      const seen: number[] = [];
      const streaming = async () => {
        for await (const { token } of broken.generate([5, 250], options)) seen.push(token);
      };
      await expect(streaming()).rejects.toMatchObject({ code: "NUMERICAL" });
      expect(seen).toEqual(tokens.slice(0, at + 1));
      const stopped = await broken.complete([5, 250], { ...options, stop: [tokens[at]!] });
      expect(stopped.tokens).toEqual(tokens.slice(0, at + 1));
    }
    await broken.dispose();
  });

  test("an abort between two tokens ends the running and the queued step", async () => {
    const controller = new AbortController();
    const pieces: number[] = [];
    const work = (async () => {
      for await (const piece of model.generate([5, 250], { ...greedy, maxTokens: 100, signal: controller.signal })) {
        pieces.push(piece.token);
        if (pieces.length === 5) controller.abort();
      }
    })();
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    expect(pieces).toHaveLength(5);
    const many: number[] = [];
    const later = new AbortController();
    const long = (async () => {
      for await (const piece of model.generate([5, 250], { ...greedy, maxTokens: 400, signal: later.signal })) {
        many.push(piece.token);
        if (many.length === 200) later.abort();
      }
    })();
    await expect(long).rejects.toMatchObject({ code: "ABORTED" });
    expect(many).toHaveLength(200);
    expect((await model.complete([5, 250], { ...greedy, maxTokens: 5 })).tokens).toEqual(pieces);
  });
});
