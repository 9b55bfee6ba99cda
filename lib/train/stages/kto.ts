import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { type LocatedRow, rowError, rowsError } from "../../data/rows.ts";
import { input, mul, sub, sum, type Value } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { rowInputs } from "../../models/forward.ts";
import { ExampleSource } from "../examples/example-source.ts";
import type { KtoRow } from "../examples/row-types.ts";
import { runStage, sequenceLengthOf, tokenizerOf } from "../loop/run-stage.ts";
import type { Stage } from "../loop/stage.ts";
import { namesOf } from "../loop/stage-card.ts";
import { type StageCall, startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type KtoLossType, ktoDivergence, ktoLoss, ktoLossTypes } from "../losses/kto.ts";
import { batchShape } from "../options/optimizer-options.ts";
import { type Given, option, real, variant, whole } from "../options/option.ts";
import { KL_ALIASES, peakLearningRate, peakOf, stepsOf, trainingRows } from "../options/stage-options.ts";
import {
  needSameVocabulary,
  type PreferenceOptions,
  type PreferenceTrainable,
  preferenceStageShape,
  referenceShape,
  sequenceLengthFor,
} from "../preference/options.ts";
import { average } from "../preference/pairs.ts";
import { readSplit, settleWeights } from "../preference/prepare.ts";
import { fingerprint, withReference } from "../preference/reference.ts";
import { RowEncoder } from "../preference/rows.ts";
import { AnswerScorer } from "../preference/scorer.ts";
import { type AnsweredPrompt, answerRows, joined, sequenceSums, targetLogprobs } from "../preference/sequences.ts";

const peaks = { lora: 1e-5, weights: 1e-6 };

const ktoShape = {
  /** Rows {prompt, completion, label} with label true (good) or false: files (.jsonl, .parquet), or in a program the rows. */
  data: trainingRows<KtoRow>(
    ".jsonl or .parquet files of rows {prompt, completion, label}; label is true (good) or false",
  ),
  /** Number of answers in one micro-batch. Default 8. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).default(8), {
    help: "answers per micro-batch",
  }),
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(peaks),
  /** Strength of the penalty for diverging from the reference. Default 0.1. */
  beta: option(real(0).default(0.1), "strength of the penalty for leaving the reference model", {
    aliases: KL_ALIASES,
  }),
  /** The objective. Default "kto". */
  lossType: option(z.enum(ktoLossTypes).default("kto"), "loss function"),
  /** Weight of good answers. Default 1. */
  desirableWeight: option(real(0).default(1), "weight of good answers"),
  /** Weight of bad answers. Default 1. */
  undesirableWeight: option(real(0).default(1), "weight of bad answers"),
};

/** The strict schema of the options of Kahneman–Tversky optimisation, as a configuration file holds them. */
export const ktoSchema = z
  .strictObject({
    ...preferenceStageShape<KtoRow>(),
    ...referenceShape,
    ...ktoShape,
  })
  .superRefine(({ lossType, perDeviceTrainBatchSize }, context) => {
    if (lossType === "kto" && perDeviceTrainBatchSize < 2)
      context.addIssue({
        code: "custom",
        path: ["perDeviceTrainBatchSize"],
        message: "at least 2, because the divergence is estimated from answers to other prompts",
      });
  });

/** Options of `kto`. */
export interface KtoOptions<Base = LanguageModel>
  extends Given<typeof ktoShape>,
    Given<typeof referenceShape>,
    PreferenceOptions<Base, KtoRow> {}

/**
 * Kahneman–Tversky optimisation (Ethayarajh et al. 2024): learns from single answers that are good or bad. Rows are
 * `{ prompt, completion, label }` with label true (good) or false.
 *
 * Metrics: rewardChosen and rewardRejected (β times policy less reference log-probability, of good and of bad answers), rewardMargin, kl.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or misfit option, INVALID_FILE `file:line: …` for a row, or `file: …` if all labels
 *   are equal, NUMERICAL, ABORTED
 */
export function kto<Base extends PreferenceTrainable>(
  base: Base,
  options: KtoOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "kto", schema: ktoSchema }, options, start);
}

interface RatedAnswer {
  readonly answer: AnsweredPrompt;
  readonly desirable: boolean;
  readonly row: LocatedRow;
}

async function* start(
  base: PreferenceTrainable,
  options: z.output<typeof ktoSchema>,
  call: StageCall,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const { perDeviceTrainBatchSize: answers, refModel, dtype, seed, evalBatches } = options;
  const { signal } = call;
  if (refModel) needSameVocabulary("refModel", refModel.model, base.model);
  const encoder = new RowEncoder(tokenizerOf(base, "kto"), options);
  const limit = sequenceLengthOf(base.model, options);
  const { train, heldOut } = await readSplit<RatedAnswer>(options, {
    ...call,
    limit,
    read: (row) => [ratedAnswer(row, encoder)],
    sequences: ({ answer }) => [answer],
    replaced: (item, [answer]) => ({ ...item, answer: answer! }),
  });
  needBothKinds(train);
  const [mixed, mixedHeldOut] = [mismatched(train, limit), mismatched(heldOut, limit)];
  const longest = [...mixed, ...mixedHeldOut].reduce((n, m) => Math.max(n, m.answer.ids.length, m.other.ids.length), 1);
  const sequenceLength = sequenceLengthFor(longest, limit);
  await call.preparation.change(() => settleWeights(base.model, options));
  const scorer = new AnswerScorer(refModel?.model ?? base.model, { sequences: answers, sequenceLength, dtype });
  const referenced = async (list: ReturnType<typeof mismatched<RatedAnswer>>): Promise<LabelledAnswer[]> => {
    const own = await scorer.sums(
      list.map(({ answer }) => answer),
      signal,
    );
    const others = await scorer.sums(
      list.map(({ other }) => other),
      signal,
    );
    return list.map(({ answer, desirable, other }, i) => ({
      answer,
      desirable,
      reference: own[i]!,
      mismatched: { answer: other, reference: others[i]! },
    }));
  };
  let source: ExampleSource<LabelledAnswer>;
  let reference: string;
  try {
    const known = await referenced(mixed);
    source = new ExampleSource(known, {
      heldOut: await referenced(mixedHeldOut),
      batchSize: answers,
      seed,
      evalBatches,
    });
    reference = fingerprint(known.map((item) => item.reference));
  } finally {
    scorer.dispose();
  }
  const card = {
    data: namesOf(options.data),
    notes: "Tuned on answers that people found good or bad (KTO).",
    evaluation: { name: "held-out answers", metric: "KTO loss" },
  };
  const learningRate = peakOf(peaks, options);
  return yield* runStage(
    base,
    ktoStage({ ...options, sequenceLength, answers }),
    withReference(source, reference),
    { ...options, maxSteps: stepsOf(options, train.length, call.world), learningRate },
    {
      card,
      ...call,
      sequences: answers,
      sequenceLength,
    },
  );
}

function ratedAnswer(row: LocatedRow, encoder: RowEncoder): RatedAnswer {
  const { completion, label } = row.value;
  if (typeof label !== "boolean") throw rowError(row, "label", "true or false", label);
  return { answer: encoder.answer(row, encoder.prompt(row), "completion", completion), desirable: label, row };
}

function needBothKinds(items: readonly RatedAnswer[]): void {
  const good = items.filter((item) => item.desirable).length;
  if (good > 0 && good < items.length) return;
  throw rowsError(items[0]!.row, "rows with label true and with false", `${items.length} that are all ${good > 0}`);
}

/** Pairs each prompt with an answer to another prompt, truncated to fit. @internal */
export function mismatched<Item extends { readonly answer: AnsweredPrompt }>(items: readonly Item[], limit: number) {
  const places = otherPrompts(items.map(({ answer: { ids, promptLength } }) => ids.subarray(0, promptLength).join()));
  return items.map((item, i) => {
    const { ids, promptLength } = item.answer;
    const from = items[places[i]!]!.answer;
    const other = joined(ids.subarray(0, promptLength), from.ids.subarray(from.promptLength));
    return { ...item, other: { ...other, ids: other.ids.subarray(0, limit) } };
  });
}

/**
 * Returns for each row the index of a row with another prompt. Answers to one prompt are mostly consecutive, so the previous row would
 * often have the same prompt. The distance is therefore the length of the longest run of equal prompts; in data of pairs, a good answer
 * then gets a good one. If that row has the same prompt, the next earlier row with a different one is used. If all prompts are equal, it
 * is the previous row.
 */
function otherPrompts(prompts: readonly string[]): number[] {
  const count = prompts.length;
  const first = prompts.findIndex((prompt) => prompt !== prompts[0]);
  if (first < 0) return prompts.map((_, i) => (i + count - 1) % count);
  // Treat the rows as a ring that starts at the beginning of a run. For each row, find the last row before its run.
  const before: number[] = new Array(count);
  let [longest, length] = [0, 0];
  for (let k = 0; k < count; k++) {
    const [i, last] = [(first + k) % count, (first + k + count - 1) % count];
    const goesOn = k > 0 && prompts[i] === prompts[last];
    before[i] = goesOn ? before[last]! : last;
    length = goesOn ? length + 1 : 1;
    longest = Math.max(longest, length);
  }
  return prompts.map((prompt, i) => {
    const place = (i + count - longest) % count;
    return prompts[place] === prompt ? before[place]! : place;
  });
}

/** An answer that is good or bad, with its log-probability under the reference. */
export interface LabelledAnswer {
  readonly answer: AnsweredPrompt;
  readonly desirable: boolean;
  readonly reference: number;
  /** The prompt with an answer to another prompt, and its log-probability under the reference. The divergence is estimated from it. */
  readonly mismatched: { answer: AnsweredPrompt; reference: number };
}

export interface KtoStageOptions {
  beta: number;
  lossType: KtoLossType;
  desirableWeight: number;
  undesirableWeight: number;
  sequenceLength: number;
  /** Number of answers in a micro-batch. */
  answers: number;
}

/**
 * The stage of Kahneman–Tversky optimisation. The loss is the mean over answers. The divergence from the reference is estimated from the
 * micro-batch's mismatched answers, in a second forward pass without a gradient.
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
    metricCounts(batches) {
      const good = batches.flat().filter((row) => row.desirable).length;
      return { rewardChosen: good, rewardRejected: batches.flat().length - good };
    },
    derived: ({ rewardChosen, rewardRejected }) =>
      rewardChosen === undefined || rewardRejected === undefined ? {} : marginOf(rewardChosen, rewardRejected),
    metrics(outputs, batches) {
      const rewards = (desirable: boolean) =>
        batches.flatMap((batch, k) =>
          batch.flatMap((row, i) => (row.desirable === desirable ? [outputs[k]!.rewards![i]!] : [])),
        );
      const [good, bad] = [rewards(true), rewards(false)];
      return {
        ...(good.length > 0 && { rewardChosen: average(good) }),
        ...(bad.length > 0 && { rewardRejected: average(bad) }),
        ...(good.length > 0 && bad.length > 0 && marginOf(average(good), average(bad))),
        ...(lossType === "kto" && { kl: average(outputs.map((o) => o.kl![0]!)) }),
      };
    },
  };
}

const marginOf = (chosen: number, rejected: number) => ({ rewardMargin: chosen - rejected });
