import { invalidArgument, throwIfAborted } from "../core/errors.ts";
import { pause } from "../core/slices.ts";
import type { RowSource } from "../data/rows.ts";
import { type Continuations, scoreContinuations } from "../inference/continuations.ts";
import { type LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import { type Calibration, type CalibrationOptions, calibration } from "../metrics/calibration.ts";
import { argmax } from "../metrics/classification.ts";
import { softmax } from "../metrics/temperature.ts";
import { commonPrefix, withoutClosing } from "../tokenizer/prompt-ids.ts";
import { type Abstention, abstentionOf, accuracyOf, type Outcome } from "./abstention.ts";
import { checkTaskOptions, checkTextModel } from "./arguments.ts";
import { type DeclineOption, declinesBy } from "./decline.ts";
import { type AskOptions, needRoom, promptOf, type Question, readQuestions } from "./questions.ts";

/** The unit of a choice's length, by which its log-likelihood is divided before choices are compared. @useDeclaredType */
export type Normalization = (typeof normalizations)[number];
const normalizations = ["none", "tokens", "characters", "bytes"] as const;

/** Options of `multipleChoice`. */
export interface ChoiceOptions extends AskOptions {
  /**
   * With `none` (default) the choice with the highest log-likelihood wins. In lm-evaluation-harness, `characters` (code
   * points) is acc_norm and `bytes` (UTF-8) is acc_bytes. For ASCII they are equal.
   */
  normalization?: Normalization | undefined;
  /** Recognizes choices that mean "I do not know". */
  declines?: DeclineOption | undefined;
  /** Options of the calibration error. */
  calibration?: CalibrationOptions | undefined;
  /** Called after each batch of rows. */
  onProgress?: ((state: { done: number; total: number }) => void) | undefined;
  /** Aborts the call, which then rejects with ABORTED. */
  signal?: AbortSignal | undefined;
}

/** The result for one question. */
export interface ChoiceAnswer extends Outcome {
  /** Location of the row: `file:line`. */
  where: string;
  /** Index of the likeliest choice. */
  choice: number;
  /** Probability of each choice: softmax of the normalized log-likelihoods. */
  probabilities: number[];
  /** Log-likelihoods before normalization. */
  logprobs: number[];
}

/** The metrics that every task reports, and the result for each question. */
export interface TaskResult<Answer> {
  /** Share of answerable questions that were answered correctly, or NaN if no question is answerable. */
  accuracy: number;
  /** Expected calibration error of the answers that are not declined, including invented ones. */
  ece: number;
  /** How often the model declined to answer. */
  abstention: Abstention;
  /** Number of questions. */
  count: number;
  /** How well the confidences match the share of correct answers. */
  calibration: Calibration;
  /** The answers in the order of the questions. */
  answers: Answer[];
}

/** The results of `multipleChoice`. */
export type ChoiceResult = TaskResult<ChoiceAnswer>;

const OPTIONS = ["chat", "system", "template", "normalization", "declines", "calibration", "onProgress", "signal"];

/**
 * Evaluates multiple choice by log-likelihood: each choice is scored as the continuation of the question, and the likeliest is the answer.
 * Rows: {question | prompt | messages, choices, answer, unanswerable?}.
 * @throws HeddleError INVALID_FILE `file:line: …`, INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export async function multipleChoice(
  model: LanguageModel,
  rows: RowSource,
  options: ChoiceOptions = {},
): Promise<ChoiceResult> {
  rejectUnknownNames(options, OPTIONS);
  const { normalization = "none", signal, onProgress } = options;
  if (!normalizations.includes(normalization))
    throw invalidArgument("normalization", "none, tokens, characters or bytes", normalization);
  checkTextModel(model, "model");
  checkTaskOptions(options);
  const declines = declinesBy(options.declines);
  const questions = await readQuestions(rows, "choice", signal);
  const scores = await choiceScores(model, questions, options, (done) =>
    onProgress?.({ done, total: questions.length }),
  );
  const answers = questions.map((question, q): ChoiceAnswer => {
    const compared = scores[q]!.map(({ logprob, lengths }) => logprob / lengths[normalization]);
    const choice = argmax(compared);
    const declined = declines(question.choices![choice]!);
    return {
      where: question.row.where,
      choice,
      probabilities: softmax(compared),
      logprobs: scores[q]!.map((s) => s.logprob),
      unanswerable: question.unanswerable,
      declined,
      correct: !question.unanswerable && choice === question.right,
    };
  });
  return resultOf(answers, (a) => a.probabilities[a.choice]!, options.calibration);
}

/**
 * @internal Computes the metrics of a task's answers. Declined questions are excluded from calibration, because they
 * have no answer that could be right or wrong.
 */
export function resultOf<Answer extends Outcome>(
  answers: Answer[],
  confidence: (answer: Answer) => number,
  options: CalibrationOptions | undefined,
): TaskResult<Answer> {
  const given = answers.filter((a) => !a.declined);
  const calibrated = calibration(
    given.map(confidence),
    given.map((a) => a.correct),
    options,
  );
  return {
    accuracy: accuracyOf(answers) ?? Number.NaN,
    ece: calibrated.ece,
    abstention: abstentionOf(answers),
    count: answers.length,
    calibration: calibrated,
    answers,
  };
}

interface Score {
  logprob: number;
  /** The divisor of the log-likelihood for each normalization. */
  lengths: Readonly<Record<Normalization, number>>;
}

async function choiceScores(
  model: LanguageModel,
  questions: readonly Question[],
  options: ChoiceOptions,
  onProgress: (done: number) => void,
): Promise<Score[][]> {
  const groups: Awaited<ReturnType<typeof groupOf>>[] = [];
  for (const question of questions) {
    const group = await groupOf(model, question, options);
    needRoom(model, question, group.prompt.length + Math.max(...group.continuations.map((ids) => ids.length)));
    groups.push(group);
    await pause();
    throwIfAborted(options.signal, "choice");
  }
  const { contextLength } = model;
  const logprobs = await scoreContinuations(model.model, groups, { contextLength, signal: options.signal, onProgress });
  return questions.map(({ choices }, q) =>
    choices!.map((choice, c) => {
      // Skip the tokens that belong to the question.
      const own = logprobs[q]![c]!.subarray(groups[q]!.from[c]!);
      const lengths = {
        none: 1,
        tokens: Math.max(1, own.length),
        characters: [...choice].length,
        bytes: Buffer.byteLength(choice),
      };
      return { logprob: own.reduce((a, b) => a + b, 0), lengths };
    }),
  );
}

/**
 * Returns the ids of a question and of its choices. Plain text is encoded together with each choice, because a tokenizer may merge characters
 * across the boundary. The prompt is then the common prefix of all encoded texts. `from` is, for each continuation, the number of leading
 * tokens that still belong to the question.
 */
async function groupOf(
  model: LanguageModel,
  question: Question,
  options: ChoiceOptions,
): Promise<Continuations & { from: number[] }> {
  const tokenizer = model.tokenizer!;
  const { signal } = options;
  const { text, ids } = await promptOf(model, question, options);
  const choices = question.choices!;
  const each = (encoded: (choice: string) => Promise<Uint32Array>) =>
    Promise.all(choices.map(async (choice) => Array.from(await encoded(choice))));
  if (text === undefined) {
    // In a chat, the answer directly follows the generation prompt, as in lm-evaluation-harness.
    const follows = { addSpecialTokens: false, addPrefixSpace: false, signal };
    const continuations = await each((choice) => tokenizer.encodeAsync(choice, follows));
    return { prompt: ids, continuations, from: choices.map(() => 0) };
  }
  // Parse special tokens as `promptOf` does. Otherwise the ids would differ from `ids` at the first special token, and the common prefix would
  // end there.
  const allowSpecial = question.prompt !== undefined;
  const isSpaced = /\s/.test(text.at(-1) ?? "");
  const whole = await each(async (choice) => {
    const space = isSpaced || /^\s/.test(choice) ? "" : " ";
    return withoutClosing(tokenizer, await tokenizer.encodeAsync(text + space + choice, { allowSpecial, signal }));
  });
  const starts = whole.map((all) => commonPrefix(all, ids));
  const shared = Math.min(...starts);
  if (shared === 0) {
    // No token is common to all texts. Score the whole texts after the BOS token, or after an EOS token if there is no BOS.
    const start = tokenizer.bosTokenId ?? tokenizer.eosTokenIds[0];
    if (start !== undefined) return { prompt: [start], continuations: whole, from: whole.map(() => 0) };
    return { prompt: [ids[0]!], continuations: whole.map((all) => all.slice(1)), from: whole.map(() => 0) };
  }
  return {
    prompt: ids.slice(0, shared),
    continuations: whole.map((all) => all.slice(shared)),
    from: starts.map((s) => s - shared),
  };
}
