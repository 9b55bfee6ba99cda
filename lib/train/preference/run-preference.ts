import type { z } from "zod";
import type { RowSource } from "../../data/rows.ts";
import type { Model } from "../../models/model.ts";
import { ExampleSource } from "../examples/example-source.ts";
import { needPossible } from "../loop/run-checks.ts";
import { runStage, type Trainable } from "../loop/run-stage.ts";
import type { Stage } from "../loop/stage.ts";
import { namesOf, type StageCard } from "../loop/stage-card.ts";
import type { StageCall } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type PeakRates, peakOf, stepsOf } from "../options/stage-options.ts";
import { needSameVocabulary, type PreferenceTrainable, type preferenceStageShape } from "./options.ts";
import type { PreferenceItems } from "./prepare.ts";
import { withReference } from "./reference.ts";

/** Options that `runPreference` reads. */
export type PreferenceSettings = Omit<
  z.output<z.ZodObject<ReturnType<typeof preferenceStageShape<object>>>>,
  "learningRate"
> & {
  learningRate?: number | undefined;
  data: RowSource;
  refModel?: Trainable | undefined;
};

/** The parts in which preference stages differ. */
export interface PreferenceStage<Options extends PreferenceSettings, Item> {
  peaks: PeakRates;
  about: Omit<StageCard, "data">;
  /** Number of sequences that an item takes in a forward pass. */
  sequencesEach: number;
  /** Reads the items, and scores them with the reference if the loss needs one. */
  items(base: PreferenceTrainable, options: Options, call: StageCall): Promise<PreferenceItems<Item>>;
  /** Adds a head to the model. @returns the names of the weights to train */
  addHead?(model: Model, options: Options): Promise<readonly string[]>;
  /** Builds the stage. @param shape number of items in a micro-batch, and length of a sequence */
  stage(options: Options, shape: { items: number; sequenceLength: number }): Stage<readonly Item[]>;
}

/** Returns the generator of a preference stage, for `startStage`. */
export function runPreference<Options extends PreferenceSettings, Item>(definition: PreferenceStage<Options, Item>) {
  return async function* run(
    base: PreferenceTrainable,
    options: Options,
    call: StageCall,
  ): AsyncGenerator<TrainEvent, TrainResult, void> {
    const { perDeviceTrainBatchSize: items, refModel, seed, evalBatches } = options;
    if (refModel) needSameVocabulary("refModel", refModel.model, base.model);
    const { train, heldOut, sequenceLength, reference } = await definition.items(base, options, call);
    const examples = new ExampleSource(train, { heldOut, batchSize: items, seed, evalBatches });
    const source = reference === undefined ? examples : withReference(examples, reference);
    const maxSteps = stepsOf(options, train.length, call.world);
    const settled = { ...options, maxSteps, learningRate: peakOf(definition.peaks, options) };
    needPossible(source, settled); // check this before addHead replaces the model's head
    const names = await (definition.addHead && call.preparation.change(() => definition.addHead!(base.model, options)));
    return yield* runStage(base, definition.stage(options, { items, sequenceLength }), source, settled, {
      ...call,
      card: { data: namesOf(options.data), ...definition.about },
      names,
      sequences: definition.sequencesEach * items,
      sequenceLength,
    });
  };
}
