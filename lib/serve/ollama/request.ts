// Converts requests of Ollama's API to those of the core.
import type { AnswerForm } from "../../language-model/chat/answer-format.ts";
import type { GenerateOptions, LanguageModel } from "../../language-model/index.ts";
import type { Exchange } from "../core/context.ts";
import type { Models } from "../core/models.ts";
import { invalid, unsupported } from "../http/http-error.ts";
import { type Generating, parsedOptions } from "./schema.ts";

const LATEST = ":latest";

/** Returns the model's name in a request. Removes the tag `:latest` that Ollama's clients may add, unless a model has this very name. */
export function modelName(models: Models, given: string | undefined): string | undefined {
  if (!given?.endsWith(LATEST)) return given;
  try {
    return models.check(given);
  } catch {
    return given.slice(0, -LATEST.length);
  }
}

/** Returns a model's name as Ollama lists it. */
export function taggedName(name: string): string {
  return name.includes(":") ? name : name + LATEST;
}

/** Converts sampling options and the response format. @throws Refusal 400 */
export function generateOptions(
  { service: { settings } }: Exchange,
  model: LanguageModel,
  { options, format, logprobs, top_logprobs: top = 0 }: Generating,
): GenerateOptions {
  const given = parsedOptions(options);
  if (top > 0 && logprobs !== true) throw invalid("top_logprobs", "none unless logprobs is true", top);
  const { num_predict: most = model.generation.maxNewTokens ?? -1, seed } = given;
  // -1 and -2 mean that the answer may fill the context.
  const maxTokens = most < 0 ? model.contextLength : most;
  return {
    maxTokens: Math.min(maxTokens, settings.maxTokens ?? maxTokens),
    temperature: given.temperature,
    topK: given.top_k,
    topP: given.top_p,
    minP: given.min_p,
    seed: seed === undefined || seed < 0 ? undefined : seed,
    stop: given.stop,
    // A window of 0 tokens turns the penalty off.
    repetitionPenalty: given.repeat_last_n === 0 ? 1 : given.repeat_penalty,
    presencePenalty: given.presence_penalty,
    frequencyPenalty: given.frequency_penalty,
    topLogprobs: top,
    ...(format === "json" && { responseFormat: { type: "json_object" } }),
    ...(typeof format === "object" && { responseFormat: { type: "json_schema", schema: format } }),
    // Only the prompt must fit the context. The answer may end before it has the maximum number of tokens.
    contextOverflow: "stop",
  };
}

/** Returns the variables of the chat template for `think`. Without it the template's default applies. @throws HeddleError UNSUPPORTED */
export function thinkVariables(
  form: AnswerForm,
  think: Generating["think"],
): Readonly<Record<string, unknown>> | undefined {
  if (think === undefined) return undefined;
  const effort = typeof think === "string" ? think : undefined;
  return form.switchVariables(think !== false, { effort });
}

/** Whether an answer may begin with reasoning. */
export function mayThink(form: AnswerForm, think: Generating["think"]): boolean {
  return think === false ? form.alwaysReasons : form.canReason;
}

/** Refuses a request that only unloads a model. @throws Refusal 400 */
export function checkKeepAlive({ keep_alive: keep }: Generating): void {
  if (keep === 0 || (typeof keep === "string" && /^0+[a-z]*$/.test(keep)))
    throw unsupported(
      "keep_alive",
      "0 in a request without a prompt is not supported: the server unloads models itself",
    );
}
