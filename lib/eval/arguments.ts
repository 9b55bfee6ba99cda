// Argument checks of evaluations.
import { invalidArgument, withoutTokenizer } from "../core/errors.ts";
import { checkFlag, checkFunction } from "../core/unknown-options.ts";
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

/** Checks that an option is a string, if given. @throws HeddleError INVALID_ARGUMENT */
export function checkText(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "string") throw invalidArgument(name, "a string", value);
}

/** Checks the common options of question tasks. @throws HeddleError INVALID_ARGUMENT */
export function checkTaskOptions(options: AskOptions & { calibration?: unknown; onProgress?: unknown }): void {
  const { chat, system, template, calibration, onProgress } = options;
  checkFlag("chat", chat);
  checkText("system", system);
  checkText("template", template);
  checkFunction("onProgress", onProgress);
  if (calibration !== undefined) checkCalibrationOptions(calibration as object);
}
