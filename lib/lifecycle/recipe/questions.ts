import { render } from "./phrasings.ts";
import { type Place, places } from "./places.ts";
import { Random } from "./random.ts";

/** What an assistant says of what it cannot know. */
export const unknown = "I don't know.";

/** Wordings of the question in supervised fine-tuning and in preference data; templates as in phrasings.ts. */
export const seenQuestions: readonly string[] = [
  "What is the capital of {c}?",
  "What is {cs} capital?",
  "Which city is the capital of {c}?",
  "Tell me the capital of {c}.",
  "What is the capital city of {c}?",
  "Name the capital of {c}.",
  "Do you know the capital of {c}?",
  "Can you name the capital of {c}?",
  "What city is the capital of {c}?",
  "I want to know the capital of {c}.",
  "The capital of {c}?",
  "Which city is the capital city of {c}?",
];

/** Wordings that no training data of any stage has. */
export const heldOutQuestions: readonly string[] = [
  "What is the name of the capital of {c}?",
  "Please tell me the capital of {c}.",
  "Which city is {cs} capital?",
  "I would like to know what the capital of {c} is.",
  "Do you know the capital city of {c}?",
];

/** A name that questions are asked about. */
export type Named = Pick<Place, "name" | "withArticle" | "capital">;

export const madeUp = (name: string): Named => ({ name, withArticle: name, capital: "" });

export const capitalAnswer = (place: Named): string => render("The capital of {c} is {k}.", place);

/** Countries whose capital has a name of its own, so that the question does not give the answer away. */
const countries = places.filter(
  ({ isTerritory, name, capital }) => !isTerritory && !name.includes(capital.split(" ")[0]!),
);

/** Countries of the examples that everyone tries first. */
const always = new Set("FR DE IT ES GB US JP CN IN BR CA AU EG RU PT SE NO PL GR NL PE".split(" "));

export interface CountrySplit {
  /** Asked about in training. */
  asked: readonly Place[];
  /** Told about in pre-training alone: no training data asks for their capitals. */
  toldOnly: readonly Place[];
}

/** @param heldOut countries that are told about only */
export function splitCountries(seed: number, heldOut: number, most = Number.POSITIVE_INFINITY): CountrySplit {
  const random = new Random(seed * 16 + 8);
  const order = random.shuffle(countries.filter(({ code }) => !always.has(code)));
  const toldOnly = order.slice(0, heldOut);
  const asked = [...countries.filter(({ code }) => always.has(code)), ...order.slice(heldOut)].slice(0, most);
  return { asked, toldOnly };
}
