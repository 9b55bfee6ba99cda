// Argument checks of evaluations.
import { invalidArgument, withoutTokenizer } from "../core/errors.ts";
import { checkFlag, checkFunction, checkString } from "../core/option-values.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { checkCalibrationOptions } from "../metrics/calibration.ts";
import type { AskOptions } from "./questions.ts";

/**
 * Checks that `model` is a model with a tokenizer.
 * @param needed a member that only a model has
 * @throws HeddleError INVALID_ARGUMENT
 */
export function checkTextModel(model: LanguageModel, needed: "score" | "completeAll" | "model", name = "model"): void {
  if (typeof model !== "object" || model === null || model[needed] === undefined)
    throw invalidArgument(name, "a LanguageModel", model);
  if (!model.tokenizer) throw withoutTokenizer(name);
}

/** Checks the common options of question tasks. @throws HeddleError INVALID_ARGUMENT */
export function checkTaskOptions(options: AskOptions & { calibration?: unknown; onProgress?: unknown }): void {
  const { chat, system, template, calibration, onProgress } = options;
  checkFlag("chat", chat);
  checkString("system", system);
  checkString("template", template);
  checkFunction("onProgress", onProgress);
  if (calibration !== undefined) checkCalibrationOptions(calibration as object);
}
