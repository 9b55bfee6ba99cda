import type { z } from "zod";
import { Run } from "../../core/run.ts";
import type { Model } from "../../models/model.ts";
import { givenOptions, parseOptions } from "../options/parse-options.ts";
import type { CallOptions } from "../options/stage-options.ts";
import { stopTogether } from "../world/stop-together.ts";
import { type Preparation, preparing } from "./model-rollback.ts";
import type { StageSetup } from "./run-stage.ts";
import type { TrainEvent, TrainResult } from "./trainer.ts";
import { emitWarning } from "./warn.ts";

/** Arguments of a stage's call that are not options. `runStage` takes them as part of its setup. */
export type StageCall = Pick<StageSetup, "signal" | "world" | "shape"> & {
  warn(message: string): void;
  preparation: Preparation;
};

/**
 * Checks the options of a call at once, and returns its run. The model is restored if the call is rejected before its first step.
 * @throws HeddleError INVALID_ARGUMENT for an option
 */
export function startStage<Base extends { readonly model: Model }, S extends z.ZodObject>(
  base: Base,
  { name, schema }: { name: string; schema: S },
  given: CallOptions,
  start: (base: Base, options: z.output<S>, call: StageCall) => AsyncGenerator<TrainEvent, TrainResult, void>,
): Run<TrainEvent, TrainResult> {
  const { signal, world, onWarning: warn = emitWarning, ...rest } = givenOptions(given, name);
  const options = parseOptions(schema, rest, name);
  const { shape } = schema;
  const together = stopTogether(world, signal);
  return new Run(() =>
    preparing(base, (preparation) => start(base, options, { ...together, warn, preparation, shape })),
  );
}
