import { checkObject, HeddleError } from "./errors.ts";
import { nearest } from "./nearest-name.ts";

/** Maps option names of transformers, vLLM and OpenAI's API to those of this package, for error messages. */
const MEANT: Readonly<Record<string, string>> = {
  maxNewTokens: "maxTokens",
  maxCompletionTokens: "maxTokens",
  maxLength: "maxTokens",
  doSample: "temperature",
  stoppingCriteria: "stop",
  stopSequences: "stop",
  stopStrings: "stop",
  stopTokenIds: "stop",
  eosTokenId: "stop",
  logitsProcessor: "logitProcessors",
  logitsProcessors: "logitProcessors",
  numReturnSequences: "n",
  bestOf: "numBeams",
  logprobs: "topLogprobs",
  outputScores: "topLogprobs",
  suppressTokens: "logitBias",
  badWordsIds: "logitBias",
  guidedJson: "responseFormat",
  structuredOutputs: "responseFormat",
  loraRequest: "adapters",
};

/** Checks option names. @throws INVALID_ARGUMENT for an unknown name; the message suggests the likeliest known name */
export function rejectUnknownNames(options: object, known: Iterable<string>, what = "option"): void {
  checkObject(`${what}s`, options);
  const names = [...known];
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    // A name of more than 256 characters has no nearest name (see `nearest`), so it is not converted.
    const camel =
      name.length > 256 ? name : name.replace(/_+([a-z0-9])/gu, (_, letter: string) => letter.toUpperCase());
    const other = Object.hasOwn(MEANT, camel) ? MEANT[camel] : undefined;
    const near = [camel, other].find((n) => n !== undefined && names.includes(n)) ?? nearest(camel, names);
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${name}: expected ${near ? `a known ${what} (nearest: ${near})` : `one of ${names.join(", ")}`}, got an unknown name`,
    );
  }
}
