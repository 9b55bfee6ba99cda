import { input, mul, sub, sum, type Value } from "../graph/index.ts";
import { rowInputs } from "../models/forward.ts";
import { type KtoLossType, ktoDivergence, ktoLoss } from "./objectives/kto.ts";
import { average } from "./preference/pairs.ts";
import { type AnsweredPrompt, answerRows, sequenceSums, targetLogprobs } from "./preference/sequences.ts";
import type { Stage } from "./stage.ts";

/** An answer that is good or bad, with its log-probability under the reference. */
export interface LabelledAnswer {
  readonly answer: AnsweredPrompt;
  readonly desirable: boolean;
  readonly reference: number;
  /** The prompt with another row's answer, and that one's log-probability under the reference: what the divergence is estimated from. */
  readonly mismatched: { answer: AnsweredPrompt; reference: number };
}

export interface KtoStageOptions {
  beta: number;
  lossType: KtoLossType;
  desirableWeight: number;
  undesirableWeight: number;
  sequenceLength: number;
  /** Answers of a micro-batch. */
  answers: number;
}

/**
 * Kahneman–Tversky optimisation. The mean over answers; the divergence from the reference is that of the micro-batch's mismatched
 * answers, which a second forward pass scores and no gradient goes through.
 */
export function ktoStage(options: KtoStageOptions): Stage<readonly LabelledAnswer[]> {
  const { answers, sequenceLength, beta, lossType } = options;
  const places = <T>(batch: readonly LabelledAnswer[], value: (row: LabelledAnswer) => T) =>
    Array.from({ length: answers }, (_, i) => (i < batch.length ? value(batch[i]!) : undefined));
  const numbers = (batch: readonly LabelledAnswer[], value: (row: LabelledAnswer) => number) =>
    Float32Array.from(places(batch, value), (v) => v ?? 0);
  return {
    name: "kto",
    count: (batch) => batch.length,
    collate(batch, total) {
      const own = answerRows(
        places(batch, (row) => row.answer),
        sequenceLength,
      );
      const weight = (row: LabelledAnswer) => (row.desirable ? options.desirableWeight : options.undesirableWeight);
      const inputs = {
        ...own.inputs,
        signs: numbers(batch, (row) => (row.desirable ? 1 : -1)),
        references: numbers(batch, (row) => row.reference),
        answerWeights: numbers(batch, (row) => weight(row) / total),
      };
      if (lossType !== "kto") return { inputs, tokens: own.tokens, counted: batch.length };
      const other = answerRows(
        places(batch, (row) => row.mismatched.answer),
        sequenceLength,
      );
      return {
        inputs: {
          ...inputs,
          otherIds: other.inputs.ids,
          otherTargets: other.inputs.targets,
          otherReferences: numbers(batch, (row) => row.mismatched.reference),
          otherWeights: numbers(batch, () => 1 / batch.length),
        },
        tokens: own.tokens + other.tokens,
        counted: batch.length,
      };
    },
    loss({ forward, rows }) {
      const vector = (name: string) => input(name, "f32", [answers]);
      const ratioOf = (pass: Parameters<typeof targetLogprobs>[0], targets: string, references: string): Value =>
        sub(sequenceSums(targetLogprobs(pass, targets), answers), vector(references));
      const ratio = ratioOf(forward(), "targets", "references");
      let kl: Value | undefined;
      if (lossType === "kto") {
        const other = forward({
          rows: { ids: input("otherIds", "i32", [rows]), positions: rowInputs(rows).positions },
        });
        kl = ktoDivergence(ratioOf(other, "otherTargets", "otherReferences"), vector("otherWeights"));
      }
      const { losses, rewards } = ktoLoss({ ratio, sign: vector("signs"), kl }, { beta });
      return { loss: sum(mul(losses, vector("answerWeights"))), rewards, ...(kl && { kl }) };
    },
    metrics(outputs, batches) {
      const rewards = (desirable: boolean) =>
        batches.flatMap((batch, k) =>
          batch.flatMap((row, i) => (row.desirable === desirable ? [outputs[k]!.rewards![i]!] : [])),
        );
      const [good, bad] = [rewards(true), rewards(false)];
      return {
        ...(good.length > 0 && { rewardChosen: average(good) }),
        ...(bad.length > 0 && { rewardRejected: average(bad) }),
        ...(good.length > 0 && bad.length > 0 && { rewardMargin: average(good) - average(bad) }),
        ...(lossType === "kto" && { kl: average(outputs.map((o) => o.kl![0]!)) }),
      };
    },
  };
}
