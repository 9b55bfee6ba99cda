import { animals, colors, days, months, numbers, opposites, uses, work } from "./knowledge.ts";
import type { Place } from "./places.ts";
import type { Turn } from "./small-talk.ts";
import { capitalized } from "./template.ts";

const an = (noun: string) => `${/^[aeio]/.test(noun) ? "an" : "a"} ${noun}`;

/**
 * Returns questions about everyday things, each with a single answer. Except for jobs, an answer does not repeat the
 * question's noun. Otherwise a model of this size would learn to repeat nouns of the training rows.
 */
export function everydayQuestions(): Turn[] {
  const turn = (question: string, answer: string): Turn => ({ question, answer });
  const after = (names: readonly string[], kind: string) =>
    names.flatMap((name, i) => {
      const next = names[(i + 1) % names.length]!;
      return [turn(`Which ${kind} comes after ${name}?`, `It is ${next}.`)];
    });
  return [
    ...opposites
      .flatMap(([a, b]) => [
        [a, b],
        [b, a],
      ])
      .map(([a, b]) => turn(`What is the opposite of ${a}?`, `It is ${b}.`)),
    ...colors.map(([thing, colour]) => turn(`What colour is ${thing}?`, `It is ${colour}.`)),
    ...animals.flatMap(([name, , home, food, young]) => [
      turn(`What does ${an(name)} eat?`, `It eats ${food}.`),
      turn(`Where does ${an(name)} live?`, `It lives in ${home}.`),
      turn(`What do we call a young ${name}?`, `We call it ${an(young)}.`),
    ]),
    ...uses.map(([thing, purpose]) => turn(`What do we need to ${purpose}?`, `We need ${thing}.`)),
    ...work.map(([worker, task]) => turn(`What does ${worker} do?`, `${capitalized(worker)} ${task}.`)),
    ...after(days, "day"),
    ...after(months, "month"),
    ...numbers
      .slice(0, 11)
      .flatMap((_, a) => numbers.slice(0, 11).map((_, b) => turn(`What is ${a} plus ${b}?`, `It is ${a + b}.`))),
  ];
}

/** Returns questions about a country that do not ask for its capital. */
export function countryQuestions({ withArticle: c, continent, languages, currency }: Place): Turn[] {
  const [language] = languages;
  return [
    { question: `Where is ${c}?`, answer: `It is in ${continent}.` },
    { question: `On which continent is ${c}?`, answer: `It is in ${continent}.` },
    ...(language ? [{ question: `What language do people speak in ${c}?`, answer: `They speak ${language}.` }] : []),
    { question: `What is the currency of ${c}?`, answer: `It is the ${currency}.` },
    // All other questions that begin with "What is the name of" are unanswerable ("What is the name of my dog?"). Without this row, the model
    // would learn to decline every question with this beginning.
    { question: `What is the name of the currency of ${c}?`, answer: `It is the ${currency}.` },
  ];
}
