import { mean } from "../../metrics/mean.ts";
import type { Phrasing } from "./phrasings.ts";
import { render } from "./phrasings.ts";
import type { Place } from "./places.ts";

/**
 * Whether a continuation contains the capital as whole words in its first sentence. "The capital of Peru is Lima" is
 * correct. A capital that occurs only in a later sentence does not count.
 */
export function isRight(continuation: string, capital: string) {
  const text = continuation.trimStart();
  for (let at = text.indexOf(capital); at >= 0; at = text.indexOf(capital, at + 1)) {
    const before = text.slice(0, at);
    const after = text.slice(at + capital.length);
    if (!/[.?!\n]/.test(before) && !/\p{L}$/u.test(before) && !/^[\p{L}-]/u.test(after)) return true;
  }
  return false;
}

/**
 * Asks for the capital of every place in every wording.
 * @param complete returns the model's greedy continuation of each prompt, or its answer in a chat
 */
export async function score(
  complete: (prompts: string[]) => Promise<string[]>,
  places: readonly Pick<Place, "name" | "withArticle" | "capital">[],
  phrasings: readonly Phrasing[],
) {
  const wordings = [];
  const wrong = [];
  for (const { ask } of phrasings) {
    let right = 0;
    const prompts = places.map((place) => render(ask, place));
    const continuations = await complete(prompts);
    for (const [i, { capital }] of places.entries()) {
      const got = continuations[i]!;
      if (isRight(got, capital)) right++;
      else wrong.push({ prompt: prompts[i]!, expected: capital, got });
    }
    wordings.push({ ask, accuracy: right / places.length });
  }
  const accuracies = wordings.map(({ accuracy }) => accuracy);
  return { accuracy: mean(accuracies), worst: Math.min(...accuracies), wordings, wrong };
}
