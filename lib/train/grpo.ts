import { input, mul, sum } from "../graph/index.ts";
import { type GrpoOptions, grpoLoss } from "./objectives/grpo.ts";
import { average } from "./preference/pairs.ts";
import { tempered } from "./preference/scorer.ts";
import { type AnsweredPrompt, answerLength, answerRows, atAnswers, targetLogprobs } from "./preference/sequences.ts";
import type { Metrics, Stage } from "./stage.ts";

/** How the losses of tokens make one: see TRL's `loss_type`. */
export const grpoLossTypes = ["grpo", "dapo", "dr_grpo"] as const;
export type GrpoLossType = (typeof grpoLossTypes)[number];

/** An answer that the policy gave, and how much better it was than the others to its prompt. */
export interface JudgedAnswer {
  readonly answer: AnsweredPrompt;
  readonly advantage: number;
  /** Log-probability of each of its tokens when they were drawn. */
  readonly logprobs: ArrayLike<number>;
  /** The same under the reference, for a beta above 0. */
  readonly referenceLogprobs?: ArrayLike<number> | undefined;
  /** Whether it takes no part in the loss (an answer that was cut off). */
  readonly masked?: boolean | undefined;
}

/** Answers of a micro-batch, and what their rollout reports. */
export interface JudgedBatch {
  readonly answers: readonly JudgedAnswer[];
  readonly report: Metrics;
}

export interface GrpoStageOptions extends GrpoOptions {
  /**
   * grpo: the mean over an answer's tokens, then over answers. dapo: the mean over all tokens of the step. dr_grpo: the sum over
   * tokens, over answers · maxCompletionLength.
   */
  lossType: GrpoLossType;
  maxCompletionLength: number;
  /** Of the sampler: log-probabilities are those of its logits. */
  temperature: number;
  sequenceLength: number;
  /** Answers of a micro-batch. */
  answers: number;
}

/** Group-relative policy optimisation and its variants, of answers that were drawn and judged before. */
export function grpoStage(options: GrpoStageOptions): Stage<JudgedBatch> {
  const { answers: places, sequenceLength, lossType, importanceSamplingLevel, temperature } = options;
  const lengthOf = (a: JudgedAnswer) => (a.masked ? 0 : answerLength(a.answer));
  return {
    name: "grpo",
    count: ({ answers }) => (lossType === "dapo" ? answers.reduce((n, a) => n + lengthOf(a), 0) : answers.length),
    collate({ answers }, total) {
      const rows = answerRows(
        Array.from({ length: places }, (_, i) => answers[i]?.answer),
        sequenceLength,
      );
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
          oldLogprobs: atAnswers(rows, (s, i) => answers[s]!.logprobs[i]!),
          advantages: atAnswers(rows, (s) => answers[s]!.advantage),
          tokenWeights: atAnswers(rows, (s) => weight(answers[s]!)),
          ...reference,
          ...shares,
        },
        tokens: rows.tokens,
        counted: this.count({ answers, report: {} }),
      };
    },
    loss({ forward, rows }) {
      const vector = (name: string) => input(name, "f32", [rows]);
      const { hidden, head } = forward();
      const { losses, ratio, kl } = grpoLoss(
        {
          logprobs: targetLogprobs({ hidden, head: tempered(head, temperature) }),
          oldLogprobs: vector("oldLogprobs"),
          advantages: vector("advantages"),
          ...(options.beta > 0 && { referenceLogprobs: vector("referenceLogprobs") }),
          ...(importanceSamplingLevel === "sequence" && {
            sequences: { ids: input("sequences", "i32", [rows]), count: places, share: vector("tokenShares") },
          }),
        },
        options,
      );
      return { loss: sum(mul(losses, vector("tokenWeights"))), ratio, ...(kl && { kl }) };
    },
    metrics(outputs, batches) {
      const tokens = outputs.flatMap((o, k) => {
        const { answers } = batches[k]!;
        return answers.flatMap(({ answer, advantage }, s) =>
          Array.from({ length: answerLength(answer) }, (_, i) => {
            const row = s * sequenceLength + answer.promptLength - 1 + i;
            return { ratio: o.ratio![row]!, kl: o.kl?.[row], advantage };
          }),
        );
      });
      const clipped = tokens.filter(({ ratio, advantage: a }) =>
        a < 0 ? ratio < 1 - options.epsilon : a > 0 && ratio > 1 + options.epsilonHigh,
      );
      return {
        ...meanReport(batches),
        clipRatio: clipped.length / tokens.length,
        ...(options.beta > 0 && { kl: average(tokens.map((t) => t.kl!)) }),
      };
    },
  };
}

/** The reports of a step's micro-batches: their mean, which is the rollout's where they come from one. */
export function meanReport(batches: readonly { report: Metrics }[]): Metrics {
  const names = Object.keys(batches[0]?.report ?? {});
  return Object.fromEntries(names.map((name) => [name, average(batches.map((b) => b.report[name]!))]));
}
