// A training step of every stage over the same sequences. Each has a prompt and an answer, and no padding.
import type { FloatDType } from "../lib/graph/index.ts";
import { headNames, trunkNames } from "../lib/models/heads.ts";
import type { Model } from "../lib/models/model.ts";
import type { Stage } from "../lib/train/loop/stage.ts";
import { TrainStep, type TrainStepOptions } from "../lib/train/loop/step.ts";
import { classification } from "../lib/train/losses/classify-loss.ts";
import { contrastive } from "../lib/train/losses/embed-loss.ts";
import { supervised } from "../lib/train/losses/supervised.ts";
import { dpoStage } from "../lib/train/stages/dpo.ts";
import { grpoStage } from "../lib/train/stages/grpo.ts";
import { ktoStage } from "../lib/train/stages/kto.ts";
import { orpoStage } from "../lib/train/stages/orpo.ts";
import { ppoStage } from "../lib/train/stages/ppo.ts";
import { rewardStage } from "../lib/train/stages/reward.ts";
import { simpoStage } from "../lib/train/stages/simpo.ts";

export const stageNames = ["sft", "dpo", "kto", "orpo", "simpo", "grpo", "ppo", "reward", "classify", "embed"] as const;
export type StageName = (typeof stageNames)[number];

export interface StepSize {
  /** An even number, because some stages compare pairs. */
  sequences: number;
  sequenceLength: number;
  promptLength: number;
  dtype: FloatDType;
}

export interface StageStep {
  step: TrainStep<unknown>;
  /** Runs one step over all sequences. */
  run(): Promise<unknown>;
}

/** Creates a stage's step. Adds the heads that the stage needs to the model. */
export async function stageStep(
  name: StageName,
  model: Model,
  size: StepSize,
  options: TrainStepOptions = {},
): Promise<StageStep> {
  const { sequences, sequenceLength, dtype } = size;
  const { vocabSize } = model.config;
  if (name === "reward") await model.addClassifier({ task: "sequence", labels: ["reward"], problemType: "regression" });
  if (name === "classify") await model.addClassifier({ task: "sequence", labels: ["a", "b", "c", "d"] });
  if (name === "ppo") await model.addValueHead();
  const trained: Partial<Record<StageName, readonly string[]>> = {
    ppo: [...model.languageWeightNames, ...headNames(model.config)],
    reward: [...trunkNames(model.config), ...headNames(model.config)],
    classify: [...trunkNames(model.config), ...headNames(model.config)],
    embed: trunkNames(model.config),
  };
  const { stage, batch } = caseOf(name, model, size, vocabSize);
  const names = options.names ?? trained[name];
  const step = await TrainStep.create(model, stage, { sequences, sequenceLength, dtype }, { ...options, names });
  return { step, run: () => step.run([batch], 1e-5) };
}

function caseOf(
  name: StageName,
  model: Model,
  size: StepSize,
  vocabSize: number,
): { stage: Stage<unknown>; batch: unknown } {
  const { sequences, sequenceLength, promptLength } = size;
  const answers = Array.from({ length: sequences }, (_, s) => ({
    ids: Int32Array.from({ length: sequenceLength + 1 }, (_, i) => ((s * 131 + i) * 7919) % vocabSize),
    promptLength,
  }));
  // Inputs of a model with a head over whole texts.
  const texts = answers.map(({ ids }) => Uint32Array.from(ids.subarray(0, sequenceLength)));
  const answerTokens = sequenceLength + 1 - promptLength;
  const numbers = (value: number) => new Float32Array(answerTokens).fill(value);
  const pairs = sequences / 2;
  const couples = Array.from({ length: pairs }, (_, i) => ({
    chosen: answers[i]!,
    rejected: answers[i + pairs]!,
    reference: { chosen: -1000, rejected: -1000 },
  }));
  const whole = Array.from({ length: pairs }, (_, i) => ({
    chosen: { ids: Int32Array.from(texts[i]!), promptLength },
    rejected: { ids: Int32Array.from(texts[i + pairs]!), promptLength },
  }));
  const padTokenId = 0;
  const of = <Batch>(stage: Stage<Batch>, batch: Batch) => ({
    stage: stage as Stage<unknown>,
    batch: batch as unknown,
  });
  switch (name) {
    case "sft": {
      const targets = answers.flatMap(({ ids }) =>
        Array.from(ids.slice(1), (id, i) => (i + 1 < promptLength ? -100 : id)),
      );
      const rows = sequences * sequenceLength;
      return of(supervised, {
        tokens: Int32Array.from(answers.flatMap(({ ids }) => [...ids.subarray(0, -1)])),
        targets: Int32Array.from(targets),
        positions: Int32Array.from({ length: rows }, (_, i) => i % sequenceLength),
        documents: new Int32Array(rows),
        counted: targets.filter((t) => t >= 0).length,
        tokenCount: rows,
      });
    }
    case "dpo":
      return of(
        dpoStage({ beta: 0.1, lossType: "sigmoid", labelSmoothing: 0, rpoAlpha: 0, sequenceLength, pairs }),
        couples,
      );
    case "orpo":
      return of(orpoStage({ beta: 0.1, sequenceLength, pairs }), couples);
    case "simpo":
      return of(simpoStage({ beta: 2, gamma: 0.5, sequenceLength, pairs }), couples);
    case "kto":
      return of(
        ktoStage({
          beta: 0.1,
          lossType: "kto",
          desirableWeight: 1,
          undesirableWeight: 1,
          sequenceLength,
          answers: sequences,
        }),
        answers.map((answer, i) => ({
          answer,
          desirable: i % 2 === 0,
          reference: -1000,
          mismatched: { answer: answers.at(i - 1)!, reference: -1000 },
        })),
      );
    case "grpo":
      return of(
        grpoStage({
          lossType: "dapo",
          epsilon: 0.2,
          epsilonHigh: 0.2,
          beta: 0,
          importanceSamplingLevel: "token",
          maxCompletionLength: sequenceLength,
          temperature: 1,
          sequenceLength,
          answers: sequences,
          oldLogprobs: false,
          samplerLogprobs: true,
        }),
        {
          answers: answers.map((answer, i) => ({ answer, advantage: i % 2 ? 1 : -1, samplerLogprobs: numbers(-9) })),
          report: {},
        },
      );
    case "ppo":
      return of(
        ppoStage({
          cliprange: 0.2,
          cliprangeValue: 0.2,
          vfCoef: 0.1,
          temperature: 0.7,
          sequenceLength,
          answers: sequences,
        }),
        {
          answers: answers.map((answer, i) => ({
            answer,
            logprobs: numbers(-9),
            values: numbers(0),
            advantages: numbers(i % 2 ? 1 : -1),
            returns: numbers(0.5),
          })),
          report: {},
        },
      );
    case "reward":
      return of(rewardStage({ centerRewardsCoefficient: 0, sequenceLength, pairs }), whole);
    case "classify":
      return of(
        classification({
          classifier: model.config.classifier!,
          sequences,
          sequenceLength,
          padTokenId,
          outputs: 1,
          labelSmoothingFactor: 0,
        }),
        texts.map((ids, i) => ({ ids, at: new Int32Array(), targets: Int32Array.of(i % 4) })),
      );
    case "embed":
      return of(
        contrastive({
          width: model.config.hiddenSize,
          pairs,
          negatives: 0,
          pooling: "mean",
          temperature: 0.05,
          symmetric: false,
          sequenceLength,
          padTokenId,
        }),
        Array.from({ length: pairs }, (_, i) => ({ anchor: texts[i]!, positive: texts[i + pairs]!, negatives: [] })),
      );
  }
}
