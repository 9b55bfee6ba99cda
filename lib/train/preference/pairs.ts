import { input, mul, scale, sum, type TensorData, type Value } from "../../graph/index.ts";
import { mean } from "../../metrics/mean.ts";
import type { LossContext, LossOutputs, MicroBatch, Stage } from "../loop/stage.ts";
import type { StageCall } from "../loop/start-stage.ts";
import type { PeakRates } from "../options/stage-options.ts";
import { type PreferenceTrainable, preferencePeaks } from "./options.ts";
import { type PreferenceItems, readPairs } from "./prepare.ts";
import { type PreferenceSettings, type PreferenceStage, runPreference } from "./run-preference.ts";
import {
  type AnsweredPrompt,
  type AnswerRowOptions,
  type AnswerRows,
  answerLength,
  answerRows,
  perSlot,
  rowsOf,
  slotsOf,
} from "./sequences.ts";

/** A better and a worse answer to one prompt. */
export interface PreferencePair {
  readonly chosen: AnsweredPrompt;
  readonly rejected: AnsweredPrompt;
  /** Margin by which the chosen answer should win, if the row has a margin. */
  readonly margin?: number | undefined;
}

/** Log-probabilities of whole answers under the reference. */
export interface ReferencedPair extends PreferencePair {
  readonly reference: { chosen: number; rejected: number };
}

/** The size of a micro-batch of pairs. */
export interface PairBatchShape {
  sequenceLength: number;
  /** Number of pairs in a micro-batch. */
  pairs: number;
}

/** The cross-entropy of chosen answers in a loss. */
interface ChosenTerm {
  /** Weight of the cross-entropy in the loss. The metric nllLoss does not include this weight. */
  weight: number;
  /** Whether the cross-entropy includes the tokens of prompts. */
  prompts: boolean;
}

/** The parts in which stages over pairs differ. `Objective` holds the options that the loss reads. */
interface PairStage<Objective, Pair extends PreferencePair>
  extends Pick<PreferenceStage<PreferenceSettings & Objective, Pair>, "about" | "addHead"> {
  name: string;
  /** Default: preferencePeaks. */
  peaks?: PeakRates | undefined;
  /** Adds what the loss needs to the pairs, before the first step. Default: the pairs as they were read. */
  prepare?(
    base: PreferenceTrainable,
    pairs: PreferenceItems<PreferencePair>,
    options: PreferenceSettings & Objective,
    call: StageCall,
  ): Promise<PreferenceItems<Pair>>;
  /** Whether the last id of a sequence is an input too, for a head over the whole sequence. Default false. */
  whole?: boolean | undefined;
  /** Returns the term of `chosenCrossEntropy`; undefined if the loss has none. Default: none. */
  chosenTerm?(options: Objective): ChosenTerm | undefined;
  /** Returns further inputs of the loss, in addition to `pairWeights`, `chosenWeights` and the inputs of the rows. */
  inputs(batch: readonly Pair[], rows: AnswerRows, options: Objective & PairBatchShape): MicroBatch["inputs"];
  /**
   * Traces the loss. Its outputs include chosenRewards and rejectedRewards, (pairs) f32 each. With a chosenTerm they
   * also include nllLoss, the result of `chosenCrossEntropy`.
   */
  loss(context: LossContext, options: Objective & PairBatchShape): LossOutputs;
  /** Names of outputs (pairs) f32 whose means are metrics. Default: none. */
  means?: readonly string[] | undefined;
}

/**
 * Defines a stage over pairs of answers. It reads the pairs, places them in micro-batches, and reports the metrics of
 * rewards. The loss is the mean over pairs.
 * @returns the generator for `startStage`, and a function that builds the stage
 */
export function pairStage<Objective extends object, Pair extends PreferencePair = PreferencePair>(
  definition: PairStage<Objective, Pair>,
) {
  const stage = (options: Objective & PairBatchShape): Stage<readonly Pair[]> => {
    const { pairs } = options;
    const { whole = false, means = [] } = definition;
    const term = definition.chosenTerm?.(options);
    return {
      name: definition.name,
      count: (batch) => batch.length,
      // The cross-entropy of chosen answers is a mean over tokens, not over pairs. This is its divisor.
      ...(term && {
        weight: (batch: readonly Pair[]) => batch.reduce((tokens, { chosen }) => tokens + countedOf(chosen, term), 0),
      }),
      collate(batch, total, tokens) {
        const rows = pairRows(batch, options, { whole, promptTargets: (s) => term?.prompts === true && s < pairs });
        return {
          inputs: {
            ...rows.inputs,
            pairWeights: perSlot(batch, pairs, () => 1 / total),
            ...(term && { chosenWeights: chosenWeights(batch, options, term, tokens) }),
            ...definition.inputs(batch, rows, options),
          },
          tokens: rows.tokens,
          counted: batch.length,
        };
      },
      loss: (context) => definition.loss(context, options),
      ...(term && { shares: ["nllLoss"] }),
      metrics: (outputs, batches) => ({
        ...rewardMetrics(outputs, batches),
        ...Object.fromEntries(means.map((name) => [name, mean(pairValues(name, outputs, batches))])),
        ...(term && { nllLoss: outputs.reduce((total, o) => total + o.nllLoss![0]!, 0) / term.weight }),
      }),
    };
  };
  const run = runPreference<PreferenceSettings & Objective, Pair>({
    peaks: definition.peaks ?? preferencePeaks,
    about: definition.about,
    sequencesEach: 2,
    async items(base, options, call) {
      const pairs = await readPairs(base, definition.name, options, call);
      // Without `prepare`, Pair is PreferencePair.
      return definition.prepare ? definition.prepare(base, pairs, options, call) : (pairs as PreferenceItems<Pair>);
    },
    addHead: definition.addHead,
    stage: (options, { items: pairs, sequenceLength }) => stage({ ...options, pairs, sequenceLength }),
  });
  return { run, stage };
}

/**
 * Adds to a trace the mean of losses over a step's pairs: the share of this micro-batch.
 * @param losses (pairs) f32 @returns (1) f32
 */
export function meanOverPairs(losses: Value): Value {
  return sum(mul(losses, input("pairWeights", "f32", [losses.dim(0)])));
}

/**
 * Adds to a trace the cross-entropy of the chosen answers, times the weight of the chosenTerm. It is this micro-batch's
 * share of the mean over the counted tokens of a step.
 * @param logprobs (rows) f32, of the targets @returns (1) f32
 */
export function chosenCrossEntropy(logprobs: Value): Value {
  return scale(sum(mul(logprobs, input("chosenWeights", "f32", [logprobs.dim(0)]))), -1);
}

/** Returns a number for each sequence, chosen answers first; 0 for empty slots. */
export function perAnswer<Pair extends PreferencePair>(
  batch: readonly Pair[],
  pairs: number,
  value: (answer: AnsweredPrompt, pair: Pair) => number,
): Float32Array {
  const chosen = perSlot(batch, pairs, (pair) => value(pair.chosen, pair));
  const rejected = perSlot(batch, pairs, (pair) => value(pair.rejected, pair));
  return Float32Array.from([...chosen, ...rejected]);
}

/** Places the pairs of a micro-batch in one forward pass: all chosen answers, then all rejected ones. Empty slots are last in each half. */
function pairRows(
  batch: readonly PreferencePair[],
  { pairs, sequenceLength }: PairBatchShape,
  options: AnswerRowOptions,
): AnswerRows {
  const side = (name: "chosen" | "rejected") =>
    slotsOf(
      batch.map((pair) => pair[name]),
      pairs,
    );
  return answerRows([...side("chosen"), ...side("rejected")], sequenceLength, options);
}

/** Number of tokens of a chosen answer that its cross-entropy includes. */
function countedOf(chosen: AnsweredPrompt, { prompts }: ChosenTerm): number {
  return prompts ? rowsOf(chosen) : answerLength(chosen);
}

/** Returns the weight of each row in the cross-entropy of chosen answers. @returns (rows) f32 */
function chosenWeights(
  batch: readonly PreferencePair[],
  { pairs, sequenceLength }: PairBatchShape,
  term: ChosenTerm,
  tokens: number,
): Float32Array {
  const weights = new Float32Array(2 * pairs * sequenceLength);
  for (const [i, { chosen }] of batch.entries()) {
    const end = i * sequenceLength + rowsOf(chosen);
    weights.fill(term.weight / tokens, end - countedOf(chosen, term), end);
  }
  return weights;
}

type Outputs = readonly Readonly<Record<string, TensorData>>[];
type Batches = readonly (readonly unknown[])[];

/**
 * Mean rewards of chosen and rejected answers, their difference, and the share of pairs with a higher reward for the
 * chosen answer.
 */
function rewardMetrics(outputs: Outputs, batches: Batches) {
  const chosen = pairValues("chosenRewards", outputs, batches);
  const rejected = pairValues("rejectedRewards", outputs, batches);
  const wins = chosen.filter((reward, i) => reward > rejected[i]!).length;
  const [c, r] = [mean(chosen), mean(rejected)];
  return { rewardChosen: c, rewardRejected: r, rewardMargin: c - r, rewardAccuracy: wins / chosen.length };
}

/** The values of all pairs in an output with one number per pair. */
function pairValues(name: string, outputs: Outputs, batches: Batches): number[] {
  return outputs.flatMap((o, i) => [...o[name]!.subarray(0, batches[i]!.length)]);
}
