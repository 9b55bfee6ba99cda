import type { Choice } from "../sequence.ts";

/** The results of a sampling program, by row. */
export interface SampleResults {
  token: Int32Array;
  logprob: Float32Array;
  topIds?: Int32Array;
  topLogprobs?: Float32Array;
  /** Set with `topIds`. */
  entropy?: Float32Array;
  logits?: Float32Array;
}

/**
 * Returns the result of one row.
 * @param stride number of candidates per row that the program reports
 * @param top number of candidates that the sequence asks for
 */
export function choiceOf(results: SampleResults, row: number, stride: number, top: number): Choice {
  const choice: Choice = { token: results.token[row]!, logprob: results.logprob[row]! };
  if (top > 0) {
    choice.topIds = results.topIds!.subarray(row * stride, row * stride + top);
    choice.topLogprobs = results.topLogprobs!.subarray(row * stride, row * stride + top);
    choice.entropy = results.entropy![row]!;
  }
  return choice;
}
