// A packed batch has the log-probabilities and weight gradients that its documents have in separate runs.
import { describe, expect, test } from "vitest";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import {
  compile,
  type FloatDType,
  gradients,
  input,
  openDevice,
  sum,
  tensor,
  tokenLogprob,
  type Value,
} from "../../lib/graph/index.ts";
import { rowInputs, sequenceForward } from "../../lib/models/forward.ts";
import { Model } from "../../lib/models/model.ts";

const shared = {
  vocabSize: 40,
  hiddenSize: 24,
  intermediateSize: 32,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  maxPositionEmbeddings: 64,
  initializerRange: 0.3,
};
const configs = {
  llama: { modelType: "llama", ...shared },
  "mistral with a window": { modelType: "mistral", slidingWindow: 5, ...shared },
  gpt2: { modelType: "gpt2", ...shared, numKeyValueHeads: 4 },
};
/** The lengths of the documents in two sequences of 40 rows. Only the second sequence is padded at its end. */
const layout = [
  [17, 1, 9, 13],
  [3, 30],
];
const sequenceLength = 40;

interface Batch {
  ids: number[];
  positions: number[];
  targets: number[];
  documents?: number[];
}

/** The targets' log-probabilities and the gradients of their sum. */
async function run(model: Model, batch: Batch, length: number, dtype: FloatDType) {
  const rows = batch.ids.length;
  const names = model.weightNames;
  const program = compile(() => {
    const documents = batch.documents && input("documents", "i32", [rows]);
    const { hidden, head } = sequenceForward(model, rowInputs(rows), { sequenceLength: length, dtype, documents });
    const { logprob } = tokenLogprob(hidden, head, input("targets", "i32", [rows]));
    const weights = names.map((n) => tensor(n, "f32", model.weight(n).shape));
    const found = gradients(sum(logprob), weights, input("seed", "f32", [1]));
    const named = Object.fromEntries(names.map((n, i) => [n, found[i]!]));
    return { logprob, ...named } as Record<string, Value>;
  }).bind(model.device, model.tensors);
  const inputs = Object.fromEntries(Object.entries(batch).map(([n, v]) => [n, Int32Array.from(v as number[])]));
  const got = await program.run({ ...inputs, seed: Float32Array.of(1) });
  program.dispose();
  return got as Record<string, Float32Array>;
}

describe.each(Object.entries(configs))("%s", (_, config) => {
  test.each(["f32", "bf16"] as const)("packed documents have the results of separate runs in %s", async (dtype) => {
    const model = await Model.initialize(parseModelConfig(config), openDevice(), 3);
    const draw = (row: number) => (row * 7 + ((row * row) % 11)) % 40;
    const packed: Required<Batch> = { ids: [], positions: [], targets: [], documents: [] };
    const logprobs: number[] = [];
    const total = new Map<string, Float64Array>(); // sums of the documents' gradients
    const exact = new Map<string, Float64Array>(); // these sums computed in f32
    const addTo = (totals: Map<string, Float64Array>, found: Record<string, Float32Array>) => {
      for (const name of model.weightNames) {
        const sums = totals.get(name) ?? new Float64Array(found[name]!.length);
        found[name]!.forEach((v, i) => {
          sums[i]! += v;
        });
        totals.set(name, sums);
      }
    };
    let seen = 0;
    for (const lengths of layout) {
      for (const [document, length] of lengths.entries()) {
        const ids = Array.from({ length }, (_, i) => draw(seen + i));
        const positions = ids.map((_, i) => i);
        const targets = ids.map((_, i) => ids[i + 1] ?? -1);
        seen += length;
        const alone = await run(model, { ids, positions, targets }, length, dtype);
        logprobs.push(...alone.logprob!);
        addTo(total, alone);
        addTo(exact, dtype === "f32" ? alone : await run(model, { ids, positions, targets }, length, "f32"));
        packed.ids.push(...ids);
        packed.positions.push(...positions);
        packed.targets.push(...targets);
        packed.documents.push(...ids.map(() => document % 2)); // neighbors need different ids
      }
      while (packed.ids.length % sequenceLength !== 0) {
        packed.ids.push(1);
        packed.positions.push(0);
        packed.targets.push(-1);
        packed.documents.push(-1);
        logprobs.push(0);
      }
    }
    const together = await run(model, packed, sequenceLength, dtype);
    const relative = dtype === "f32" ? 2e-5 : 2 ** -7;
    const compare = (name: string, got: ArrayLike<number>, expected: ArrayLike<number>) => {
      const most = Math.max(...Array.from(expected, Math.abs));
      expect(most, `${name}: not all zero`).toBeGreaterThan(0);
      const worst = Math.max(...Array.from(expected, (e, i) => Math.abs(got[i]! - e)));
      expect(worst / most, name).toBeLessThanOrEqual(relative);
    };
    compare("logprob", together.logprob!, logprobs);
    for (const [name, sums] of total) {
      if (dtype === "f32") {
        compare(name, together[name]!, sums);
        continue;
      }
      // In bf16, attention has larger rounding errors in longer sequences. So compare the error of the packed batch with that of the
      // separate runs, both against f32.
      const truth = exact.get(name)!;
      const off = (x: ArrayLike<number>) => Math.hypot(...Array.from(truth, (e, i) => x[i]! - e));
      expect(off(together[name]!), name).toBeLessThanOrEqual(1.15 * off(sums));
    }
    // Without document ids, rows attend to other documents, and the results differ.
    const { documents: _, ...crossing } = packed;
    const crossed = await run(model, crossing, sequenceLength, dtype);
    const difference = Math.max(...logprobs.map((e, i) => Math.abs(crossed.logprob![i]! - e)));
    expect(difference).toBeGreaterThan(0.05);
    model.dispose();
  });
});
