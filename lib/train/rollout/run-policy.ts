import type { z } from "zod";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { mean } from "../../metrics/mean.ts";
import type { Model } from "../../models/model.ts";
import { MetricMeans } from "../loop/metric-mean.ts";
import { runStage, tokenizerOf } from "../loop/run-stage.ts";
import type { Metrics, Stage } from "../loop/stage.ts";
import { namesOf, type StageCard } from "../loop/stage-card.ts";
import type { StageCall } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type PeakRates, peakOf, stepsOf } from "../options/stage-options.ts";
import { AnswerScorer, type ScoredAnswer } from "../preference/scorer.ts";
import type { AnsweredPrompt } from "../preference/sequences.ts";
import { soloWorld } from "../world/world.ts";
import type { RolloutBatch } from "./batch.ts";
import { CompletionSamples } from "./completion-samples.ts";
import type { DrawnAnswer } from "./draw.ts";
import { type policyStageShape, promptsOf } from "./options.ts";
import { evaluatedPrompts, lengthReport, openPolicy, type Policy } from "./policy.ts";
import { Judge, type Judgement } from "./rewards.ts";
import { RolloutSource, type RolloutSourceOptions } from "./source.ts";

/** Options that `runPolicy` reads. */
type Settings = Omit<z.output<z.ZodObject<typeof policyStageShape>>, "learningRate"> & {
  learningRate?: number | undefined;
};

/** An answer drawn by a rank, with the score of each reward. */
export interface ScoredDraw {
  readonly answer: AnsweredPrompt;
  readonly ended: boolean;
  readonly scores: readonly (number | null)[];
  /** Log-probability of each token under the reference, if the stage needs one. */
  readonly referenceLogprobs?: ArrayLike<number> | undefined;
}

/** The size of a rollout. */
interface RolloutPlan {
  /** Number of answers to a prompt. */
  answersEach: number;
  /** Number of answers to a prompt in an evaluation. Default: answersEach. */
  answersEachEval?: number | undefined;
  /** Number of micro-batches that a rollout fills. */
  microBatches: number;
  /** Number of passes over the answers, each in a new order with `shuffle`. */
  passes: number;
  shuffle: boolean;
}

/** How a stage uses rollouts. */
interface Rollouts<Measured, Item> {
  /**
   * Computes what the loss needs from this rank's answers, such as log-probabilities.
   * @param score scores answers with the current weights
   */
  measure(
    drawn: readonly DrawnAnswer[],
    score: (answers: readonly AnsweredPrompt[]) => Promise<ScoredAnswer[]>,
  ): Promise<readonly Measured[]>;
  /**
   * Computes the training items from the answers of all ranks, and the rollout's report.
   * @param answersEach number of answers to a prompt, which are consecutive
   */
  estimate(
    drawn: readonly (ScoredDraw & Measured)[],
    judgement: Judgement,
    rollout: { answersEach: number; isEvaluation: boolean },
  ): RolloutBatch<Item>;
  /** As in RolloutSourceOptions. */
  memory?: RolloutSourceOptions<unknown, unknown>["memory"];
  /** Builds the stage. @param shape number of answers in a micro-batch, and length of a sequence */
  stage(shape: { answers: number; sequenceLength: number }): Stage<RolloutBatch<Item>>;
}

/** The parts in which stages that train on the model's own answers differ. */
interface PolicyStage<Options extends Settings, Measured, Item> {
  name: string;
  peaks: PeakRates;
  about: Omit<StageCard, "data">;
  needsReference(options: Options): boolean;
  /**
   * Adds a value head to the model. Its values are then computed when answers are scored.
   * @returns the names of the weights to train
   */
  addValueHead?(model: Model, options: Options): Promise<readonly string[]>;
  plan(options: Options): RolloutPlan;
  rollouts(options: Options, policy: Policy): Rollouts<Measured, Item>;
}

/** Rollout numbers from this one on belong to evaluations. */
const EVALUATIONS = 2 ** 31;

/** Returns the generator of a stage in which the model answers prompts, for `startStage`. */
export function runPolicy<Options extends Settings, Measured, Item>(definition: PolicyStage<Options, Measured, Item>) {
  return async function* run(
    base: LanguageModel,
    options: Options,
    call: StageCall,
  ): AsyncGenerator<TrainEvent, TrainResult, void> {
    const { signal, world = soloWorld } = call;
    const { model } = base;
    const { perDeviceTrainBatchSize: answers, seed, temperature, fp8 } = options;
    const judge = new Judge(options.rewards, options.rewardWeights, base);
    const { logCompletions, numCompletionsToPrint } = options;
    const samples = new CompletionSamples(
      logCompletions ? numCompletionsToPrint : 0,
      judge.names,
      tokenizerOf(base, definition.name),
    );
    const policy = await openPolicy(base, definition.name, options, {
      ...call,
      needsReference: definition.needsReference(options),
    });
    const { train, heldOut, sequenceLength, dtype } = policy;
    const names = await (definition.addValueHead &&
      call.preparation.change(() => definition.addValueHead!(model, options)));
    const { answersEach, answersEachEval = answersEach, microBatches, passes, shuffle } = definition.plan(options);
    const rollouts = definition.rollouts(options, policy);
    const answersTo = (rollout: number) => (rollout < EVALUATIONS ? answersEach : answersEachEval);
    // Created at the first rollout, because the trained weights are only then on the model.
    let scorer: AnswerScorer | undefined;
    const score = (list: readonly AnsweredPrompt[]) => {
      const values = definition.addValueHead !== undefined;
      scorer ??= new AnswerScorer(model, { sequences: answers, sequenceLength, dtype, fp8, temperature, values });
      return scorer.score(list, signal);
    };
    const source = new RolloutSource<ScoredDraw & Measured, Item>(train, {
      heldOut: evaluatedPrompts(heldOut, options, answersEachEval),
      promptsPerRollout: ((answers * microBatches) / answersEach) * world.size,
      world,
      batchSize: answers,
      passes,
      shuffle,
      seed,
      reference: policy.referenceMark,
      memory: rollouts.memory,
      async draw(prompts, rollout) {
        const drawn = await policy.draw(prompts, answersTo(rollout), { rollout, signal });
        const scores = await judge.scores(drawn, signal);
        const measured = await rollouts.measure(drawn, score);
        const references = await policy.reference?.tokens(
          drawn.map(({ answer }) => answer),
          signal,
        );
        return drawn.map(({ answer, ended }, i) => ({
          answer,
          ended,
          scores: scores[i]!,
          ...measured[i]!,
          ...(references && { referenceLogprobs: references[i]! }),
        }));
      },
      estimate(drawn, rollout) {
        const judgement = judge.judgement(drawn.map(({ scores }) => scores));
        const at = { answersEach: answersTo(rollout), isEvaluation: rollout >= EVALUATIONS };
        const { answers, report } = rollouts.estimate(drawn, judgement, at);
        const rated = drawn.map(({ answer, scores }, i) => {
          return { answer, scores, reward: judgement.rewards[i]!, item: answers[i] };
        });
        samples.set(rated, at);
        return { answers, report: { reward: mean(judgement.rewards), ...report, ...lengthReport(drawn) } };
      },
      dispose() {
        scorer?.dispose();
        policy.dispose();
      },
    });
    const maxSteps = stepsOf(options, train.length * answersEach * passes, world);
    const settled = { ...options, maxSteps, learningRate: peakOf(definition.peaks, options) };
    return yield* runStage(base, rollouts.stage({ answers, sequenceLength }), source, settled, {
      ...call,
      card: { data: namesOf(promptsOf(options)), ...definition.about },
      names,
      follow: (events) => samples.follow(events),
      sequences: answers,
      sequenceLength,
    });
  };
}

/**
 * Mean of the reports of a step's micro-batches. It equals the rollout's report if all micro-batches belong to one
 * rollout.
 */
export function meanReport(batches: readonly { report: Metrics }[]): Metrics {
  const means = new MetricMeans();
  for (const { report } of batches) means.add(report, 1);
  return means.of({});
}
