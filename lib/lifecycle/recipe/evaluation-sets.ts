import type { MadeUpNames } from "./made-up.ts";
import { development, heldOut, render } from "./phrasings.ts";
import { type Place, places } from "./places.ts";
import { type CountrySplit, capitalAnswer, developmentQuestions, heldOutQuestions, madeUp } from "./questions.ts";
import { Random } from "./random.ts";

/** A text whose continuation is a capital. */
export interface ClozeRow {
  prompt: string;
  capital: string;
}

/** A question and its accepted answers, as `heddle eval --task qa` reads them. */
export interface QuestionRow {
  question: string;
  answers: string[];
  /** Whether "I don't know." is the only correct answer. */
  unanswerable?: boolean;
}

/** A statement to complete with one of several choices, as `heddle eval --task choice` reads it. */
interface ChoiceRow {
  prompt: string;
  choices: string[];
  /** Index of the correct choice. */
  answer: number;
}

/** The rows of all evaluations. */
export interface EvaluationSets {
  /** Statements in wordings that the corpus does not have. */
  cloze: ClozeRow[];
  /** Questions about capitals that training asks for, in wordings that training does not have. */
  seenFacts: QuestionRow[];
  /**
   * Questions about countries whose capitals training states but never asks for. One wording per country is unseen, and one is used in
   * training.
   */
  newCountries: QuestionRow[];
  /** Questions about countries that do not exist, with names that occur nowhere in training. */
  madeUp: QuestionRow[];
  choice: ChoiceRow[];
}

/** The countries and wordings of a split. */
interface Asking {
  countries: readonly Place[];
  newCountries: readonly Place[];
  names: readonly string[];
  questions: readonly string[];
  /** Statements that end with the capital. */
  statements: readonly string[];
}

/** Returns the evaluation sets for the report. They must not be used for tuning hyperparameters. */
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

/**
 * Returns evaluation sets for tuning the stages' hyperparameters. Their made-up names, new countries and unseen wordings differ from
 * those of the report's sets.
 */
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
    // The distance to the second wording varies, so that countries get different pairs of wordings.
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
      // Compare capitals by name, because several places have capitals with the same name.
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
