// Some losses are means over answers, not over tokens. They do not depend on how a step or an evaluation is split into batches.
import { describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/language-model.ts";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { newModel, rows } from "../options/named-things.ts";
import { eventsOf } from "../rollout/speaker.ts";

/** Answers of very different lengths, so that means over answers and over tokens differ. */
const pairs = Array.from({ length: 8 }, (_, i) => ({
  prompt: i % 2 ? "a" : "a longer prompt with words",
  chosen: i % 3 ? " b" : " one two three four five six",
  rejected: i % 2 ? " cc" : " no",
}));
const labeled = rows(8);

interface Given {
  maxSteps: number;
  learningRate: number;
  evalSteps: number;
  perDeviceTrainBatchSize: number;
  gradientAccumulationSteps?: number;
}

const runs: [string, (model: LanguageModel, given: Given) => AsyncIterable<TrainEvent>][] = [
  ["orpo", (model, given) => orpo(model, { ...given, data: pairs, evalData: pairs })],
  ["dpo with rpoAlpha", (model, given) => dpo(model, { ...given, data: pairs, evalData: pairs, rpoAlpha: 2 })],
  [
    "a classifier with class weights",
    (model, given) => trainClassifier(model, { ...given, data: labeled, evalData: labeled, classWeights: { tool: 9 } }),
  ],
];

describe.each(runs)("%s", (_name, run) => {
  const figures = async (given: Given) => {
    await using model = newModel();
    const { steps, held } = await eventsOf(run(model, given));
    const of = (loss: number | undefined, nll = 0) => [loss!, nll];
    return {
      steps: steps.flatMap(({ loss, metrics }) => of(loss, metrics?.nllLoss)),
      held: held.flatMap(({ evalLoss, metrics }) => of(evalLoss, metrics?.nllLoss)),
    };
  };
  const close = (got: number[], expected: number[]) => {
    for (const [i, value] of expected.entries())
      expect(Math.abs(got[i]! - value)).toBeLessThan(1e-4 * Math.abs(value) + 1e-7);
  };

  test("has the same losses with accumulated micro-batches as with one batch", async () => {
    const given = { maxSteps: 2, learningRate: 1e-3, evalSteps: 1 };
    const whole = await figures({ ...given, perDeviceTrainBatchSize: 8 });
    const parts = await figures({ ...given, perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 });
    close(parts.steps, whole.steps);
    close(parts.held, whole.held);
  });

  test("has the same held-out loss for any evaluation batch size", async () => {
    const still = { maxSteps: 1, learningRate: 1e-12, evalSteps: 1 };
    const whole = await figures({ ...still, perDeviceTrainBatchSize: 8 });
    const uneven = await figures({ ...still, perDeviceTrainBatchSize: 3 });
    close(uneven.held, whole.held);
  });
});
