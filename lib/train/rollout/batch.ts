import type { Metrics } from "../loop/stage.ts";
import {
  type AnsweredPrompt,
  type AnswerRows,
  answerLength,
  answerRows,
  firstAnswerRow,
  slotsOf,
} from "../preference/sequences.ts";

/** Answers of a micro-batch, and the report of their rollout. */
export interface RolloutBatch<Item> {
  readonly answers: readonly Item[];
  readonly report: Metrics;
}

/** What every item of a rollout has. */
interface Answered {
  readonly answer: AnsweredPrompt;
}

/** Places the answers of a micro-batch in its slots. */
export function batchRows({ answers }: RolloutBatch<Answered>, slots: number, sequenceLength: number): AnswerRows {
  return answerRows(
    slotsOf(
      answers.map(({ answer }) => answer),
      slots,
    ),
    sequenceLength,
  );
}

/** Returns for each answer token of a step its item, the index of its micro-batch, and the row there that predicts it. */
export function answerTokens<Item extends Answered>(batches: readonly RolloutBatch<Item>[], sequenceLength: number) {
  return batches.flatMap(({ answers }, micro) =>
    answers.flatMap((item, slot) => {
      const first = firstAnswerRow(item.answer, slot, sequenceLength);
      return Array.from({ length: answerLength(item.answer) }, (_, i) => ({ item, micro, row: first + i }));
    }),
  );
}
