// Whole models against the independent float64 references of ../shared/fixtures, in each of their formats.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { maxRowDifference } from "../../helpers/max-difference.ts";

interface Reference {
  sequences: { ids: number[]; top: [number, number][][]; logsumexp: number[]; nll: number[] }[];
  greedy?: { prompt_ids: number[]; new_ids: number[]; text?: string }[];
  full?: { ids: number[]; logits: number[][] };
}

const models = [
  ["stories260K", "stories260K"],
  ["stories260K", "stories260K/stories260K.F32.gguf"],
  ["stories260K", "stories260K/stories260K.F16.gguf"],
  ["synth-llama3-rope", "synth-llama3-rope"],
  ["synth-mistral", "synth-mistral"],
  ["synth-qwen2", "synth-qwen2"],
  ["synth-qwen3", "synth-qwen3"],
  ["synth-gemma", "synth-gemma"],
  ["tiny-random-gpt2", "tiny-random-gpt2"],
  ["gpt-nano-sort", "gpt-nano-sort"],
  ["llama2-tiny-random-gguf", "llama2-tiny-random-gguf/llama-2-tiny-random.gguf"],
] as const;

function referenceOf(folder: string): Reference {
  return JSON.parse(readFileSync(join(fixtures!, folder, "reference_logits.json"), "utf8"));
}

/**
 * Expected values for half-precision weights. The fixture's values are for f32 weights. scripts/golden/stories_f16.py
 * computed these values for the same ids.
 */
const halved: { full: Required<Reference>["full"]; nll: number[][] } = JSON.parse(
  readFileSync(new URL("../../golden/stories260k-f16.json", import.meta.url), "utf8"),
);

function referenceFor(folder: string, path: string): Reference {
  const reference = referenceOf(folder);
  if (!path.includes("F16")) return reference;
  const sequences = reference.sequences.map((s, i) => ({ ...s, top: [], logsumexp: [], nll: halved.nll[i]! }));
  return { ...reference, full: halved.full, sequences };
}

describe.skipIf(!fixtures)("reference models", () => {
  describe.each(models)("%s (%s)", (folder, path) => {
    let model: LanguageModel;
    let reference: Reference;
    let range: number;

    beforeAll(async () => {
      reference = referenceFor(folder, path);
      // Load in f32: activations for bf16 weights would be rounded to bf16 (tested below).
      model = await LanguageModel.load(join(fixtures!, path), { dtype: "f32" });
      const top = referenceOf(folder).sequences.flatMap((s) => s.top.flat().map(([, logit]) => logit));
      const all = reference.full ? reference.full.logits.flat() : top;
      range = Math.max(...all) - Math.min(...all);
    });
    afterAll(() => model?.dispose());

    test("full logits agree", async () => {
      if (!reference.full) return expect(folder).toBe("llama2-tiny-random-gguf"); // its README has the top 10 only
      const { ids, logits } = reference.full;
      const got = await model.logits(ids);
      const worst = maxRowDifference(logits, got);
      expect(worst).toBeLessThanOrEqual(1e-4 * range);
    });

    test("the likeliest logits and all log-probabilities agree at every position of every sequence", async () => {
      for (const { ids, top, nll } of reference.sequences) {
        const got = await model.logits(ids);
        const scores = await model.score(ids);
        for (const [p, row] of top.entries())
          for (const [id, logit] of row) expect(Math.abs(got[p]![id]! - logit)).toBeLessThanOrEqual(1e-4 * range);
        for (const [p, value] of nll.entries())
          expect(Math.abs(-scores[p + 1]! - value)).toBeLessThanOrEqual(2e-4 * Math.max(1, range));
      }
    });

    test("default loading is exact, except for bf16 weights, whose activations are rounded", async () => {
      await using stored = await LanguageModel.load(join(fixtures!, path));
      await using exact = await LanguageModel.load(join(fixtures!, path), { quantizedActivations: "f32" });
      const { ids } = reference.full ?? reference.sequences[0]!;
      const [a, b, c] = [await model.logits(ids), await stored.logits(ids), await exact.logits(ids)];
      const rounded = [...stored.model.tensors.values()].some((t) => t.dtype === "bf16");
      const distance = (x: Float32Array[], y: Float32Array[]) =>
        Math.max(...x.map((row, p) => row.reduce((most, v, i) => Math.max(most, Math.abs(v - y[p]![i]!)), 0)));
      expect(distance(a, c)).toBeLessThanOrEqual(1e-4 * range);
      // Rounding to bf16 changes a value by up to 2⁻⁸ of it. The logits change by a similar part of their range.
      if (rounded) expect(distance(a, b)).toBeGreaterThan(1e-4 * range);
      expect(distance(a, b)).toBeLessThanOrEqual((rounded ? 2 ** -8 : 1e-4) * range);
    });

    test("greedy continuations agree over their whole length", async () => {
      if (!reference.greedy) return expect(folder).toBe("llama2-tiny-random-gguf"); // its README has none
      expect(reference.greedy.length).toBeGreaterThan(0);
      for (const { prompt_ids, new_ids, text } of reference.greedy) {
        const { tokens, text: got } = await model.complete(prompt_ids, {
          maxTokens: new_ids.length,
          temperature: 0,
          ignoreEos: true,
        });
        expect(tokens).toEqual(new_ids);
        if (text !== undefined && prompt_ids.length === 1) expect(got).toBe(text);
      }
    });
  });
});

if (!fixtures) console.warn("../shared/fixtures is missing: reference models are not compared.");
