import type { Completion, TopCandidate } from "../language-model/index.ts";
import { shortFloat } from "./terminal/output.ts";

/** Returns the --json form of an answer: the fields of a Completion, and those of its `usage` on the same level. */
export function completionJson({
  usage,
  logprobs,
  top,
  entropies,
  promptLogprobs,
  promptTop,
  ...completion
}: Completion): object {
  const shortly = (row: readonly TopCandidate[]) => row.map((t) => ({ ...t, logprob: shortFloat(t.logprob) }));
  return {
    ...completion,
    logprobs: logprobs.map(shortFloat),
    ...(top && { top: top.map(shortly) }),
    ...(entropies && { entropies: entropies.map(shortFloat) }),
    ...(promptLogprobs && { promptLogprobs: promptLogprobs.map((logprob) => logprob && shortFloat(logprob)) }),
    ...(promptTop && { promptTop: promptTop.map((row) => row && shortly(row)) }),
    ...usage,
  };
}
