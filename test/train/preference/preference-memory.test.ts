import { expect, test } from "vitest";
import { createModel } from "../../../lib/index.ts";
import type { Stage } from "../../../lib/train/loop/stage.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { dpoStage } from "../../../lib/train/stages/dpo.ts";
import { grpoStage } from "../../../lib/train/stages/grpo.ts";
import { ktoStage } from "../../../lib/train/stages/kto.ts";
import { orpoStage } from "../../../lib/train/stages/orpo.ts";
import { simpoStage } from "../../../lib/train/stages/simpo.ts";

const [sequences, sequenceLength, width] = [16, 64, 16];
const shape = { sequences, sequenceLength, dtype: "f32" } as const;
const places = { sequenceLength, pairs: sequences / 2, answers: sequences };

/** Bytes that a step plans for everything but weights, gradients and moments. */
async function planned(stage: Stage<never>, vocabSize: number): Promise<number> {
  const config = { hiddenSize: width, intermediateSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, vocabSize };
  await using base = createModel({ modelType: "llama", numKeyValueHeads: 2, tieWordEmbeddings: true, ...config });
  const step = await TrainStep.create(base.model, stage, shape);
  const bytes = step.arenaBytes;
  step.dispose();
  return bytes;
}

test.each([
  ["dpo", dpoStage({ ...places, beta: 0.1, lossType: "sigmoid", labelSmoothing: 0, rpoAlpha: 1 })],
  ["orpo", orpoStage({ ...places, beta: 0.1 })],
  ["simpo", simpoStage({ ...places, beta: 2, gamma: 0.5 })],
  ["kto", ktoStage({ ...places, beta: 0.1, lossType: "kto", desirableWeight: 1, undesirableWeight: 1 })],
  [
    "grpo",
    grpoStage({
      ...places,
      lossType: "dapo",
      epsilon: 0.2,
      epsilonHigh: 0.2,
      beta: 0.1,
      importanceSamplingLevel: "token",
      maxCompletionLength: 32,
      temperature: 1,
    }),
  ],
] as const)("%s plans no memory of batch × vocabulary floats", async (_, stage) => {
  const [small, large] = [4096, 32768];
  const grown = (await planned(stage as Stage<never>, large)) - (await planned(stage as Stage<never>, small));
  // Three matrices in the arena grow with the vocabulary: the embedding's gradients of the lookup and of the head, and their sum. The bound
  // allows a fourth matrix. Logits would take far more memory.
  expect(grown).toBeLessThanOrEqual(4 * 4 * (large - small) * width);
  expect(4 * sequences * sequenceLength * (large - small)).toBeGreaterThan(10 * grown);
});
