import { render } from "./phrasings.ts";
import { type Place, places } from "./places.ts";
import { Random } from "./random.ts";

export { developmentQuestions, heldOutQuestions, seenQuestions } from "./wordings.ts";

/** The assistant's answer to questions that cannot be answered. */
export const unknown = "I don't know.";

/** A place name that questions are about. */
export type Named = Pick<Place, "name" | "withArticle" | "capital">;

/** Makes a country that does not exist. It has no capital. */
export const madeUp = (name: string): Named => ({ name, withArticle: name, capital: "" });

/** Returns the answer to a question about a capital. */
export const capitalAnswer = (place: Named): string => render("It is {k}.", place);

/** Countries whose capital has a different name, so that the question does not give the answer away. */
const countries = places.filter(
  ({ isTerritory, name, capital }) => !isTerritory && !name.includes(capital.split(" ")[0]!),
);

/** Codes of countries that users are likely to try first. */
const always = new Set("FR DE IT ES GB US JP CN IN BR CA AU EG RU PT SE NO PL GR NL PE".split(" "));

/** The countries by their use in training and evaluation. */
export interface CountrySplit {
  /** Countries that training asks about. The evaluation asks about them too, in other wordings. */
  asked: readonly Place[];
  /** Territories, and countries whose name gives the capital away. Only training asks about them. */
  others: readonly Place[];
  /** Countries that occur in pre-training only. No training data asks for their capitals. */
  toldOnly: readonly Place[];
  /**
   * Further countries that occur in pre-training only, for tuning hyperparameters. The evaluation does not ask about them.
   */
  development: readonly Place[];
}

interface SplitSize {
  toldOnly: number;
  development: number;
  /** Maximum number of countries to ask about, and of other places. */
  asked?: number;
}

/** Splits the countries at random. The same seed gives the same split. */
export function splitCountries(seed: number, { toldOnly, development, asked }: SplitSize): CountrySplit {
  const random = new Random(seed * 16 + 8);
  const order = random.shuffle(countries.filter(({ code }) => !always.has(code)));
  const held = order.slice(0, toldOnly + development);
  const known = new Set(countries);
  // Training must not ask about a country whose name contains the name of a held-out country, as "South Sudan" contains
  // "Sudan".
  const isApart = ({ name }: Place) => !held.some((other) => name.includes(other.name));
  const rest = [...countries.filter(({ code }) => always.has(code)), ...order.slice(held.length)];
  return {
    asked: rest.filter(isApart).slice(0, asked),
    others: places.filter((place) => !known.has(place) && isApart(place)).slice(0, asked),
    toldOnly: held.slice(0, toldOnly),
    development: held.slice(toldOnly),
  };
}
