// Checks of a run's options before the model is changed, so that a rejected run does not lose the model's head.
import { HeddleError } from "../../core/errors.ts";
import { learningRateSchedule } from "../../optim/schedule.ts";
import { checkOverwrite } from "../checkpoint/output-folder.ts";
import type { TrainingOptions } from "../options/parse-options.ts";
import type { BatchSource } from "./trainer.ts";

/**
 * Throws if a run with these options could not finish, regardless of the model.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function needPossible(source: Pick<BatchSource<unknown>, "evaluation">, options: TrainingOptions): void {
  needEvaluations(source, options);
  learningRateSchedule(options);
  checkOverwrite(options);
  const { outputDir, resume } = options;
  if (outputDir === undefined && resume !== false && resume !== "auto")
    throw new HeddleError("INVALID_ARGUMENT", "resume: expected an outputDir to resume from, got none");
}

/** Throws if evaluations are to be compared but none take place. @throws HeddleError INVALID_ARGUMENT */
function needEvaluations(source: Pick<BatchSource<unknown>, "evaluation">, options: TrainingOptions): void {
  const { loadBestModelAtEnd, earlyStoppingPatience, evaluate, evalSteps } = options;
  if (!loadBestModelAtEnd && earlyStoppingPatience === undefined) return;
  const name = loadBestModelAtEnd ? "loadBestModelAtEnd" : "earlyStoppingPatience";
  if (!source.evaluation && !evaluate)
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected evalData or evaluate to compare by, got neither`);
  if (!source.evaluation && options.metricForBestModel === undefined)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "metricForBestModel: expected the name of a metric that evaluate returns (required without evalData), got none",
    );
  if (evalSteps === undefined)
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected evalSteps, how often to evaluate, got none`);
}
