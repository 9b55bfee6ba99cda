// Pooling of hidden states in the graph, and the rows that each mode needs.
import { describe, expect, test } from "vitest";
import type { PoolingMode } from "../../lib/formats/config/config.ts";
import { placeInto, pooledRows, poolingMatrix } from "../../lib/inference/pooling.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { createModel } from "../../lib/language-model/index.ts";
import { close, MODES, pooledBy, WIDTH } from "../formats/sentence-transformers/embedding-folders.ts";

test("only max pooling needs every row, and pooling a single row needs no matrix product", () => {
  const kinds = MODES.map((mode) => [mode, pooledRows(mode)]);
  expect(Object.fromEntries(kinds)).toEqual({
    ...{ first: "first", last: "last", max: "all" },
    ...{ mean: "sums", mean_sqrt_len: "sums", weighted_mean: "sums" },
  });
  expect(pooledRows(["last"])).toBe("last");
  expect(pooledRows(["first", "last"])).toBe("sums");
  expect(pooledRows(["mean", "max"])).toBe("all");
  expect(pooledRows("all")).toBe("all");
});

test("the pooling matrix lists a text's modes in order and covers only the text's rows, without the prompt", () => {
  const texts = [
    { tokens: 2, begin: 0, count: 2, from: 0 },
    { tokens: 4, begin: 1, count: 3, from: 2 },
  ];
  const matrix = poolingMatrix(texts, ["mean", "weighted_mean", "first", "last"]);
  const rows = Array.from({ length: 8 }, (_, r) => [...matrix.subarray(r * 5, (r + 1) * 5)]);
  const f32 = (values: number[]) => values.map(Math.fround);
  expect(rows).toEqual([
    [0.5, 0.5, 0, 0, 0],
    f32([1 / 3, 2 / 3, 0, 0, 0]),
    [1, 0, 0, 0, 0],
    [0, 1, 0, 0, 0],
    // The second text's first token was in the previous forward pass, so three of its four tokens remain.
    [0, 0, 0, 0.5, 0.5],
    f32([0, 0, 0, 3 / 7, 4 / 7]),
    [0, 0, 0, 0, 0],
    [0, 0, 0, 0, 1],
  ]);
});

test.each([
  [1, Number.NaN, 3],
  [Number.NaN, 1, 3],
  [1, 3, Number.NaN],
])("max pooling keeps a NaN in any row: %d, %d, %d", async (...values) => {
  const out: Float32Array[] = [];
  await placeInto(out, [0], [Float32Array.from(values)], { pooling: "max", width: 1 });
  expect(out[0]).toEqual(Float32Array.of(Number.NaN));
});

const ways: (PoolingMode | PoolingMode[])[] = [...MODES, ["last", "mean", "first"], ["max", "weighted_mean"]];
// For 600 tokens, a causal model needs several forward passes and an encoder a single one.
describe.each(["bert", "llama"] as const)("%s", (modelType) => {
  test.each(ways.map((pooling) => [String(pooling), pooling] as const))(
    "%s pooling equals the reference for long and short texts in one batch",
    async (_, pooling) => {
      await using model = createModel(
        {
          ...{ modelType, hiddenSize: WIDTH, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 24 },
          ...{ maxPositionEmbeddings: 1200, vocabSize: 90, initializerRange: 0.3 },
        },
        { seed: 1 },
      );
      const sequences = [600, 3, 1100, 70].map((length, s) => Array.from({ length }, (_, i) => (i * 7 + s) % 90));
      const read = { contextLength: 1200 };
      const all = await pooledOutputs(model.model, sequences, { ...read, pooling: "all" });
      const promptLengths = [300, 0, 2, 1];
      for (const lengths of [undefined, promptLengths]) {
        const pooled = await pooledOutputs(model.model, sequences, { ...read, pooling, promptLengths: lengths });
        for (const [s, { length }] of sequences.entries()) {
          const states = Array.from({ length }, (_, t) => [...all[s]!.subarray(t * WIDTH, (t + 1) * WIDTH)]);
          close(
            pooled[s]!,
            [pooling].flat().flatMap((mode) => pooledBy(mode, states, lengths?.[s])),
            // Sums in f32 of up to 1,100 rows.
            2e-5,
          );
        }
      }
    },
  );
});
