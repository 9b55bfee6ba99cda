import { HeddleError } from "../core/errors.ts";

/**
 * Patterns of answers in which the model declines or does not know. They are matched anywhere in the answer, after lowercasing and
 * normalizing apostrophes. A caller's texts or regular expressions replace all of them.
 */
export const DECLINE_PATTERNS: readonly RegExp[] = [
  /\b(?:do(?:es)? not|don't|doesn't|did not|didn't|cannot|can't|could not|couldn't) (?:\w+ )?(?:know|answer|say|tell|find|determine|have (?:\w+ )?(?:information|answer|knowledge))\b/,
  /\b(?:no|not enough|insufficient|lack(?:ing)?) (?:\w+ )?(?:information|knowledge|data|idea|answer)\b/,
  /\b(?:not|un)(?: ?sure| ?certain| ?known| ?aware)\b/,
  /\b(?:is|are)(?: not|n't) (?:\w+ )?(?:known|mentioned|given|specified|stated)\b/,
  /\bunanswerable\b/,
  /\b(?:never heard of|there is no such|there's no such|does not exist|doesn't exist)\b/,
  /\b(?:none of the above|n\/a)\b/,
];

/** Whether an answer declines, that is, says that the model does not know. */
export type Declines = (answer: string) => boolean;

/** How to recognize declines: regular expressions, case-insensitive texts that the answer contains, or a function. */
export type DeclineOption = Declines | readonly (string | RegExp)[];

/** Returns the function that recognizes declines. @throws HeddleError INVALID_ARGUMENT */
export function declinesBy(option: DeclineOption = DECLINE_PATTERNS): Declines {
  if (typeof option === "function") return option;
  if (!Array.isArray(option) || option.some((p) => typeof p !== "string" && !(p instanceof RegExp)))
    throw new HeddleError("INVALID_ARGUMENT", "declines: expected a function, or texts and regular expressions");
  const tests = option.map((pattern: string | RegExp) =>
    typeof pattern === "string"
      ? (answer: string) => answer.includes(plain(pattern))
      : // With the flags g and y, `test` would continue at the previous match.
        (answer: string) => new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")).test(answer),
  );
  return (answer) => {
    const text = plain(answer);
    return tests.some((test) => test(text));
  };
}

function plain(text: string): string {
  return text.toLowerCase().replace(/[’‘ʼ]/g, "'").replace(/\s+/g, " ").trim();
}
