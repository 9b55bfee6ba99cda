import { describe, expect, test } from "vitest";
import { openDevice } from "../../../lib/graph/index.ts";
import type { Model } from "../../../lib/models/model.ts";
import type { Stage } from "../../../lib/train/loop/stage.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { generalizedAdvantages, groupAdvantages, whiten } from "../../../lib/train/losses/advantages.ts";
import { AnswerScorer } from "../../../lib/train/preference/scorer.ts";
import type { AnsweredPrompt } from "../../../lib/train/preference/sequences.ts";
import { dpoStage } from "../../../lib/train/stages/dpo.ts";
import { grpoStage } from "../../../lib/train/stages/grpo.ts";
import { ktoStage } from "../../../lib/train/stages/kto.ts";
import { orpoStage } from "../../../lib/train/stages/orpo.ts";
import { ppoStage } from "../../../lib/train/stages/ppo.ts";
import { rewardStage } from "../../../lib/train/stages/reward.ts";
import { simpoStage } from "../../../lib/train/stages/simpo.ts";
import golden from "../../golden/preference.json" with { type: "json" };
import { goldenModel, hashed } from "../../golden/weights.ts";

const device = openDevice();
/** Longer than any sequence, so that there is padding. */
const sequenceLength = 20;
const tolerance = 1e-4;

interface Case {
  loss: number;
  report: Record<string, number>;
  gradients: Record<string, { norm: number; first: number[] }>;
  referenceFactor?: number;
  answers?: {
    logprobs: number[];
    referenceLogprobs: number[];
    advantage?: number;
    values?: number[];
    advantages?: number[];
    returns?: number[];
  }[];
}
const cases = golden.cases as unknown as Record<string, Case>;

const sequence = (prompt: number[], completion: number[]): AnsweredPrompt => ({
  ids: Int32Array.from([...prompt, ...completion]),
  promptLength: prompt.length,
});
const pairs = golden.pairs.map((p) => ({
  chosen: sequence(p.prompt, p.chosen),
  rejected: sequence(p.prompt, p.rejected),
}));
const drawn = golden.drawn.map((d) => sequence(d.prompt, d.completion));
const mismatched = golden.drawn.map((d, i) => sequence(d.prompt, golden.drawn.at(i - 1)!.completion));

/** Creates the golden Llama with every weight times a factor. */
async function scaledModel(factor: number): Promise<Model> {
  const model = await goldenModel("llama", device);
  for (const name of model.weightNames) {
    const weight = model.weight(name);
    await weight.write((await weight.toFloat32()).map((v) => v * factor));
  }
  return model;
}

async function referenceLogprobs(answers: readonly AnsweredPrompt[], factor: number): Promise<Float32Array[]> {
  const model = await scaledModel(factor);
  // Four slots: three answers leave one of them empty, and six answers take two runs.
  const scorer = new AnswerScorer(model, { sequences: 4, sequenceLength, dtype: "f32" });
  const tokens = await scorer.tokens(answers);
  scorer.dispose();
  model.dispose();
  return tokens;
}
const sums = (tokens: readonly Float32Array[]) => tokens.map((t) => t.reduce((s, v) => s + v, 0));

const close = (got: number, expected: number, what: string, scale = Math.abs(expected)) =>
  expect(Math.abs(got - expected), `${what}: ${got}, expected ${expected}`).toBeLessThanOrEqual(
    tolerance * scale + 1e-9,
  );

/** Checks the loss, report and gradients of one step over the given micro-batches. */
async function check<Batch>(
  name: string,
  stage: Stage<Batch>,
  batches: readonly Batch[],
  { sequences, prepare }: { sequences: number; prepare?: (model: Model) => Promise<void> },
): Promise<void> {
  const expected = cases[name]!;
  const model = await goldenModel("llama", device);
  await prepare?.(model);
  const names = Object.keys(expected.gradients);
  const step = await TrainStep.create(model, stage, { sequences, sequenceLength, dtype: "f32" }, { names });
  const { loss, metrics } = await step.accumulate(batches);
  close(loss, expected.loss, "loss");
  expect(Object.keys(metrics).sort()).toEqual(Object.keys(expected.report).sort());
  for (const [metric, value] of Object.entries(expected.report))
    close(metrics[metric]!, value, metric, Math.max(Math.abs(value), 0.1));
  for (const [weight, { norm, first }] of Object.entries(expected.gradients)) {
    const got = await step.optimizer.gradients.get(`gradient.${weight}`)!.toFloat32();
    close(Math.sqrt(got.reduce((s, g) => s + g * g, 0)), norm, `gradient of ${weight}`);
    for (const [i, g] of first.entries()) close(got[i]!, g, `gradient of ${weight}[${i}]`, norm);
  }
  step.dispose();
  model.dispose();
}

test("log-probabilities of a reference have a relative error of at most 1e-4", async () => {
  const chosen = sums(
    await referenceLogprobs(
      pairs.map((p) => p.chosen),
      0.97,
    ),
  );
  const rejected = sums(
    await referenceLogprobs(
      pairs.map((p) => p.rejected),
      0.97,
    ),
  );
  for (const [i, expected] of golden.reference.pairs.entries()) {
    close(chosen[i]!, expected.chosen, `chosen ${i}`);
    close(rejected[i]!, expected.rejected, `rejected ${i}`);
  }
  const others = sums(await referenceLogprobs(mismatched, 0.97));
  for (const [i, expected] of golden.reference.mismatched.entries()) close(others[i]!, expected, `mismatched ${i}`);
});

describe("a stage, with a relative error of at most 1e-4", () => {
  const referenced = async () => {
    const chosen = sums(
      await referenceLogprobs(
        pairs.map((p) => p.chosen),
        0.97,
      ),
    );
    const rejected = sums(
      await referenceLogprobs(
        pairs.map((p) => p.rejected),
        0.97,
      ),
    );
    return pairs.map((pair, i) => ({ ...pair, reference: { chosen: chosen[i]!, rejected: rejected[i]! } }));
  };
  const plain = { lossType: "sigmoid", labelSmoothing: 0, rpoAlpha: 0, sequenceLength } as const;
  test.each([
    ["dpo sigmoid", { ...plain, beta: 0.1 }],
    ["dpo sigmoid, smoothed", { ...plain, beta: 0.3, labelSmoothing: 0.1 }],
    ["dpo sigmoid, chosen nll", { ...plain, beta: 0.1, rpoAlpha: 0.5 }],
    ["dpo ipo", { ...plain, beta: 0.2, lossType: "ipo" }],
    ["dpo hinge", { ...plain, beta: 0.1, lossType: "hinge" }],
  ] as const)("%s has the loss, report and gradients of PyTorch in float64", async (name, options) => {
    const batch = await referenced();
    await check(name, dpoStage({ ...options, pairs: 3 }), [batch], { sequences: 6 });
    // Micro-batches of unequal size, one with an empty slot.
    await check(name, dpoStage({ ...options, pairs: 2 }), [batch.slice(0, 2), batch.slice(2)], { sequences: 4 });
  });

  test("orpo has the loss, report and gradients of PyTorch in float64", async () => {
    await check("orpo", orpoStage({ beta: 0.25, sequenceLength, pairs: 3 }), [pairs], { sequences: 6 });
    const halves = [pairs.slice(0, 2), pairs.slice(2)];
    await check("orpo", orpoStage({ beta: 0.25, sequenceLength, pairs: 2 }), halves, { sequences: 4 });
  });

  test("simpo has the loss, report and gradients of PyTorch in float64", async () => {
    const options = { beta: 2, gamma: 0.5, sequenceLength };
    await check("simpo", simpoStage({ ...options, pairs: 3 }), [pairs], { sequences: 6 });
    const halves = [pairs.slice(0, 2), pairs.slice(2)];
    await check("simpo", simpoStage({ ...options, pairs: 2 }), halves, { sequences: 4 });
  });

  test.each([
    ["kto", { lossType: "kto", beta: 0.1, desirableWeight: 1, undesirableWeight: 1.3 }],
    ["kto, a divergence above 0", { lossType: "kto", beta: 0.2, desirableWeight: 1, undesirableWeight: 1.3 }],
    ["kto apo_zero_unpaired", { lossType: "apo_zero_unpaired", beta: 0.1, desirableWeight: 1.2, undesirableWeight: 1 }],
  ] as const)("%s has the loss, report and gradients of PyTorch in float64", async (name, options) => {
    const factor = cases[name]!.referenceFactor!;
    const own = sums(await referenceLogprobs(drawn, factor));
    const other = sums(await referenceLogprobs(mismatched, factor));
    const batch = drawn.map((answer, i) => ({
      answer,
      desirable: golden.labels[i]!,
      reference: own[i]!,
      mismatched: { answer: mismatched[i]!, reference: other[i]! },
    }));
    // Two slots stay empty.
    await check(name, ktoStage({ ...options, sequenceLength, answers: 8 }), [batch], { sequences: 8 });
  });

  test.each([
    ["reward", 0, false],
    ["reward, margins, centred", 0.01, true],
  ] as const)(
    "%s has the loss, report and gradients of PyTorch in float64",
    async (name, centerRewardsCoefficient, margins) => {
      const batch = pairs.map((pair, i) => (margins ? { ...pair, margin: golden.margins[i]! } : pair));
      const stage = rewardStage({ centerRewardsCoefficient, sequenceLength, pairs: 4 });
      const prepare = async (model: Model) => {
        await model.addClassifier({ task: "sequence", labels: ["score"] }, { keepLanguageHead: true });
        await model.weight("score.weight").write(Float32Array.from(hashed(3000, 32), (v) => v * 0.4));
      };
      await check(name, stage, [batch], { sequences: 8, prepare });
    },
  );

  test("ppo with advantages by GAE and whitening has the loss, report and gradients of PyTorch in float64", async () => {
    const { answers } = cases.ppo!;
    const estimated = answers!.map((a, i) => {
      const rewards = a.logprobs.map((logprob, t) => -0.05 * (logprob - a.referenceLogprobs[t]!));
      rewards[rewards.length - 1]! += golden.scores[i]!;
      return generalizedAdvantages(rewards, a.values!, { gamma: 1, lam: 0.95 });
    });
    whiten(estimated.map((e) => e.advantages));
    for (const [i, { advantages, returns }] of estimated.entries()) {
      for (const [t, a] of advantages.entries()) close(a, answers![i]!.advantages![t]!, `advantage ${i}/${t}`, 1e-4);
      for (const [t, r] of returns.entries()) close(r, answers![i]!.returns![t]!, `return ${i}/${t}`, 1e-4);
    }
    const batch = drawn.map((answer, i) => ({
      answer,
      logprobs: answers![i]!.logprobs,
      values: answers![i]!.values!,
      ...estimated[i]!,
    }));
    const stage = (places: number) =>
      ppoStage({ cliprange: 0.2, cliprangeValue: 0.2, vfCoef: 0.1, temperature: 1, sequenceLength, answers: places });
    const prepare = async (model: Model) => {
      await model.addValueHead();
      await model.weight("v_head.summary.weight").write(Float32Array.from(hashed(3001, 32), (v) => v * 0.4));
      await model.weight("v_head.summary.bias").write(Float32Array.from(hashed(3002, 1), (v) => v * 0.4));
    };
    await check("ppo", stage(6), [{ answers: batch, report: {} }], { sequences: 6, prepare });
    const parts = [batch.slice(0, 4), batch.slice(4)].map((part) => ({ answers: part, report: {} }));
    await check("ppo", stage(4), parts, { sequences: 4, prepare });
  });

  const usual = {
    lossType: "grpo",
    epsilon: 0.2,
    epsilonHigh: 0.2,
    beta: 0.04,
    importanceSamplingLevel: "token",
  } as const;
  test.each([
    ["grpo", usual, "group"],
    ["grpo, two-sided, no reference", { ...usual, beta: 0, delta: 1.4, epsilonHigh: 0.3 }, "group"],
    ["dapo", { ...usual, lossType: "dapo", beta: 0, epsilonHigh: 0.28 }, "group"],
    ["gspo", { ...usual, importanceSamplingLevel: "sequence", epsilon: 0.05, epsilonHigh: 0.06 }, "group"],
    ["dr_grpo", { ...usual, lossType: "dr_grpo", beta: 0.01 }, "none"],
  ] as const)("%s has the loss, report and gradients of PyTorch in float64", async (name, options, scale) => {
    const { answers } = cases[name]!;
    const advantages = groupAdvantages(golden.scores, 3, scale);
    for (const [i, a] of advantages.entries()) close(a, answers![i]!.advantage!, `advantage ${i}`);
    const batch = drawn.map((answer, i) => ({ ...answers![i]!, answer, advantage: advantages[i]! }));
    const stage = (places: number) =>
      grpoStage({ ...options, maxCompletionLength: 12, temperature: 1, sequenceLength, answers: places });
    await check(name, stage(6), [{ answers: batch, report: {} }], { sequences: 6 });
    const parts = [batch.slice(0, 4), batch.slice(4)].map((part) => ({ answers: part, report: {} }));
    await check(name, stage(4), parts, { sequences: 4 });
  });

  test.each([
    ["grpo, drawn by a twin", { ...usual, importanceSamplingCap: 1.3 }],
    [
      "gspo, drawn by a twin",
      {
        ...usual,
        importanceSamplingLevel: "sequence",
        epsilon: 0.05,
        epsilonHigh: 0.06,
        importanceSamplingCap: 1.1,
      },
    ],
    ["dapo, drawn by a twin, first pass", { ...usual, lossType: "dapo", beta: 0 }],
  ] as const)("%s has the loss, report and gradients of PyTorch in float64", async (name, options) => {
    const { answers } = cases[name]!;
    const oldLogprobs = !name.endsWith("first pass");
    const batch = drawn.map((answer, i) => {
      const { logprobs, ...rest } = answers![i]!;
      return { ...rest, ...(oldLogprobs && { logprobs }), answer, advantage: rest.advantage! };
    });
    const places = { maxCompletionLength: 12, temperature: 1, sequenceLength, answers: 6 };
    const stage = grpoStage({ ...options, ...places, oldLogprobs, samplerLogprobs: true });
    await check(name, stage, [{ answers: batch, report: {} }], { sequences: 6 });
  });
});
