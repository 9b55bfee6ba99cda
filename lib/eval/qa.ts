import { invalidArgument, throwIfAborted } from "../core/errors.ts";
import { pause } from "../core/slices.ts";
import type { RowSource } from "../data/rows.ts";
import { type LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import type { CalibrationOptions } from "../metrics/calibration.ts";
import { mean } from "../metrics/mean.ts";
import type { Outcome } from "./abstention.ts";
import { isAccepted, type Match, wordF1 } from "./answers.ts";
import { checkTaskOptions, checkTextModel } from "./arguments.ts";
import { resultOf, type TaskResult } from "./choice.ts";
import { type DeclineOption, declinesBy } from "./decline.ts";
import { type AskOptions, promptOf, readQuestions } from "./questions.ts";

/** Options of `questionAnswering`. */
export interface QaOptions extends AskOptions {
  /** `exact`: the whole answer must equal an accepted answer. `contains`: it must contain an accepted answer. Default exact. */
  match?: Match | undefined;
  /** Maximum number of tokens of an answer. Default 48. */
  maxTokens?: number | undefined;
  /** Texts that end an answer. Default: a line break for plain text, and none for a chat. */
  stop?: readonly string[] | undefined;
  /** Sampling temperature. 0 (default) is greedy. */
  temperature?: number | undefined;
  /** Seed of sampled answers. Default: 0. */
  seed?: number | undefined;
  /** How to recognize a decline. Default: DECLINE_PATTERNS. */
  declines?: DeclineOption | undefined;
  /**
   * The model's confidence in an answer. `sequence` (default): the probability of the whole answer. `token`: the
   * geometric mean of its tokens' probabilities, for answers of several sentences.
   */
  confidence?: "sequence" | "token" | undefined;
  /** Options of the calibration error. */
  calibration?: CalibrationOptions | undefined;
  /** Called after each batch of rows. */
  onProgress?: ((state: { done: number; total: number }) => void) | undefined;
  /** Aborts the call, which then rejects with ABORTED. */
  signal?: AbortSignal | undefined;
}

/** The result for one question. */
export interface QaAnswer extends Outcome {
  /** Location of the row: `file:line`. */
  where: string;
  /** The model's answer. */
  text: string;
  /** Probability of the answer, in [0, 1]: see the option `confidence`. */
  confidence: number;
  /** F1 score over words (`wordF1`); 0 for an unanswerable question. */
  f1: number;
}

/** The results of `questionAnswering`. */
export interface QaResult extends TaskResult<QaAnswer> {
  /** Mean F1 score over words of the answerable questions; NaN if there are none. */
  f1: number;
}

/** Number of questions in one call. The engine runs as many at once as it has room for. */
const BATCH = 64;
const OPTIONS = [
  ...["chat", "system", "template", "match", "maxTokens", "stop", "temperature", "seed", "declines", "confidence"],
  ...["calibration", "onProgress", "signal"],
];

/**
 * Evaluates question answering: the model answers freely, and the answer is compared with the accepted ones (`isAccepted`).
 * Rows: {question | prompt | messages, answer | answers, unanswerable?}. Declining an answerable question counts as a
 * wrong answer.
 * @throws HeddleError INVALID_FILE `file:line: …`, INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export async function questionAnswering(
  model: LanguageModel,
  rows: RowSource,
  options: QaOptions = {},
): Promise<QaResult> {
  rejectUnknownNames(options, OPTIONS);
  const { match = "exact", maxTokens = 48, temperature = 0, seed = 0, signal, onProgress } = options;
  if (match !== "exact" && match !== "contains") throw invalidArgument("match", "exact or contains", match);
  const { confidence = "sequence" } = options;
  if (confidence !== "sequence" && confidence !== "token")
    throw invalidArgument("confidence", "sequence or token", confidence);
  checkTextModel(model, "completeAll");
  checkTaskOptions(options);
  const declines = declinesBy(options.declines);
  const questions = await readQuestions(rows, "qa", signal);
  const prompts: Awaited<ReturnType<typeof promptOf>>[] = [];
  for (const question of questions) {
    prompts.push(await promptOf(model, question, options));
    await pause();
    throwIfAborted(signal, "qa");
  }
  const answers: QaAnswer[] = [];
  // Run the questions of chats first, then those of plain text, because their stop texts differ: in a chat, the model ends its turn itself.
  for (const [plain, indices] of [false, true].map((p) => [p, indicesOf(prompts, p)] as const)) {
    const stop = options.stop ?? (plain ? ["\n"] : []);
    for (let from = 0; from < indices.length; from += BATCH) {
      const part = indices.slice(from, from + BATCH);
      const completions = await model.completeAll(
        part.map((i) => prompts[i]!.ids),
        // If the context is full, the answer ends.
        { maxTokens, contextOverflow: "stop", temperature, seed, stop, signal },
      );
      for (const [place, { text, logprobs }] of completions.entries()) {
        const question = questions[part[place]!]!;
        const answer = text.trim();
        const sum = logprobs.reduce((a, b) => a + b, 0);
        const correct = !question.unanswerable && isAccepted(answer, question.answers, match);
        answers[part[place]!] = {
          where: question.row.where,
          text: answer,
          confidence: Math.exp(confidence === "sequence" ? sum : sum / Math.max(1, logprobs.length)),
          unanswerable: question.unanswerable,
          // An accepted answer is never a decline, even if it reads like one, such as "no data".
          declined: !correct && declines(answer),
          correct,
          f1: question.unanswerable ? 0 : wordF1(answer, question.answers),
        };
      }
      onProgress?.({ done: answers.filter(Boolean).length, total: questions.length });
    }
  }
  const answerable = answers.filter((a) => !a.unanswerable);
  return {
    ...resultOf(answers, (a) => a.confidence, options.calibration),
    f1: mean(answerable.map(({ f1 }) => f1)),
  };
}

function indicesOf(prompts: readonly { text?: string }[], plain: boolean): number[] {
  return prompts.map((_, i) => i).filter((i) => (prompts[i]!.text !== undefined) === plain);
}
