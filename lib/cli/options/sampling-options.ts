import type { GenerateOptions } from "../../language-model/index.ts";
import type { OptionSpecs } from "../command.ts";

/** Options of commands that generate text. */
export const samplingOptions = {
  "max-tokens": { kind: "integer", value: "N", about: "most new tokens" },
  temperature: { kind: "number", value: "T", about: "0 is greedy; the model's own, else 0.8" },
  "top-k": { kind: "integer", value: "K", about: "only the K likeliest tokens" },
  "top-p": { kind: "number", value: "P", about: "only the likeliest tokens that reach this probability together" },
  "min-p": { kind: "number", value: "P", about: "only tokens this many times as probable as the likeliest" },
  "repetition-penalty": { kind: "number", value: "R", about: "above 1: fewer repetitions" },
  "presence-penalty": { kind: "number", value: "P", about: "subtracted from logits of tokens that came already" },
  "frequency-penalty": { kind: "number", value: "P", about: "the same, for each time they came" },
  seed: { kind: "integer", value: "N", about: "same seed, same text" },
  "prompt-lookup-num-tokens": {
    kind: "integer",
    value: "N",
    about: "guess up to N tokens from the text so far: the same text, sooner where it repeats itself",
  },
  stop: { kind: "string", value: "TEXT", about: "text that ends the answer; may be repeated", repeated: true },
  "ignore-eos": { kind: "flag", about: "go on after the model's end token" },
  "context-overflow": {
    kind: "string",
    value: "error|stop|truncateLeft",
    about: "what to do when the context is full",
  },
} as const satisfies OptionSpecs;

interface Given {
  "max-tokens"?: number;
  temperature?: number;
  "top-k"?: number;
  "top-p"?: number;
  "min-p"?: number;
  "repetition-penalty"?: number;
  "presence-penalty"?: number;
  "frequency-penalty"?: number;
  seed?: number;
  "prompt-lookup-num-tokens"?: number;
  stop?: string[];
  "ignore-eos"?: boolean;
  "context-overflow"?: string;
}

export function generateOptions(options: Given): GenerateOptions {
  return {
    maxTokens: options["max-tokens"],
    temperature: options.temperature,
    topK: options["top-k"],
    topP: options["top-p"],
    minP: options["min-p"],
    repetitionPenalty: options["repetition-penalty"],
    presencePenalty: options["presence-penalty"],
    frequencyPenalty: options["frequency-penalty"],
    seed: options.seed,
    promptLookupNumTokens: options["prompt-lookup-num-tokens"],
    stop: options.stop,
    ignoreEos: options["ignore-eos"],
    contextOverflow: options["context-overflow"] as GenerateOptions["contextOverflow"],
  };
}
