import { add, cast, input, mul, reshape, scale, sum } from "../graph/index.ts";
import { valueHeadOutput } from "../models/heads.ts";
import { meanReport } from "./grpo.ts";
import { clippedPolicyLoss, clippedValueLoss } from "./objectives/ppo.ts";
import { average } from "./preference/pairs.ts";
import { tempered } from "./preference/scorer.ts";
import { type AnsweredPrompt, answerLength, answerRows, atAnswers, targetLogprobs } from "./preference/sequences.ts";
import type { Metrics, Stage } from "./stage.ts";

/** An answer that the policy gave, and what belongs to each of its tokens. */
export interface EstimatedAnswer {
  readonly answer: AnsweredPrompt;
  /** Log-probability when it was drawn. */
  readonly logprobs: ArrayLike<number>;
  /** The value head's estimate then. */
  readonly values: ArrayLike<number>;
  readonly advantages: ArrayLike<number>;
  readonly returns: ArrayLike<number>;
}

/** Answers of a micro-batch, and what their rollout reports. */
export interface EstimatedBatch {
  readonly answers: readonly EstimatedAnswer[];
  readonly report: Metrics;
}

export interface PpoStageOptions {
  /** The ratio is cut to [1 − cliprange, 1 + cliprange]. */
  cliprange: number;
  /** How far a value may move from the one at the rollout. */
  cliprangeValue: number;
  /** Weight of the value loss. */
  vfCoef: number;
  /** Of the sampler: log-probabilities are those of its logits. */
  temperature: number;
  sequenceLength: number;
  /** Answers of a micro-batch. */
  answers: number;
}

/** Proximal policy optimisation with a value head on the policy's trunk: the mean over all tokens of a step's answers. */
export function ppoStage(options: PpoStageOptions): Stage<EstimatedBatch> {
  const { answers: places, sequenceLength } = options;
  const count = ({ answers }: EstimatedBatch) => answers.reduce((n, a) => n + answerLength(a.answer), 0);
  return {
    name: "ppo",
    count,
    collate(batch, total) {
      const { answers } = batch;
      const rows = answerRows(
        Array.from({ length: places }, (_, i) => answers[i]?.answer),
        sequenceLength,
      );
      const { ids, targets } = rows.inputs;
      return {
        inputs: {
          ids,
          targets,
          oldLogprobs: atAnswers(rows, (s, i) => answers[s]!.logprobs[i]!),
          oldValues: atAnswers(rows, (s, i) => answers[s]!.values[i]!),
          advantages: atAnswers(rows, (s, i) => answers[s]!.advantages[i]!),
          returns: atAnswers(rows, (s, i) => answers[s]!.returns[i]!),
          tokenWeights: atAnswers(rows, () => 1 / total),
        },
        tokens: rows.tokens,
        counted: count(batch),
      };
    },
    loss({ forward, rows, model }) {
      const vector = (name: string) => input(name, "f32", [rows]);
      const pass = forward();
      const logprobs = targetLogprobs({ hidden: pass.hidden, head: tempered(pass.head, options.temperature) });
      const values = reshape(valueHeadOutput(pass, model.config, cast(pass.hidden, "f32")), [rows]);
      const oldLogprobs = vector("oldLogprobs");
      const { losses, ratio } = clippedPolicyLoss({ logprobs, oldLogprobs, advantages: vector("advantages") }, options);
      const errors = clippedValueLoss({ values, oldValues: vector("oldValues"), returns: vector("returns") }, options);
      const weights = vector("tokenWeights");
      const [policyLoss, valueLoss] = [sum(mul(losses, weights)), sum(mul(errors, weights))];
      return { loss: add(policyLoss, scale(valueLoss, options.vfCoef)), policyLoss, valueLoss, ratio };
    },
    metrics(outputs, batches) {
      const ratios = outputs.flatMap((o, k) =>
        batches[k]!.answers.flatMap(({ answer }, s) => {
          const first = s * sequenceLength + answer.promptLength - 1;
          return [...o.ratio!.subarray(first, first + answerLength(answer))];
        }),
      );
      const total = (name: string) => outputs.reduce((n, o) => n + o[name]![0]!, 0);
      return {
        ...meanReport(batches),
        policyLoss: total("policyLoss"),
        valueLoss: total("valueLoss"),
        clipRatio: ratios.filter((r) => Math.abs(r - 1) > options.cliprange).length / ratios.length,
        // Schulman's estimate of the divergence from the policy of the rollout.
        approxKl: average(ratios.map((r) => r - 1 - Math.log(r))),
      };
    },
  };
}
