// What evaluations are asked, checked before anything is computed.
import { invalidArgument, withoutTokenizer } from "../core/errors.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { checkCalibrationOptions } from "../metrics/calibration.ts";
import type { AskOptions } from "./questions.ts";

/**
 * @param needed what is asked of it
 * @throws HeddleError INVALID_ARGUMENT for what is no model, or one without a tokenizer
 */
export function checkTextModel(model: LanguageModel, needed: "score" | "completeAll" | "model", name = "model"): void {
  if (typeof model !== "object" || model === null || model[needed] === undefined)
    throw invalidArgument(name, "a LanguageModel", model);
  if (!model.tokenizer) throw withoutTokenizer(name);
}

/** @throws HeddleError INVALID_ARGUMENT */
export function checkFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function") throw invalidArgument(name, "a function", value);
}

/** @throws HeddleError INVALID_ARGUMENT */
export function checkText(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "string") throw invalidArgument(name, "a string", value);
}

/** What tasks of questions and answers share. @throws HeddleError INVALID_ARGUMENT */
export function checkTaskOptions(options: AskOptions & { calibration?: unknown; onProgress?: unknown }): void {
  const { chat, system, template, calibration, onProgress } = options;
  if (chat !== undefined && typeof chat !== "boolean") throw invalidArgument("chat", "true or false", chat);
  checkText("system", system);
  checkText("template", template);
  checkFunction("onProgress", onProgress);
  if (calibration !== undefined) checkCalibrationOptions(calibration as object);
}
