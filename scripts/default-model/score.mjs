import { render } from "./phrasings.mjs";

/** @typedef {import("./places.mjs").Place} Place @typedef {import("./phrasings.mjs").Phrasing} Phrasing */

/**
 * Whether a continuation gives the capital: it must stand in the first sentence of the continuation, as whole words. "The capital
 * of Peru is Lima" is a right answer to a question; a second sentence that happens to name it is not.
 *
 * @param {string} continuation @param {string} capital
 */
export function isRight(continuation, capital) {
  const text = continuation.trimStart();
  for (let at = text.indexOf(capital); at >= 0; at = text.indexOf(capital, at + 1)) {
    const before = text.slice(0, at);
    const after = text.slice(at + capital.length);
    if (!/[.?!\n]/.test(before) && !/\p{L}$/u.test(before) && !/^[\p{L}-]/u.test(after)) return true;
  }
  return false;
}

/**
 * Asks the capital of every place in every wording.
 *
 * @param {(prompt: string) => Promise<string>} complete the greedy continuation of a prompt
 * @param {readonly Place[]} places
 * @param {readonly Phrasing[]} phrasings
 */
export async function score(complete, places, phrasings) {
  const wordings = [];
  const wrong = [];
  for (const { ask } of phrasings) {
    let right = 0;
    for (const place of places) {
      const continuation = await complete(render(ask, place));
      if (isRight(continuation, place.capital)) right++;
      else wrong.push({ prompt: render(ask, place), expected: place.capital, got: continuation });
    }
    wordings.push({ ask, accuracy: right / places.length });
  }
  const accuracy = wordings.reduce((sum, wording) => sum + wording.accuracy, 0) / wordings.length;
  return { accuracy, worst: Math.min(...wordings.map((wording) => wording.accuracy)), wordings, wrong };
}
