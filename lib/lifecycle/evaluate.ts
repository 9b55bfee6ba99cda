import { multipleChoice, perplexity, type QaAnswer, questionAnswering } from "../eval/index.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { ClozeRow, EvaluationSets, QuestionRow } from "./recipe/evaluation-sets.ts";
import type { Recipe } from "./recipe/recipe.ts";
import { isRight } from "./recipe/score.ts";
import type { Measurement, Sample } from "./types.ts";

/** Maximum number of tokens of an answer, about twice the longest correct one. */
const ANSWER_TOKENS = 32;
/** Number of confidence bins of the calibration error. */
const BINS = 10;

interface EvaluateOptions {
  /** The evaluation sets. Default: those for the report. */
  sets?: EvaluationSets;
  /** Whether to ask questions. False for a model that was never shown how to answer. */
  questions: boolean;
  signal?: AbortSignal | undefined;
}

/** Measures a model on all held-out data, with greedy decoding. */
export async function evaluate(
  model: LanguageModel,
  recipe: Recipe,
  { sets = recipe.evaluation, questions, signal }: EvaluateOptions,
): Promise<Measurement> {
  const { bitsPerByte } = await perplexity(model, recipe.corpus.heldOut, signal ? { signal } : {});
  const capitals = await clozeShare(model, sets.cloze, signal);
  const asked = questions ? await questionFigures(model, sets, signal) : undefined;
  return {
    ...asked,
    metrics: { bitsPerByte, capitals, ...asked?.metrics },
    samples: await samplesOf(model, recipe, questions, signal),
    candidates: await candidatesOf(model, signal),
  };
}

/**
 * Returns a score for choosing checkpoints of preference tuning. It is the share of exact answers, minus a quarter of
 * the share of invented answers, minus the calibration error.
 */
export async function developmentScore(
  model: LanguageModel,
  { seenFacts, newCountries, madeUp }: EvaluationSets,
  signal?: AbortSignal,
): Promise<Record<"score" | "answerable" | "invented" | "ece", number>> {
  const { answers, ece } = await ask(model, [...seenFacts, ...newCountries, ...madeUp], signal);
  const real = seenFacts.length + newCountries.length;
  const answerable = share(answers.slice(0, real).map(({ correct }) => correct));
  const invented = 1 - share(answers.slice(real).map(({ declined }) => declined));
  return { score: answerable - invented / 4 - ece, answerable, invented, ece };
}

async function clozeShare(model: LanguageModel, rows: readonly ClozeRow[], signal?: AbortSignal): Promise<number> {
  const completions = await model.completeAll(
    rows.map(({ prompt }) => prompt),
    { maxTokens: 14, temperature: 0, ...(signal && { signal }) },
  );
  return share(rows.map(({ capital }, i) => isRight(completions[i]!.text, capital)));
}

async function questionFigures(
  model: LanguageModel,
  { seenFacts, newCountries, madeUp, choice }: EvaluationSets,
  signal?: AbortSignal,
): Promise<Omit<Measurement, "samples" | "candidates">> {
  const { answers, ece, calibration } = await ask(model, [...seenFacts, ...newCountries, ...madeUp], signal);
  const facts = seenFacts.length;
  const answerable = facts + newCountries.length;
  const right = answers.map(({ correct }) => correct);
  const declined = answers.map((answer) => answer.declined);
  const chosen = await multipleChoice(model, choice, { signal });
  return {
    metrics: {
      exactMatch: share(right.slice(0, facts)),
      answerableExactMatch: share(right.slice(0, answerable)),
      inventedRate: 1 - share(declined.slice(answerable)),
      ece,
    },
    newCountries: share(right.slice(facts, answerable)),
    wronglyDeclined: share(declined.slice(0, answerable)),
    choice: chosen.accuracy,
    calibration: { ece, eceInterval: calibration.eceInterval, bins: calibration.bins, count: calibration.count },
  };
}

/** Asks the model questions, each in a new conversation, with greedy decoding. */
function ask(model: LanguageModel, rows: readonly QuestionRow[], signal?: AbortSignal) {
  return questionAnswering(model, rows, { maxTokens: ANSWER_TOKENS, calibration: { bins: BINS }, signal });
}

/** Returns samples, whose prompts are the same after every stage: two continuations, and answers to questions if `questions` is set. */
async function samplesOf(
  model: LanguageModel,
  { evaluation, names }: Recipe,
  questions: boolean,
  signal?: AbortSignal,
): Promise<Sample[]> {
  const options = { temperature: 0, ...(signal && { signal }) };
  const texts = ["Once upon a time, there was a little fox", "It is well known that the capital of Japan is"];
  const continued = await model.completeAll(texts, { ...options, maxTokens: 40 });
  const samples: Sample[] = texts.map((prompt, i) => ({ prompt, kind: "continue", text: continued[i]!.text }));
  if (!questions) return samples;
  const unanswerable = (question: string): QuestionRow => ({ question, answers: [], unanswerable: true });
  const rows: QuestionRow[] = [
    ...["France", "Egypt"].flatMap((name) =>
      evaluation.seenFacts.filter((row) => row.question.includes(name)).slice(0, 1),
    ),
    ...evaluation.newCountries.slice(0, 1),
    unanswerable(`What is the name of the capital of ${names.heldOut[0]}?`),
    unanswerable(`Please tell me the capital of ${names.heldOut[1]}.`),
    unanswerable("What is my name?"),
    { question: "What is the opposite of hot?", answers: ["It is cold."] },
    { question: "Hello!", answers: ["Hello! How can I help you?"] },
  ];
  const { answers } = await ask(model, rows, signal);
  for (const [i, { question }] of rows.entries())
    samples.push({ prompt: question, kind: "ask", text: answers[i]!.text, verdict: verdictOf(answers[i]!) });
  return samples;
}

function verdictOf({ unanswerable, declined, correct }: QaAnswer): NonNullable<Sample["verdict"]> {
  if (unanswerable) return declined ? "right" : "invented";
  return correct ? "right" : declined ? "declined" : "wrong";
}

async function candidatesOf(model: LanguageModel, signal?: AbortSignal): Promise<Measurement["candidates"]> {
  const { top } = await model.complete("The capital of France is", {
    maxTokens: 1,
    temperature: 0,
    topLogprobs: 8,
    ...(signal && { signal }),
  });
  return (top?.[0] ?? []).map(({ text, logprob }) => ({ text, probability: Math.exp(logprob) }));
}

function share(values: readonly boolean[]): number {
  return values.filter(Boolean).length / values.length;
}
