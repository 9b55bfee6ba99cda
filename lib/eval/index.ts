export type { Abstention } from "./abstention.ts";
export { isAccepted, normalizeAnswer, wordF1 } from "./answers.ts";
export {
  type ChoiceAnswer,
  type ChoiceOptions,
  type ChoiceResult,
  multipleChoice,
  type Normalization,
  type TaskResult,
} from "./choice.ts";
export {
  type ComparedModel,
  type CompareOptions,
  type CompareTrainedOptions,
  type ComparisonRow,
  compareClassifiers,
  compareTrainedClassifiers,
  LABEL_TEMPLATE,
} from "./compare.ts";
export { DECLINE_PATTERNS, type DeclineOption } from "./decline.ts";
export { documentsOf } from "./documents.ts";
export { type PerplexityOptions, type PerplexityResult, perplexity } from "./perplexity.ts";
export { type QaAnswer, type QaOptions, type QaResult, questionAnswering } from "./qa.ts";
export { type AskOptions, QUESTION_TEMPLATE } from "./questions.ts";
