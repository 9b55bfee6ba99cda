import { render } from "./phrasings.ts";
import { type Place, places } from "./places.ts";
import { Random } from "./random.ts";

export { developmentQuestions, heldOutQuestions, seenQuestions } from "./wordings.ts";

/** The assistant's answer to questions that it cannot know. */
export const unknown = "I don't know.";

/** A name that questions are asked about. */
export type Named = Pick<Place, "name" | "withArticle" | "capital">;

export const madeUp = (name: string): Named => ({ name, withArticle: name, capital: "" });

export const capitalAnswer = (place: Named): string => render("It is {k}.", place);

/** Countries whose capital has a different name, so that the question does not give the answer away. */
const countries = places.filter(
  ({ isTerritory, name, capital }) => !isTerritory && !name.includes(capital.split(" ")[0]!),
);

/** Countries of the examples that everyone tries first. */
const always = new Set("FR DE IT ES GB US JP CN IN BR CA AU EG RU PT SE NO PL GR NL PE".split(" "));

export interface CountrySplit {
  /** Asked about in training, and in the evaluation in other wordings. */
  asked: readonly Place[];
  /** Territories, and countries whose capital's name gives the answer away: asked about in training alone. */
  others: readonly Place[];
  /** Told about in pre-training alone: no training data asks for their capitals. */
  toldOnly: readonly Place[];
  /** Likewise told about only, for choosing options: the evaluation does not ask about them. */
  development: readonly Place[];
}

export interface SplitSize {
  toldOnly: number;
  development: number;
  /** Countries that are asked about, at most, and as many other places. */
  asked?: number;
}

export function splitCountries(seed: number, { toldOnly, development, asked }: SplitSize): CountrySplit {
  const random = new Random(seed * 16 + 8);
  const order = random.shuffle(countries.filter(({ code }) => !always.has(code)));
  const told = order.slice(0, toldOnly + development);
  const known = new Set(countries);
  // "South Sudan" contains "Sudan".
  const isApart = ({ name }: Place) => !told.some((other) => name.includes(other.name));
  const rest = [...countries.filter(({ code }) => always.has(code)), ...order.slice(told.length)];
  return {
    asked: rest.filter(isApart).slice(0, asked),
    others: places.filter((place) => !known.has(place) && isApart(place)).slice(0, asked),
    toldOnly: told.slice(0, toldOnly),
    development: told.slice(toldOnly),
  };
}
