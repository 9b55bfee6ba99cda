// Classifies texts and pairs of texts with a model's classification head.
import { invalidArgument } from "../../core/errors.ts";
import { promptName } from "../../inference/sequence.ts";
import { classifierOf } from "../../models/heads.ts";
import { holding } from "../../models/model-view.ts";
import type { LanguageModel } from "../language-model.ts";
import { isEmptyList, isPrompt, type Prompt, type ReadTextOptions, textIds } from "../prompt.ts";
import { type Classification, classificationOf, classifierOutputs } from "./classify.ts";
import { isTextPair, pairIds, type TextPair, type TypedSequences } from "./text-pairs.ts";

/** A text, its token ids, or two texts that the model reads together. */
export type ClassifierInput = Prompt | TextPair;

/** Options of `logitsOfTexts`. */
interface ClassifyOptions extends ReadTextOptions {
  /** Names of the adapters that apply. Default: the active ones. */
  adapters?: readonly string[] | undefined;
}

/** Logits of texts, in order, and the total number of tokens. */
interface ClassifierLogits {
  logits: Float32Array[];
  tokens: number;
}

/** Returns the result for one text or pair, or an array for several. @throws HeddleError as `logitsOfTexts`, NUMERICAL */
export async function classifyTexts(
  model: LanguageModel,
  given: ClassifierInput | readonly ClassifierInput[],
  options: ReadTextOptions,
): Promise<Classification | Classification[]> {
  const isSingle = isTextPair(given) || (isPrompt(given) && !isEmptyList(given));
  const classifier = classifierOf(model.config, "sequence");
  const { logits } = await logitsOfTexts(model, given, options);
  const answers = logits.map((row) => classificationOf(classifier, row));
  return isSingle ? answers[0]! : answers;
}

/**
 * Returns the logits of texts or pairs.
 * @throws HeddleError UNSUPPORTED without a head, INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export async function logitsOfTexts(
  model: LanguageModel,
  given: ClassifierInput | readonly ClassifierInput[],
  { adapters, ...options }: ClassifyOptions,
): Promise<ClassifierLogits> {
  const { contextLength } = model;
  const { signal } = options;
  const work = async (held: Parameters<typeof classifierOutputs>[0]) => {
    const { ids, typeIds } = await sequencesOf(model, given, options);
    const logits = await classifierOutputs(held, ids, { signal, contextLength, typeIds });
    return { logits, tokens: ids.reduce((sum, { length }) => sum + length, 0) };
  };
  return holding(model.model, work, adapters);
}

async function sequencesOf(
  model: LanguageModel,
  given: ClassifierInput | readonly ClassifierInput[],
  options: ReadTextOptions,
): Promise<Pick<TypedSequences, "ids"> & { typeIds?: TypedSequences["typeIds"] }> {
  const list = isTextPair(given) ? [given] : given;
  if (!Array.isArray(list) || !list.some(isTextPair)) return { ids: await textIds(list, model, options) };
  const other = list.findIndex((one) => !isTextPair(one));
  if (other >= 0)
    throw invalidArgument(
      promptName(other, list.length, "text"),
      "a pair { text, textPair }, as the others are",
      list[other],
    );
  return pairIds(list, model, options);
}
