// Converts the AI SDK's call options to options of `model.respond`. Unsupported options become warnings.
import type { LanguageModelV4CallOptions, SharedV4Warning } from "@ai-sdk/provider";
import { nearestEffort, type ReasoningEffort } from "../answers/effort.ts";
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { wrappedSeed } from "../inference/negative-seed.ts";
import { AnswerForm } from "../language-model/chat/answer-format.ts";
import type { LanguageModel, RespondOptions } from "../language-model/index.ts";

/** Call options that are specific to heddle. They are given in `providerOptions.heddle`. */
export interface HeddleProviderOptions {
  /** Samples from tokens with at least this fraction of the likeliest token's probability. Default: the model's, else 0. */
  minP?: number | undefined;
  /** Divides positive and multiplies negative logits of tokens that occurred before. Default: the model's, else 1. */
  repetitionPenalty?: number | undefined;
  /** Values to add to the logits, by token id. */
  logitBias?: Record<string, number> | undefined;
  /** Whether to continue after the model's end tokens. */
  ignoreEos?: boolean | undefined;
  /** Whether an answer may have several tool calls if the tool choice requires a call. Default false. */
  parallelToolCalls?: boolean | undefined;
  /** Maximum number of tokens of the reasoning. */
  maxReasoningTokens?: number | undefined;
  /** Variables of the chat template. */
  variables?: Record<string, unknown> | undefined;
}

const OWN_NAMES: readonly (keyof HeddleProviderOptions)[] = [
  "minP",
  "repetitionPenalty",
  "logitBias",
  "ignoreEos",
  "parallelToolCalls",
  "maxReasoningTokens",
  "variables",
];

/** Converts a call's options. @throws HeddleError INVALID_ARGUMENT for invalid `providerOptions.heddle` */
export function respondOptions(
  model: LanguageModel,
  options: LanguageModelV4CallOptions,
): { options: RespondOptions; warnings: SharedV4Warning[] } {
  const warnings: SharedV4Warning[] = [];
  const unsupported = (feature: string, details?: string) =>
    warnings.push({ type: "unsupported", feature, ...(details !== undefined && { details }) });
  const own = ownOptions(options.providerOptions?.heddle);
  const tools: unknown[] = [];
  for (const tool of options.tools ?? []) {
    if (tool.type !== "function") {
      unsupported(`provider-defined tool ${tool.id}`);
      continue;
    }
    const { name, description, inputSchema: parameters } = tool;
    tools.push({ type: "function", function: { name, ...(description !== undefined && { description }), parameters } });
  }
  const { variables, ...sampling } = own;
  let reasoning = effortOf(options.reasoning);
  if (reasoning !== undefined)
    try {
      const form = new AnswerForm(model, { tools, variables });
      reasoning = nearestEffort(form.efforts, reasoning);
      form.effortVariables(reasoning);
    } catch (error) {
      if (!(error instanceof HeddleError) || error.code !== "UNSUPPORTED") throw error;
      unsupported("reasoning", error.message);
      reasoning = undefined;
    }
  const { toolChoice: choice, responseFormat: format } = options;
  return {
    warnings,
    options: {
      ...sampling,
      maxTokens: options.maxOutputTokens ?? model.generation.maxNewTokens ?? model.contextLength,
      temperature: options.temperature,
      topP: options.topP,
      topK: options.topK,
      presencePenalty: options.presencePenalty,
      frequencyPenalty: options.frequencyPenalty,
      stop: options.stopSequences,
      seed: wrappedSeed(options.seed),
      signal: options.abortSignal,
      contextOverflow: "stop",
      reasoning,
      ...(tools.length > 0 && { tools }),
      ...(variables && { variables }),
      ...(format?.type === "json" && {
        responseFormat: format.schema
          ? { type: "json_schema", schema: format.schema as Record<string, unknown> }
          : { type: "json_object" },
      }),
      ...(choice &&
        choice.type !== "auto" && {
          toolChoice: choice.type === "tool" ? { type: "function", function: { name: choice.toolName } } : choice.type,
        }),
    },
  };
}

/** Converts the AI SDK's reasoning effort to a ReasoningEffort. Returns undefined if the model decides. */
function effortOf(given: LanguageModelV4CallOptions["reasoning"]): ReasoningEffort | undefined {
  switch (given) {
    case undefined:
    case "provider-default":
      return undefined;
    case "max":
      return "xhigh";
    default:
      return given;
  }
}

function ownOptions(given: unknown): HeddleProviderOptions {
  if (given === undefined) return {};
  if (!isObject(given)) throw invalidArgument("providerOptions.heddle", "an object", given);
  for (const name of Object.keys(given))
    if (!(OWN_NAMES as readonly string[]).includes(name))
      throw invalidArgument("providerOptions.heddle", `only ${OWN_NAMES.join(", ")}`, name);
  return given as HeddleProviderOptions;
}
