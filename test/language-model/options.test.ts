import { describe, expect, test } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import { DEFAULT_TEMPERATURE, type GenerateOptions, resolveOptions } from "../../lib/inference/generation-options.ts";

const context = { vocabSize: 100, generation: {}, eosTokenIds: [2] };
const failure = (options: object, of = context): HeddleError => {
  try {
    resolveOptions(options as GenerateOptions, of);
  } catch (error) {
    if (error instanceof HeddleError) return error;
    throw error;
  }
  throw new Error("expected a failure");
};

describe("resolveOptions", () => {
  test.each([
    [{ maxTokens: -1 }, "maxTokens: expected a whole number from 0 to 2147483647, got -1"],
    [{ maxTokens: 1.5 }, "maxTokens"],
    [{ temperature: -0.1 }, "temperature: expected a number of at least 0, got -0.1"],
    [{ temperature: Number.NaN }, "temperature"],
    [{ temperature: "0" }, 'temperature: expected a number of at least 0, got "0"'],
    [{ topK: -1 }, "topK"],
    [{ topP: 0 }, "topP: expected a number above 0 and at most 1, got 0"],
    [{ topP: 1.01 }, "topP"],
    [{ topP: 1e-300 }, "topP: expected a number above 0 and at most 1, got 1e-300"],
    [{ temperature: 1e39 }, "temperature: expected a number of at least 0, got 1e+39"],
    [{ repetitionPenalty: 1e-300 }, "repetitionPenalty: expected a number above 0, got 1e-300"],
    [{ presencePenalty: -1e39 }, "presencePenalty: expected a finite number, got -1e+39"],
    [{ minP: 2 }, "minP"],
    [{ repetitionPenalty: 0 }, "repetitionPenalty"],
    [{ presencePenalty: Number.POSITIVE_INFINITY }, "presencePenalty"],
    [{ frequencyPenalty: "x" }, "frequencyPenalty"],
    [{ logitBias: { 100: 1 } }, 'logitBias: expected token ids below 100, got "100"'],
    [{ logitBias: { 1: Number.NaN } }, "logitBias of 1"],
    [{ logitBias: { 1: 1e39 } }, "logitBias of 1: expected a number, got 1e+39"],
    [{ logitBias: { "": 1 } }, 'logitBias: expected token ids below 100, got ""'],
    [{ logitBias: { " 5": 1 } }, 'logitBias: expected token ids below 100, got " 5"'],
    [{ logitBias: [1] }, "logitBias"],
    [{ logitProcessors: [1] }, "logitProcessors"],
    [{ seed: 0.5 }, "seed: expected a whole number from 0 to 2^53 - 1, got 0.5"],
    [{ stop: "" }, "stop"],
    [{ stop: [100] }, "stop: expected non-empty strings, token ids below 100 and functions, got 100"],
    [{ ignoreEos: 1 }, "ignoreEos: expected true or false, got 1"],
    [{ topLogprobs: 101 }, "topLogprobs: expected a whole number from 0 to 100, got 101"],
    [{ n: 0 }, "n: expected"],
    [{ contextOverflow: "wrap" }, 'contextOverflow: expected error, stop or truncateLeft, got "wrap"'],
    [{ signal: {} }, "signal: expected an AbortSignal"],
    [{ temprature: 1 }, "temprature: expected a known option (nearest: temperature), got an unknown one"],
    [{ max_tokens: 1 }, "max_tokens: expected a known option (nearest: maxTokens)"],
    [{ max_new_tokens: 1 }, "max_new_tokens: expected a known option (nearest: maxTokens)"],
    [{ stoppingCriteria: [] }, "stoppingCriteria: expected a known option (nearest: stop)"],
    [{ top_k: 1 }, "top_k: expected a known option (nearest: topK)"],
  ])("rejects %o", (options, message) => {
    const error = failure(options);
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain(message);
  });

  test("prefers the caller's options, then the model's, then heddle's defaults", () => {
    const generation = {
      doSample: true,
      temperature: 0.6,
      topP: 0.9,
      topK: 7,
      repetitionPenalty: 1.1,
      maxNewTokens: 33,
    };
    const own = resolveOptions({}, { ...context, generation });
    expect(own).toMatchObject({ temperature: 0.6, topP: 0.9, topK: 7, repetitionPenalty: 1.1, defaultMaxTokens: 33 });
    expect(resolveOptions({ temperature: 0, topP: 1 }, { ...context, generation })).toMatchObject({
      temperature: 0,
      topP: 1,
    });
    expect(resolveOptions({}, { ...context, generation: { doSample: false, temperature: 0.6 } }).temperature).toBe(0);
    expect(resolveOptions({}, context)).toMatchObject({ temperature: DEFAULT_TEMPERATURE, topP: 1, topK: 0, minP: 0 });
  });

  test("adds the model's end tokens to the stop tokens unless ignoreEos is set", () => {
    expect([...resolveOptions({ stop: ["x", 9] }, context).stopTokens].sort()).toEqual([2, 9]);
    expect([...resolveOptions({ ignoreEos: true }, context).stopTokens]).toEqual([]);
  });

  test("leaves a missing seed undefined, to be drawn per sequence", () => {
    expect(resolveOptions({}, context).seed).toBeUndefined();
    expect(resolveOptions({ seed: 7 }, context).seed).toBe(7);
  });

  test("replaces a topP of 0 in the model's generation config by a tiny positive one", () => {
    const { topP } = resolveOptions({}, { ...context, generation: { topP: 0 } });
    expect(topP).toBeLessThan(1e-30);
    expect(Math.fround(topP)).toBeGreaterThan(0);
    expect(resolveOptions({ topP: 0.9 }, { ...context, generation: { topP: 0 } }).topP).toBe(0.9);
  });

  test("rejects an invalid value in the model's generation config, and names it", () => {
    expect(failure({}, { ...context, generation: { topP: 7 } as never }).message).toContain("topP");
  });
});
