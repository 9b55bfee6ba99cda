// Checks option names, because unknown options would be silently ignored.
import { checkObject, type HeddleError } from "./errors.ts";
import { unknownName } from "./nearest-name.ts";

/** The option names of type `T`. TypeScript ensures that the table is complete. */
export type Names<T> = Readonly<Record<keyof T & string, true>>;

/** Maps option names of transformers, vLLM and OpenAI's API to those of this package, for error messages. */
const MEANT: Readonly<Record<string, readonly string[]>> = {
  // Tokenization
  addSpecial: ["addSpecialTokens"],
  allowedSpecial: ["allowSpecial"],
  disallowedSpecial: ["forbidSpecial"],
  skipSpecial: ["skipSpecialTokens"],
  chatTemplate: ["template"],
  enableThinking: ["variables"],
  returnOffsetsMapping: ["units"],
  maxLength: ["truncation", "maxTokens"],
  // Generation
  maxNewTokens: ["maxTokens"],
  maxCompletionTokens: ["maxTokens"],
  doSample: ["temperature"],
  stoppingCriteria: ["stop"],
  stopSequences: ["stop"],
  stopStrings: ["stop"],
  stopTokenIds: ["stop"],
  eosTokenId: ["stop"],
  logitsProcessor: ["logitProcessors"],
  logitsProcessors: ["logitProcessors"],
  numReturnSequences: ["n"],
  bestOf: ["numBeams"],
  logprobs: ["topLogprobs"],
  outputScores: ["topLogprobs"],
  suppressTokens: ["logitBias"],
  badWordsIds: ["logitBias"],
  guidedJson: ["responseFormat"],
  structuredOutputs: ["responseFormat"],
  loraRequest: ["adapters"],
};

/** Requires an options object whose names are all in `names`. @throws HeddleError INVALID_ARGUMENT */
export function checkNames<T>(options: T, names: Names<T>): void {
  checkObject("options", options);
  for (const name in options)
    if ((names as Record<string, boolean>)[name] !== true) throw unknownOption(name, Object.keys(names), "option");
}

/** Like checkNames, for a list of names. @param what the word for a name in messages */
export function rejectUnknownNames(options: object, known: Iterable<string>, what = "option"): void {
  checkObject(`${what}s`, options);
  const names = [...known];
  const name = Object.keys(options).find((given) => !names.includes(given));
  if (name !== undefined) throw unknownOption(name, names, what);
}

function unknownOption(name: string, known: readonly string[], what: string): HeddleError {
  // A name of more than 256 characters has no nearest name (see `nearest`), so it is not converted.
  const camel = name.length > 256 ? name : name.replace(/_+([a-z0-9])/gu, (_, letter: string) => letter.toUpperCase());
  const meant = Object.hasOwn(MEANT, camel) ? MEANT[camel]!.find((other) => known.includes(other)) : undefined;
  return unknownName(name, known.includes(camel) ? camel : (meant ?? camel), known, what);
}
