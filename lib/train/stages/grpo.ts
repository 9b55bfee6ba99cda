import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { flag, real, whole } from "../../core/schema-parts.ts";
import { input, mul, sum } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { mean } from "../../metrics/mean.ts";
import { tempered } from "../../models/forward.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { deviation, groupAdvantages, rewardScales } from "../losses/advantages.ts";
import { grpoLoss, importanceSamplingLevels, type GrpoOptions as Objective } from "../losses/grpo.ts";
import { type Given, option } from "../options/option.ts";
import { KL_ALIASES, peakLearningRate } from "../options/stage-options.ts";
import { preferencePeaks } from "../preference/options.ts";
import { type AnsweredPrompt, answerLength, atAnswers, targetLogprobs } from "../preference/sequences.ts";
import { answerTokens, batchRows, type RolloutBatch } from "../rollout/batch.ts";
import { type PolicyOptions, policyStageShape } from "../rollout/options.ts";
import { meanReport, runPolicy } from "../rollout/run-policy.ts";

/** How token losses are aggregated: see TRL's `loss_type`. */
const grpoLossTypes = ["grpo", "dapo", "dr_grpo"] as const;
type GrpoLossType = (typeof grpoLossTypes)[number];

const grpoShape = {
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(preferencePeaks),
  /** Number of answers to each prompt, which are compared with each other. Default 8. */
  numGenerations: option(whole(2).default(8), "answers per prompt, compared with each other", {
    aliases: "groupsize numsamples",
  }),
  /** Number of answers to each prompt in an evaluation. Default: numGenerations. */
  numGenerationsEval: option(whole(1).optional(), "answers per prompt in evaluations", { otherwise: "numGenerations" }),
  /** Number of passes over a rollout's answers (μ in the paper). Default 1. */
  numIterations: option(whole(1).default(1), "passes over the answers of a rollout"),
  /**
   * Number of micro-batches that one rollout fills. Default: gradientAccumulationSteps, so that every step has a new
   * rollout.
   */
  stepsPerGeneration: option(whole(1).optional(), "micro-batches per rollout", {
    otherwise: "gradientAccumulationSteps",
  }),
  /** Weight of the divergence from the reference; at 0 no reference is needed. Default 0. */
  beta: option(real(0).default(0), "weight of the KL divergence; 0 disables it and loads no reference model", {
    aliases: KL_ALIASES,
  }),
  /** Ratios are clipped to [1 − epsilon, 1 + epsilonHigh]. Default 0.2. */
  epsilon: option(real(0, 1).default(0.2), "clip probability ratios to [1 − epsilon, 1 + epsilonHigh]", {
    aliases: "clipepsilon",
  }),
  /** Upper clipping bound, see epsilon. DAPO recommends 0.28. Default: epsilon. */
  epsilonHigh: option(real(0).optional(), "upper clip range; DAPO recommends 0.28", { otherwise: "epsilon" }),
  /** Upper bound of the ratios of answers with a negative advantage. It must exceed 1 + epsilonHigh. Default: none. */
  delta: option(
    real(1).optional(),
    "upper bound of ratios of answers with negative advantage; must exceed 1 + epsilonHigh",
    { otherwise: "none" },
  ),
  /** How token losses are aggregated, as TRL's `loss_type`. Default "dapo". */
  lossType: option(z.enum(grpoLossTypes).default("dapo"), "how token losses are aggregated"),
  /** Whether ratios are per token, or per sequence (GSPO). Default "token". */
  importanceSamplingLevel: option(
    z.enum(importanceSamplingLevels).default("token"),
    "importance ratio per token, or per answer (GSPO)",
  ),
  /** Divisor of advantages: the standard deviation of a prompt's rewards, of the whole rollout's rewards, or none. Default "group". */
  scaleRewards: option(
    z.enum(rewardScales).default("group"),
    "divide advantages by the standard deviation of a prompt's rewards (group), a rollout's (batch), or not",
  ),
  /**
   * Leave answers truncated at maxCompletionLength out of the loss. As in TRL, `dapo` divides by the tokens of the other answers, and the
   * other loss types by the number of all answers. Default false.
   */
  maskTruncatedCompletions: option(
    flag().default(false),
    "exclude answers truncated at maxCompletionLength from the loss",
  ),
};

/** The strict schema of the options of group-relative policy optimization, as in a configuration file. */
export const grpoSchema = z
  .strictObject({
    ...policyStageShape,
    ...grpoShape,
  })
  .superRefine((options, context) => {
    const { perDeviceTrainBatchSize, numGenerations, delta, epsilon, epsilonHigh = epsilon } = options;
    const perRollout = perDeviceTrainBatchSize * (options.stepsPerGeneration ?? options.gradientAccumulationSteps);
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (perRollout % numGenerations !== 0)
      refuse(
        "numGenerations",
        `a divisor of the ${perRollout} answers of a rollout (perDeviceTrainBatchSize · stepsPerGeneration)`,
      );
    if (delta !== undefined && delta <= 1 + epsilonHigh)
      refuse("delta", `a number above 1 + epsilonHigh, ${1 + epsilonHigh}`);
  });

/** Options of `grpo`. */
export interface GrpoOptions<Base = LanguageModel> extends Given<typeof grpoShape>, PolicyOptions<Base> {}

/**
 * Group-relative policy optimization (Shao et al. 2024). The model answers each prompt several times, and rewards rate
 * the answers. Answers that are better than other answers to the same prompt become likelier. Rows are `{ prompt, … }`;
 * further fields are passed to the reward functions. The generation engine draws the answers, with the current weights
 * or with the sampler, their copy in bf16 (rolloutDtype). The ratio always uses the log-probabilities of the policy.
 * Answers that the sampler draws get importance weights (importanceSamplingCap). The same seed draws the same answers.
 * Variants: DAPO is lossType "dapo" with epsilonHigh 0.28. GSPO is importanceSamplingLevel "sequence". Dr. GRPO is
 * lossType "dr_grpo" with scaleRewards "none".
 *
 * Metrics: reward, rewardStd (within groups), rewards/<name> of each reward, completionLength, endedShare, clipRatio.
 * If the sampler draws the answers, also samplingWeight, the mean importance weight. With beta, also kl. The loss is
 * not a measure of progress: at the first step of a rollout it is near 0 by construction.
 *
 * @throws HeddleError INVALID_ARGUMENT, INVALID_FILE `file:line: …` for a row, NUMERICAL for a reward or a loss that is
 * not finite, ABORTED
 * @example
 * const short = ({ completions }) => completions.map((text) => -text.length / 100);
 * await grpo(model, { prompts: "prompts.jsonl", rewards: [rewardModel, short], rewardWeights: [1, 0.1], numGenerations: 8 });
 */
export function grpo<Base extends LanguageModel>(base: Base, options: GrpoOptions<Base>): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "grpo", schema: grpoSchema }, options, run);
}

const run = runPolicy<z.output<typeof grpoSchema>, MeasuredAnswer, JudgedAnswer>({
  name: "grpo",
  peaks: preferencePeaks,
  about: {
    notes: "Tuned on its own answers, scored by rewards (GRPO).",
    evaluation: { name: "held-out prompts", metric: "GRPO loss" },
  },
  needsReference: ({ beta }) => beta > 0,
  plan: (options) => ({
    answersEach: options.numGenerations,
    answersEachEval: options.numGenerationsEval,
    microBatches: options.stepsPerGeneration ?? options.gradientAccumulationSteps,
    passes: options.numIterations,
    shuffle: false,
  }),
  rollouts(options, policy) {
    const { gradientAccumulationSteps: micros, stepsPerGeneration = micros, numIterations } = options;
    // If one step uses up a rollout, the weights have not changed since its answers were drawn. The step's forward pass
    // then yields the old log-probabilities.
    const passYieldsOld = !policy.drawsWithOwnLogprobs && numIterations === 1 && micros % stepsPerGeneration === 0;
    return {
      async measure(drawn, score) {
        const scored =
          passYieldsOld || policy.drawsWithOwnLogprobs ? [] : await score(drawn.map(({ answer }) => answer));
        return drawn.map(({ logprobs }, i) => ({
          ...(!passYieldsOld && { logprobs: scored[i]?.logprobs ?? Float32Array.from(logprobs) }),
          ...(policy.drawsFromCopy && { samplerLogprobs: Float32Array.from(logprobs) }),
        }));
      },
      estimate(drawn, { rewards, report }, { answersEach: count }) {
        const advantages = groupAdvantages(rewards, count, options.scaleRewards);
        const deviations = Array.from({ length: drawn.length / count }, (_, p) =>
          deviation(rewards.slice(p * count, (p + 1) * count)),
        );
        return {
          answers: drawn.map(({ ended, scores: _, ...drawn }, i) => ({
            ...drawn,
            advantage: advantages[i]!,
            ...(options.maskTruncatedCompletions && !ended && { masked: true }),
          })),
          report: { rewardStd: mean(deviations), ...report },
        };
      },
      stage: (shape) =>
        grpoStage({
          ...options,
          ...shape,
          epsilonHigh: options.epsilonHigh ?? options.epsilon,
          delta: options.delta,
          oldLogprobs: !passYieldsOld,
          samplerLogprobs: policy.drawsFromCopy,
        }),
    };
  },
});

/** Log-probabilities of each token of a drawn answer. */
type MeasuredAnswer = Pick<JudgedAnswer, "logprobs" | "samplerLogprobs">;

/** An answer of the policy, with its advantage over the other answers to its prompt. */
interface JudgedAnswer {
  readonly answer: AnsweredPrompt;
  readonly advantage: number;
  /** Log-probability of each token under the policy when the answer was drawn. Needed by a stage with oldLogprobs. */
  readonly logprobs?: ArrayLike<number> | undefined;
  /** Log-probability of each token under the sampler that drew it. Needed by a stage with samplerLogprobs. */
  readonly samplerLogprobs?: ArrayLike<number> | undefined;
  /** Log-probability of each token under the reference. Needed for a beta above 0. */
  readonly referenceLogprobs?: ArrayLike<number> | undefined;
  /** Whether the answer is left out of the loss, because it was truncated. */
  readonly masked?: boolean | undefined;
}

interface GrpoStageOptions extends Objective {
  /**
   * grpo: the mean over an answer's tokens, then over answers. dapo: the mean over all tokens of the step. dr_grpo: the sum over tokens,
   * divided by answers · maxCompletionLength.
   */
  lossType: GrpoLossType;
  maxCompletionLength: number;
  /** The sampler's temperature: log-probabilities use the scaled logits. */
  temperature: number;
  sequenceLength: number;
  /** Number of answers in a micro-batch. */
  answers: number;
  /**
   * Whether answers come with log-probabilities under the policy when they were drawn. If not, the policy must not have
   * changed since then. Default true.
   */
  oldLogprobs?: boolean | undefined;
  /** Whether answers have log-probabilities under the sampler that drew them. Default false. */
  samplerLogprobs?: boolean | undefined;
}

/** The stage of group-relative policy optimization and its variants, over answers with advantages. */
export function grpoStage(options: GrpoStageOptions): Stage<RolloutBatch<JudgedAnswer>> {
  const { answers: slots, sequenceLength, lossType, importanceSamplingLevel, temperature } = options;
  const { oldLogprobs: comesWithOld = true, samplerLogprobs: comesFromSampler = false } = options;
  const lengthOf = (a: JudgedAnswer) => (a.masked ? 0 : answerLength(a.answer));
  return {
    name: "grpo",
    count: ({ answers }) => (lossType === "dapo" ? answers.reduce((n, a) => n + lengthOf(a), 0) : answers.length),
    collate(batch, total) {
      const { answers } = batch;
      const rows = batchRows(batch, slots, sequenceLength);
      const weight = (a: JudgedAnswer) => {
        if (a.masked) return 0;
        if (lossType === "dapo") return 1 / total;
        return 1 / (total * (lossType === "grpo" ? answerLength(a.answer) : options.maxCompletionLength));
      };
      const reference = options.beta > 0 && {
        referenceLogprobs: atAnswers(rows, (s, i) => answers[s]!.referenceLogprobs![i]!),
      };
      const shares = importanceSamplingLevel === "sequence" && {
        tokenShares: atAnswers(rows, (s) => 1 / answerLength(answers[s]!.answer)),
      };
      return {
        inputs: {
          ...rows.inputs,
          ...(comesWithOld && { oldLogprobs: atAnswers(rows, (s, i) => answers[s]!.logprobs![i]!) }),
          ...(comesFromSampler && { samplerLogprobs: atAnswers(rows, (s, i) => answers[s]!.samplerLogprobs![i]!) }),
          advantages: atAnswers(rows, (s) => answers[s]!.advantage),
          tokenWeights: atAnswers(rows, (s) => weight(answers[s]!)),
          ...reference,
          ...shares,
        },
        tokens: rows.tokens,
        counted: this.count(batch),
      };
    },
    loss({ forward, rows }) {
      const vector = (name: string) => input(name, "f32", [rows]);
      const { hidden, head } = forward();
      const { losses, ratio, kl, samplingWeight } = grpoLoss(
        {
          logprobs: targetLogprobs({ hidden, head: tempered(head, temperature) }),
          ...(comesWithOld && { oldLogprobs: vector("oldLogprobs") }),
          ...(comesFromSampler && { samplerLogprobs: vector("samplerLogprobs") }),
          advantages: vector("advantages"),
          ...(options.beta > 0 && { referenceLogprobs: vector("referenceLogprobs") }),
          ...(importanceSamplingLevel === "sequence" && {
            sequences: { ids: input("sequences", "i32", [rows]), count: slots, share: vector("tokenShares") },
          }),
        },
        options,
      );
      const loss = sum(mul(losses, vector("tokenWeights")));
      return { loss, ratio, ...(samplingWeight && { samplingWeight }), ...(kl && { kl }) };
    },
    metrics(outputs, batches) {
      const tokens = answerTokens(batches, sequenceLength)
        .filter(({ item }) => !item.masked)
        .map(({ item: { advantage }, micro, row }) => {
          const { ratio, kl, samplingWeight } = outputs[micro]!;
          return { ratio: ratio![row]!, kl: kl?.[row], sampling: samplingWeight?.[row], advantage };
        });
      const clipped = tokens.filter(({ ratio, advantage: a }) =>
        a < 0 ? ratio < 1 - options.epsilon : a > 0 && ratio > 1 + options.epsilonHigh,
      );
      if (tokens.length === 0) return meanReport(batches); // all answers were truncated and left out
      return {
        ...meanReport(batches),
        clipRatio: clipped.length / tokens.length,
        ...(comesFromSampler && { samplingWeight: mean(tokens.map((t) => t.sampling!)) }),
        ...(options.beta > 0 && { kl: mean(tokens.map((t) => t.kl!)) }),
      };
    },
  };
}
