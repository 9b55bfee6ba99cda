// Decoding queues the next step before this one's token is known. A penalty turns that off: one too small to change a logit
// gives the same completions step by step, for comparison.
import { afterAll, describe, expect, test, vi } from "vitest";
import type { GenerateOptions } from "../../lib/generate/index.ts";
import { Executable } from "../../lib/graph/compile.ts";
import { tinyModel } from "./helpers.ts";

const model = tinyModel();
afterAll(() => model.dispose());
const prompts = [[5, 250, 99], [17, 3], [8, 8, 8, 41], [200]];
const stepwise = { presencePenalty: 1e-30 };

/** Completions and how many runs took ids that were not known when they were started. */
async function complete(options: GenerateOptions) {
  const starts = vi.spyOn(Executable.prototype, "start");
  try {
    const all = await model.completeAll(prompts, options);
    const late = starts.mock.calls.filter(([, { late = [] } = {}]) => late.length > 0).length;
    return { late, of: all.map(({ tokens, logprobs, finishReason }) => ({ tokens, logprobs, finishReason })) };
  } finally {
    starts.mockRestore();
  }
}

describe("decoding ahead", () => {
  const greedy = { maxTokens: 30, temperature: 0, ignoreEos: true };
  for (const [name, options] of Object.entries({
    greedy,
    drawn: { maxTokens: 30, temperature: 1, topP: 0.9, seed: 11, ignoreEos: true },
    "with the likeliest tokens": { ...greedy, topLogprobs: 3 },
    "the same bits alone and together": { ...greedy, deterministic: true },
  }))
    test(`${name}: what single steps give`, async () => {
      const ahead = await complete(options);
      const plain = await complete({ ...options, ...stepwise });
      // A row's last bits may depend on its company in the run, unless they must not.
      const digits = (c: typeof plain) =>
        "deterministic" in options
          ? c.of
          : c.of.map((one) => ({ ...one, logprobs: one.logprobs.map((l) => l.toFixed(4)) }));
      expect(digits(ahead)).toEqual(digits(plain));
      expect(ahead.late).toBeGreaterThan(20);
      expect(plain.late).toBe(0);
    });

  test("a sequence that ends drops what was drawn after it; the others go on", async () => {
    const { of } = await complete(greedy);
    // Tokens that come late in one sequence and not in another end them at different steps.
    const stop = [of[0]!.tokens[9]!, of[2]!.tokens[15]!];
    const stopping = { ...greedy, stop };
    const ahead = await complete(stopping);
    const plain = await complete({ ...stopping, ...stepwise });
    expect(ahead.of.map((c) => c.tokens)).toEqual(plain.of.map((c) => c.tokens));
    expect(ahead.of.map((c) => c.finishReason)).toEqual(plain.of.map((c) => c.finishReason));
    expect(ahead.of.some((c) => c.finishReason === "stop")).toBe(true);
    expect(new Set(ahead.of.map((c) => c.tokens.length)).size).toBeGreaterThan(1);
  });

  test("no run follows the last token", async () => {
    const starts = vi.spyOn(Executable.prototype, "start");
    await model.complete([5, 250, 99], { ...greedy, maxTokens: 12 });
    expect(starts).toHaveBeenCalledTimes(12);
    starts.mockRestore();
  });

  test("a session that was left in the middle goes on as one that was not", async () => {
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

  test("an abort between two tokens ends both runs", async () => {
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
    expect((await model.complete([5, 250], { ...greedy, maxTokens: 5 })).tokens).toEqual(pieces);
  });
});
