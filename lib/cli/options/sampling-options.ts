import type { GenerateOptions } from "../../language-model/index.ts";
import type { OptionSpecs } from "../command.ts";

/** Options of commands that generate text. */
export const samplingOptions = {
  "max-tokens": { kind: "integer", value: "N", about: "maximum number of new tokens" },
  temperature: {
    kind: "number",
    value: "T",
    about: "sampling temperature; 0 is greedy (default: the model's, else 0.8)",
  },
  "top-k": { kind: "integer", value: "K", about: "sample from the K most likely tokens only" },
  "top-p": {
    kind: "number",
    value: "P",
    about: "sample from the smallest set of most likely tokens with total probability P",
  },
  "min-p": {
    kind: "number",
    value: "P",
    about: "sample from tokens with at least P times the probability of the most likely one",
  },
  "repetition-penalty": {
    kind: "number",
    value: "R",
    about: "penalty on tokens already in the text; above 1 reduces repetition",
  },
  "presence-penalty": {
    kind: "number",
    value: "P",
    about: "value subtracted from the logits of tokens already generated",
  },
  "frequency-penalty": {
    kind: "number",
    value: "P",
    about: "value subtracted from a token's logit for each earlier occurrence",
  },
  seed: { kind: "integer", value: "N", about: "random seed; the same seed gives the same text" },
  "prompt-lookup-num-tokens": {
    kind: "integer",
    value: "N",
    about: "speculative decoding: draft up to N tokens from earlier text; same output, faster for repetitive text",
  },
  stop: { kind: "string", value: "TEXT", about: "text that ends generation; may be repeated", repeated: true },
  "ignore-eos": { kind: "flag", about: "continue after the model's EOS token" },
  "context-overflow": {
    kind: "string",
    value: "error|stop|truncateLeft",
    about: "what to do when the context is full (default: error; chat: truncateLeft)",
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

/** Returns the options of `generate` from those of the command line. */
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
