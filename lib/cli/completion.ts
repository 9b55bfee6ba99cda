import type { Completion } from "../generate/index.ts";
import { shortFloat } from "./output.ts";

/** What --json prints of an answer: the fields of a Completion, those of its usage beside the others. */
export function completionJson({ usage, logprobs, top, ...completion }: Completion): object {
  return {
    ...completion,
    logprobs: logprobs.map(shortFloat),
    ...(top && { top: top.map((row) => row.map((t) => ({ ...t, logprob: shortFloat(t.logprob) }))) }),
    promptTokens: usage.promptTokens,
    completionTokens: usage.completionTokens,
    ...(usage.draftedTokens !== undefined && {
      draftedTokens: usage.draftedTokens,
      acceptedTokens: usage.acceptedTokens,
    }),
  };
}
