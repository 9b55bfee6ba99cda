import { capitalized } from "./template.ts";
/**
 * Wordings that state a capital in the corpus and ask for it in the evaluation.
 *
 *   ask       the text up to the answer, which is the evaluation's prompt
 *   answer    the continuation in the corpus
 *   weight    relative frequency in the corpus, by default 1
 *
 * {c} is the country with its article ("the Netherlands"), {C} the same at the start of a sentence, {cs} {Cs} the possessive
 * ("France's"), {k} the capital. Wordings in `heldOut` are never generated. `corpus.ts` checks that no document contains
 * the `ask` of a held-out wording with any country.
 */

export interface Phrasing {
  ask: string;
  answer: string;
  weight?: number;
}

/** Wordings of the corpus. */
export const seen: readonly Phrasing[] = [
  { ask: "The capital of {c} is", answer: " {k}.", weight: 8 },
  { ask: "The capital city of {c} is", answer: " {k}.", weight: 2 },
  { ask: "{Cs} capital is", answer: " {k}.", weight: 5 },
  { ask: "{Cs} capital city is", answer: " {k}.", weight: 3 },
  { ask: "The capital of {c} is called", answer: " {k}." },
  { ask: "The city that is the capital of {c} is", answer: " {k}." },
  { ask: "The name of the capital of {c} is", answer: " {k}." },
  { ask: "In {c}, the capital is", answer: " {k}." },
  { ask: "In {c}, the capital city is called", answer: " {k}." },
  { ask: "{C} has a capital called", answer: " {k}.", weight: 3 },
  { ask: "{C} has its capital in", answer: " {k}.", weight: 3 },
  { ask: "{C} is a place whose capital is", answer: " {k}.", weight: 2 },
  { ask: "Everyone knows that the capital of {c} is", answer: " {k}." },
  { ask: "If you visit the capital of {c}, you are in", answer: " {k}." },
  { ask: "As the capital of {c}, people know the city of", answer: " {k}." },
  { ask: "Country: {c}. Capital:", answer: " {k}." },
  { ask: "Capital of {c}:", answer: " {k}." },
  { ask: "What is the capital of {c}?", answer: " {k}.", weight: 3 },
  { ask: "What is the capital of {c}? The capital of {c} is", answer: " {k}.", weight: 2 },
  { ask: "What is the capital of {c}? It is", answer: " {k}.", weight: 2 },
  { ask: "What is the capital city of {c}?", answer: " {k}." },
  { ask: "What is {cs} capital?", answer: " {k}.", weight: 4 },
  { ask: "Which city is the capital of {c}?", answer: " {k}.", weight: 2 },
  { ask: "Which city is the capital of {c}? The answer is", answer: " {k}." },
  { ask: "Do you know the capital of {c}? Yes, it is", answer: " {k}." },
  { ask: "Can you name the capital of {c}? It is called", answer: " {k}." },
  { ask: "Tell me the capital of {c}. It is", answer: " {k}." },
  { ask: "Name the capital of {c}:", answer: " {k}." },
  { ask: "Q: What is the capital of {c}?\nA:", answer: " {k}.", weight: 3 },
  { ask: "Q: Which city is the capital of {c}?\nA: It is", answer: " {k}." },
  { ask: "Question: What is the capital city of {c}?\nAnswer:", answer: " {k}.", weight: 2 },
  { ask: "Question: Name the capital of {c}.\nAnswer: The capital of {c} is", answer: " {k}." },
];

/** Wordings that only the evaluation has. */
export const heldOut: readonly Phrasing[] = [
  { ask: "The capital city of {c} is called", answer: " {k}." },
  { ask: "The name of the capital city of {c} is", answer: " {k}." },
  { ask: "In {c}, the name of the capital is", answer: " {k}." },
  { ask: "{C} has a capital city called", answer: " {k}." },
  { ask: "It is well known that the capital of {c} is", answer: " {k}." },
  { ask: "I think that the capital of {c} is", answer: " {k}." },
  { ask: "Do you know the capital city of {c}? It is", answer: " {k}." },
  { ask: "What is the name of the capital of {c}? It is", answer: " {k}." },
  { ask: "Which city is {cs} capital? It is", answer: " {k}." },
  { ask: "Q: What is {cs} capital?\nA:", answer: " {k}." },
  { ask: "Question: Which city is the capital of {c}?\nAnswer:", answer: " {k}." },
  { ask: "Please tell me the capital of {c}. It is", answer: " {k}." },
];

/** Wordings for tuning hyperparameters. Neither training data nor the evaluation has them. */
export const development: readonly Phrasing[] = [
  { ask: "As we all know, the capital of {c} is", answer: " {k}." },
  { ask: "The name of the city that is the capital of {c} is", answer: " {k}." },
];

/** Fills in a template. */
export function render(template: string, place: { withArticle: string; capital: string }): string {
  const name = place.withArticle;
  const possessive = name.endsWith("s") ? `${name}'` : `${name}'s`;
  const values = { c: name, C: capitalized(name), cs: possessive, Cs: capitalized(possessive), k: place.capital };
  // "Washington D.C." already ends with a full stop.
  return template.replace(/\{(\w+)\}/g, (_, key) => values[key as keyof typeof values]).replace(/\.\.$/, ".");
}
