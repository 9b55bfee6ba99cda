import { z } from "zod";
import type { StageCard } from "./card.ts";
import { adapterShape, givenOptions, parseOptions, trainingShape } from "./options.ts";
import { Run } from "./run.ts";
import { runStage, type StageSetup, type Trainable } from "./run-stage.ts";
import type { Stage } from "./stage.ts";
import type { BatchSource, TrainEvent, TrainResult } from "./trainer.ts";

const schema = z.strictObject({ ...trainingShape, ...adapterShape });

/** Options of `train`. @interface */
export type TrainOptions = z.input<typeof schema> &
  Partial<Pick<StageSetup, "names" | "sequences" | "sequenceLength" | "signal" | "world">> & {
    /** What the model card says of the stage. */
    about?: Partial<StageCard> | undefined;
  };

/**
 * Runs a stage of one's own: batches, and a loss that the graph's functions describe (`heddle/graph`). Logging, evaluation, checkpoints,
 * resume, LoRA and replay are those of every stage.
 *
 * @throws HeddleError INVALID_ARGUMENT, NUMERICAL for a loss that is not finite, ABORTED after `signal` fired
 */
export function train<Batch>(
  base: Trainable,
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: TrainOptions,
): Run<TrainEvent, TrainResult> {
  const { names, sequences, sequenceLength, signal, world, about, ...rest } = givenOptions(options, stage.name);
  const parsed = parseOptions(schema, rest, stage.name);
  const card = { data: [], notes: "", evaluation: { name: "held-out data", metric: "loss" }, ...about };
  return new Run(() =>
    runStage(base, stage, source, parsed, { card, names, sequences, sequenceLength, signal, world }),
  );
}
