import { HeddleError } from "../core/errors.ts";

/**
 * Patterns of answers in which the model declines or does not know. They are matched anywhere in the answer, without regard to case, after
 * normalizing apostrophes and white space. A caller's texts or regular expressions replace all of them.
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

/**
 * How to recognize declines: texts that the answer contains, regular expressions, or a function. Texts and regular expressions ignore case,
 * even without the flag i. A regular expression is tried on the answer as it is, and on the answer with normalized apostrophes and white
 * space.
 */
export type DeclineOption = Declines | readonly (string | RegExp)[];

/** Returns the function that recognizes declines. @throws HeddleError INVALID_ARGUMENT */
export function declinesBy(option: DeclineOption = DECLINE_PATTERNS): Declines {
  if (typeof option === "function") return option;
  if (!Array.isArray(option) || option.some((p) => typeof p !== "string" && !(p instanceof RegExp)))
    throw new HeddleError("INVALID_ARGUMENT", "declines: expected a function, or texts and regular expressions");
  const tests = option.map((pattern: string | RegExp) => {
    if (typeof pattern === "string") {
      const part = plain(pattern).toLowerCase();
      return (answer: string) => plain(answer).toLowerCase().includes(part);
    }
    // With the flags g and y, `test` would continue at the previous match.
    const anyCase = new RegExp(pattern.source, `${pattern.flags.replace(/[gyi]/g, "")}i`);
    return (answer: string) => anyCase.test(answer) || anyCase.test(plain(answer));
  });
  return (answer) => tests.some((test) => test(answer));
}

/** Returns the text with straight apostrophes and single spaces. */
function plain(text: string): string {
  return text.replace(/[’‘ʼ]/g, "'").replace(/\s+/g, " ").trim();
}
