import type { MadeUpNames } from "./made-up.ts";
import { development, heldOut, render } from "./phrasings.ts";
import { type Place, places } from "./places.ts";
import { type CountrySplit, capitalAnswer, developmentQuestions, heldOutQuestions, madeUp } from "./questions.ts";
import { Random } from "./random.ts";

/** A text that a base model continues with a capital. */
export interface ClozeRow {
  prompt: string;
  capital: string;
}

/** A question with the answers that count as right, as `heddle eval --task qa` reads it. */
export interface QuestionRow {
  question: string;
  answers: string[];
  /** Nothing but "I don't know." is right. */
  unanswerable?: boolean;
}

/** A statement to complete, with one right choice, as `heddle eval --task choice` reads it. */
export interface ChoiceRow {
  prompt: string;
  choices: string[];
  /** Index of the right one. */
  answer: number;
}

export interface EvaluationSets {
  /** Statements in a wording that the corpus does not have. */
  cloze: ClozeRow[];
  /** Capitals that were asked for in training, in wordings that were not. */
  seenFacts: QuestionRow[];
  /** Countries that were told about and never asked for, in both kinds of wordings. */
  newCountries: QuestionRow[];
  /** Countries that do not exist, of names that occur nowhere in training. */
  madeUp: QuestionRow[];
  choice: ChoiceRow[];
}

/** The countries and wordings of a split. */
interface Asking {
  countries: readonly Place[];
  newCountries: readonly Place[];
  names: readonly string[];
  questions: readonly string[];
  /** Statements that leave the capital for the end. */
  statements: readonly string[];
}

/** The evaluation sets for reporting. They must not be used for choices. */
export function evaluationSets(
  seed: number,
  { asked, toldOnly }: CountrySplit,
  { heldOut: names }: MadeUpNames,
): EvaluationSets {
  const statements = heldOut.filter(({ ask }) => /^(The name|It is well)/.test(ask)).map(({ ask }) => ask);
  return setsOf(new Random(seed * 16 + 13), {
    countries: asked,
    newCountries: toldOnly,
    names,
    questions: heldOutQuestions,
    statements,
  });
}

/** The same with other names, countries and wordings: what the options of the stages were chosen by. */
export function developmentSets(
  seed: number,
  { asked, development: newCountries }: CountrySplit,
  { development: names }: MadeUpNames,
): EvaluationSets {
  const statements = development.map(({ ask }) => ask);
  return setsOf(new Random(seed * 16 + 15), {
    countries: asked,
    newCountries,
    names,
    questions: developmentQuestions,
    statements,
  });
}

function setsOf(random: Random, { countries, newCountries, names, questions, statements }: Asking): EvaluationSets {
  const all = [...countries, ...newCountries];
  const wording = (i: number) => questions[i % questions.length]!;
  const question = (place: Place, ask: string): QuestionRow => ({
    question: render(ask, place),
    answers: [capitalAnswer(place), render("The capital of {c} is {k}.", place), place.capital],
  });
  return {
    cloze: all.map((place, i) => ({
      prompt: render(statements[i % statements.length]!, place),
      capital: place.capital,
    })),
    // The second wording is another one for every country.
    seenFacts: countries.flatMap((place, i) => [i, i + 1 + (i % 3)].map((w) => question(place, wording(w)))),
    newCountries: newCountries.flatMap((place, i) => [
      question(place, wording(i)),
      question(place, "What is the capital of {c}?"),
    ]),
    madeUp: names.map((name, i) => ({
      question: render(wording(i), madeUp(name)),
      answers: [],
      unanswerable: true,
    })),
    choice: all.map((place, i) => {
      // Several places have a capital of the same name.
      const near = places.filter(
        ({ continent, capital }) => continent === place.continent && capital !== place.capital,
      );
      const others = random.sample([...new Set(near.map(({ capital }) => capital))], 3);
      const choices = random.shuffle([place.capital, ...others]).map((capital) => ` ${capital}`);
      return {
        prompt: render(statements[i % statements.length]!, place),
        choices,
        answer: choices.indexOf(` ${place.capital}`),
      };
    }),
  };
}
