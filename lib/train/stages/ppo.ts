import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { flag, positive, real, whole } from "../../core/schema-parts.ts";
import { add, input, mul, scale, sum } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { mean } from "../../metrics/mean.ts";
import { tempered } from "../../models/forward.ts";
import { headNames } from "../../models/heads.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { generalizedAdvantages, whiten } from "../losses/advantages.ts";
import { clippedPolicyLoss, clippedValueLoss, truncatedRatios } from "../losses/ppo.ts";
import { type Given, option, variant } from "../options/option.ts";
import { KL_ALIASES, peakLearningRate } from "../options/stage-options.ts";
import { rowValues } from "../preference/scorer.ts";
import { type AnsweredPrompt, answerLength, atAnswers, targetLogprobs } from "../preference/sequences.ts";
import { answerTokens, batchRows, type RolloutBatch } from "../rollout/batch.ts";
import { KlControl, klOf } from "../rollout/kl-control.ts";
import { type PolicyOptions, policyStageShape, samplingShape } from "../rollout/options.ts";
import { meanReport, runPolicy, type ScoredDraw } from "../rollout/run-policy.ts";

const peaks = { lora: 3e-5, weights: 3e-6 };

const ppoShape = {
  /** Peak of the schedule. Default: 3e-6; 3e-5 with lora. */
  learningRate: peakLearningRate(peaks),
  /** Sampling temperature of the answers: above 1 more varied, below 1 less. Default 0.7. */
  temperature: variant(samplingShape.temperature, positive().default(0.7)),
  /** Number of passes over a rollout's answers, each in a new order. Default 4. */
  numPpoEpochs: option(whole(1).default(4), "passes over the answers of a rollout"),
  /** Optimizer steps in one pass over a rollout. They determine the number of answers in a rollout. Default 1. */
  numMiniBatches: option(whole(1).default(1), "optimizer steps per pass over a rollout"),
  /** Weight of the divergence from the reference, a penalty on each token's reward. Default 0.05. */
  klCoef: option(real(0).default(0.05), "weight of the KL divergence that is subtracted from each token's reward", {
    aliases: KL_ALIASES,
  }),
  /**
   * k1: the log-probability minus the reference's. k3: the estimate that is never negative (Schulman 2020). Default
   * "k1".
   */
  klEstimator: option(
    z.enum(["k1", "k3"]).default("k1"),
    "KL estimator. k1: difference of log-probabilities; k3: always ≥ 0",
  ),
  /**
   * Target KL divergence of an answer, in nats. klCoef is adapted to reach it (Ziegler et al. 2019). Default: klCoef is
   * constant.
   */
  klTarget: option(real(0).optional(), "target KL divergence per answer, in nats; klCoef adapts to it", {
    otherwise: "none, klCoef is constant",
  }),
  /** Number of answers over which klCoef adapts. A larger number adapts it more slowly. Default 10000. */
  klHorizon: option(whole(1).default(10_000), "answers over which klCoef adapts"),
  /** Discount of later rewards. Default 1. */
  gamma: option(real(0, 1).default(1), "discount factor of rewards"),
  /** λ of generalized advantage estimation. Default 0.95. */
  lam: option(real(0, 1).default(0.95), "λ of generalized advantage estimation (GAE)"),
  /** Clip range of probability ratios: 1 ± this value. Default 0.2. */
  cliprange: option(real(0, 1).default(0.2), "clip probability ratios to 1 ± this", { aliases: "clipepsilon" }),
  /** Values are clipped to at most this distance from the rollout's values. Default 0.2. */
  cliprangeValue: option(real(0).default(0.2), "clip values to ± this around the old values"),
  /** Weight of the value loss. Default 0.1. */
  vfCoef: option(real(0).default(0.1), "weight of the value loss"),
  /** Scale the token rewards of a rollout to variance 1, and keep their mean. Default false. */
  whitenRewards: option(flag().default(false), "scale the token rewards of a rollout to variance 1"),
  /** Penalty on the reward of an answer truncated at maxCompletionLength. Default: 0. */
  missingEosPenalty: option(
    real(0).optional(),
    "subtracted from the reward of answers truncated at maxCompletionLength",
    { otherwise: "0" },
  ),
};

/** The strict schema of the options of proximal policy optimization, as a configuration file holds them. */
export const ppoSchema = z.strictObject({
  ...policyStageShape,
  ...ppoShape,
});

/** Options of `ppo`. */
export interface PpoOptions<Base = LanguageModel> extends Given<typeof ppoShape>, PolicyOptions<Base> {}

/**
 * Proximal policy optimization (Schulman et al. 2017) as in RLHF (Ouyang et al. 2022). The model answers prompts, and rewards rate the
 * answers. The divergence from the reference is a penalty on every token. A value head on the trunk (initialized from `seed` if missing)
 * estimates the expected reward. Advantages are estimated by GAE and whitened. Rows, rewards and rolloutDtype are as for `grpo`.
 *
 * Metrics: reward, rewards/<name>, kl (of an answer), nonScoreReward, klCoef, completionLength, endedShare, policyLoss, valueLoss, clipRatio,
 * approxKl. If the bf16 sampler draws the answers (rolloutDtype), also samplingWeight.
 *
 * @throws HeddleError INVALID_ARGUMENT, INVALID_FILE `file:line: …` for a row, NUMERICAL for a reward or a loss that is not finite, ABORTED
 * @example
 * await ppo(model, { prompts: "prompts.jsonl", rewards: [await LanguageModel.load("reward")], maxCompletionLength: 64 });
 */
export function ppo<Base extends LanguageModel>(base: Base, options: PpoOptions<Base>): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "ppo", schema: ppoSchema }, options, run);
}

const run = runPolicy<z.output<typeof ppoSchema>, ValuedAnswer, EstimatedAnswer>({
  name: "ppo",
  peaks,
  about: {
    notes: "Tuned on its own answers, scored by rewards (PPO).",
    evaluation: { name: "held-out prompts", metric: "PPO loss" },
  },
  needsReference: () => true,
  async addValueHead(model, { lora, seed }) {
    await model.addValueHead({ seed });
    const heads = headNames(model.config).filter((name) => name.startsWith("v_head"));
    return lora ? heads : [...model.languageWeightNames, ...heads];
  },
  plan: ({ gradientAccumulationSteps, numMiniBatches, numPpoEpochs }) => ({
    answersEach: 1,
    microBatches: gradientAccumulationSteps * numMiniBatches,
    passes: numPpoEpochs,
    shuffle: true,
  }),
  rollouts(options, policy) {
    const control = new KlControl(options);
    return {
      memory: { get: () => control.coefficient, set: (value) => control.restore(value) },
      async measure(drawn, score) {
        const valued = await score(drawn.map(({ answer }) => answer));
        return valued.map(({ logprobs, values }, i) => ({
          logprobs,
          values,
          ...(policy.drawsFromCopy && {
            samplingWeights: truncatedRatios(logprobs, drawn[i]!.logprobs, options.importanceSamplingCap),
          }),
        }));
      },
      estimate(drawn, judgement, { isEvaluation }) {
        const { answers, kl, klPenalty } = estimate(drawn, judgement.rewards, options, control);
        const klCoef = control.coefficient;
        if (!isEvaluation) control.follow(kl, drawn.length);
        const weights = drawn.flatMap(({ samplingWeights }) => (samplingWeights ? [...samplingWeights] : []));
        const sampling = weights.length > 0 && { samplingWeight: mean(weights) };
        return { answers, report: { ...judgement.report, kl, nonScoreReward: -klPenalty, klCoef, ...sampling } };
      },
      stage: (shape) => ppoStage({ ...options, ...shape }),
    };
  },
});

/** Values for each token of a drawn answer. */
type ValuedAnswer = Pick<EstimatedAnswer, "logprobs" | "values" | "samplingWeights">;

/** Computes the rewards and advantages of tokens. */
function estimate(
  drawn: readonly (ScoredDraw & ValuedAnswer)[],
  scores: readonly number[],
  options: z.output<typeof ppoSchema>,
  control: KlControl,
): { answers: EstimatedAnswer[]; kl: number; klPenalty: number } {
  const divergences = drawn.map(({ logprobs, referenceLogprobs }) =>
    Float64Array.from(logprobs, (logprob, t) => klOf(logprob, referenceLogprobs![t]!, options.klEstimator)),
  );
  const rewards = divergences.map((kl, i) => {
    const tokens = kl.map((nats) => -control.coefficient * nats);
    const penalty = drawn[i]!.ended ? 0 : (options.missingEosPenalty ?? 0);
    tokens[tokens.length - 1]! += scores[i]! - penalty;
    return tokens;
  });
  if (options.whitenRewards) whiten(rewards, { shift: false });
  const estimated = drawn.map(({ values }, i) => generalizedAdvantages(rewards[i]!, values, options));
  whiten(estimated.map(({ advantages }) => advantages));
  const kl = mean(divergences.map((nats) => nats.reduce((sum, v) => sum + v, 0)));
  return {
    answers: drawn.map(({ answer, logprobs, values, samplingWeights }, i) => ({
      answer,
      logprobs,
      values,
      ...(samplingWeights && { samplingWeights }),
      ...estimated[i]!,
    })),
    kl,
    klPenalty: control.coefficient * kl,
  };
}

/** An answer of the policy, with values for each of its tokens. */
interface EstimatedAnswer {
  readonly answer: AnsweredPrompt;
  /** Log-probability of each token under the policy at the time of the rollout, also if the bf16 sampler drew the answer. */
  readonly logprobs: ArrayLike<number>;
  /** Importance weight of each token, if the bf16 sampler drew it: see `truncatedRatios`. Default: 1. */
  readonly samplingWeights?: Float32Array | undefined;
  /** The value head's estimate before each token, when the answer was drawn. */
  readonly values: ArrayLike<number>;
  readonly advantages: ArrayLike<number>;
  readonly returns: ArrayLike<number>;
}

interface PpoStageOptions {
  /** The ratio is clipped to [1 − cliprange, 1 + cliprange]. */
  cliprange: number;
  /** Clipping distance of a value from the rollout's value. */
  cliprangeValue: number;
  /** Weight of the value loss. */
  vfCoef: number;
  /** The sampler's temperature: log-probabilities use the scaled logits. */
  temperature: number;
  sequenceLength: number;
  /** Number of answers in a micro-batch. */
  answers: number;
}

/**
 * The stage of proximal policy optimization, with a value head on the policy's trunk. The loss is the mean over all tokens of a step's
 * answers.
 */
export function ppoStage(options: PpoStageOptions): Stage<RolloutBatch<EstimatedAnswer>> {
  const { answers: slots, sequenceLength } = options;
  const count = ({ answers }: RolloutBatch<EstimatedAnswer>) => answers.reduce((n, a) => n + answerLength(a.answer), 0);
  return {
    name: "ppo",
    count,
    collate(batch, total) {
      const { answers } = batch;
      const rows = batchRows(batch, slots, sequenceLength);
      const { ids, targets, lengths } = rows.inputs;
      return {
        inputs: {
          ids,
          targets,
          lengths,
          oldLogprobs: atAnswers(rows, (s, i) => answers[s]!.logprobs[i]!),
          oldValues: atAnswers(rows, (s, i) => answers[s]!.values[i]!),
          advantages: atAnswers(rows, (s, i) => answers[s]!.advantages[i]!),
          returns: atAnswers(rows, (s, i) => answers[s]!.returns[i]!),
          tokenWeights: atAnswers(rows, () => 1 / total),
          policyWeights: atAnswers(rows, (s, i) => (answers[s]!.samplingWeights?.[i] ?? 1) / total),
        },
        tokens: rows.tokens,
        counted: count(batch),
      };
    },
    loss({ forward, rows, model }) {
      const vector = (name: string) => input(name, "f32", [rows]);
      const pass = forward();
      const logprobs = targetLogprobs({ hidden: pass.hidden, head: tempered(pass.head, options.temperature) });
      const values = rowValues(pass, model);
      const oldLogprobs = vector("oldLogprobs");
      const { losses, ratio } = clippedPolicyLoss({ logprobs, oldLogprobs, advantages: vector("advantages") }, options);
      const errors = clippedValueLoss({ values, oldValues: vector("oldValues"), returns: vector("returns") }, options);
      const policyLoss = sum(mul(losses, vector("policyWeights")));
      const valueLoss = sum(mul(errors, vector("tokenWeights")));
      return { loss: add(policyLoss, scale(valueLoss, options.vfCoef)), policyLoss, valueLoss, ratio };
    },
    shares: ["policyLoss", "valueLoss"],
    metrics(outputs, batches) {
      const ratios = answerTokens(batches, sequenceLength).map(({ micro, row }) => outputs[micro]!.ratio![row]!);
      const total = (name: string) => outputs.reduce((n, o) => n + o[name]![0]!, 0);
      return {
        ...meanReport(batches),
        policyLoss: total("policyLoss"),
        valueLoss: total("valueLoss"),
        clipRatio: ratios.filter((r) => Math.abs(r - 1) > options.cliprange).length / ratios.length,
        // Schulman's estimate of the divergence from the policy of the rollout.
        approxKl: mean(ratios.map((r) => r - 1 - Math.log(r))),
      };
    },
  };
}
