import { z } from "zod";
import { invalidArgument } from "../../core/errors.ts";
import { checkWhole } from "../../core/option-values.ts";
import { Run } from "../../core/run.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { givenOptions, parseOptions } from "../options/parse-options.ts";
import { type SharedOptions, sharedShape } from "../options/shared-options.ts";
import {
  type AdapterOptions,
  adapterShape,
  type CallOptions,
  type StepOptions,
  stepShape,
} from "../options/stage-options.ts";
import { stopTogether } from "../world/stop-together.ts";
import { checkedStage } from "./checked-stage.ts";
import { runStage, type StageSetup, type Trainable } from "./run-stage.ts";
import type { Stage } from "./stage.ts";
import type { StageCard } from "./stage-card.ts";
import type { BatchSource, TrainEvent, TrainResult } from "./trainer.ts";

/** The strict schema of the options that `train` passes on. */
export const trainSchema = z.strictObject({ ...sharedShape, ...stepShape, ...adapterShape });

const STAGE_PARTS = ["collate", "count", "loss"] as const;
const SOURCE_PARTS = ["next", "state", "restore", "dispose"] as const;

/** Options of `train`. */
export interface TrainOptions<Base = LanguageModel>
  extends SharedOptions<Base>,
    StepOptions,
    AdapterOptions,
    CallOptions,
    Partial<Pick<StageSetup, "names" | "sequences" | "sequenceLength">> {
  /** Description of the stage in the model card. Default: only its name. */
  about?: Partial<StageCard> | undefined;
}

/**
 * Runs a custom stage: batches, and a loss built from the graph's functions (`heddle/graph`). Logging, evaluation, checkpoints, resume,
 * LoRA and replay are as in every stage. Every micro-batch has `sequences` (default: perDeviceTrainBatchSize) of `sequenceLength`
 * positions (default: maxSeqLength). Rows that a batch does not fill are padding, which the loss must not count. Batches come from an
 * `ExampleSource` over examples in memory, or from a custom BatchSource.
 *
 * @throws HeddleError INVALID_ARGUMENT, also for invalid results of the stage's functions, NUMERICAL for a loss that is not finite,
 *   ABORTED after `signal` fired; errors of the stage's functions are passed through
 */
export function train<Batch, Base extends Trainable = Trainable>(
  base: Base,
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: TrainOptions<Base>,
): Run<TrainEvent, TrainResult> {
  if (typeof base?.model?.assertLive !== "function")
    throw invalidArgument("base", "a model, such as a LanguageModel", base);
  if (
    typeof stage?.name !== "string" ||
    stage.name === "" ||
    STAGE_PARTS.some((part) => typeof stage[part] !== "function")
  )
    throw invalidArgument("stage", "an object with name, collate, count and loss", stage);
  if (SOURCE_PARTS.some((part) => typeof source?.[part] !== "function"))
    throw invalidArgument("source", "a source of batches, such as an ExampleSource", source);
  const {
    names,
    sequences,
    sequenceLength,
    signal,
    world,
    onWarning: warn,
    about,
    ...rest
  } = givenOptions(options, stage.name);
  const parsed = parseOptions(trainSchema, rest, stage.name);
  for (const [key, count] of Object.entries({ sequences, sequenceLength }))
    if (count !== undefined) checkWhole(key, count, 1);
  const most = base.model.config.maxPositionEmbeddings;
  if (sequenceLength !== undefined && sequenceLength > most)
    throw invalidArgument("sequenceLength", `at most the model's ${most} positions`, sequenceLength);
  const card = { data: [], notes: "", evaluation: { name: "held-out data", metric: "loss" }, ...about };
  return new Run(() =>
    runStage(base, checkedStage(stage), source, parsed, {
      card,
      names,
      sequences,
      sequenceLength,
      ...stopTogether(world, signal),
      warn,
      shape: trainSchema.shape,
    }),
  );
}
