import { render } from "./phrasings.ts";
import type { Place } from "./places.ts";
import type { CountrySplit } from "./questions.ts";
import { Random } from "./random.ts";

/**
 * A text about a country, labelled with its continent. The wordings do not name the continent, but names of a few
 * countries and currencies contain it, such as South Africa.
 */
export interface LabeledText {
  text: string;
  label: string;
}

const trained: readonly ((place: Place) => string)[] = [
  (place) => render("The capital of {c} is {k}.", place),
  (place) => render("{k} is a city in {c}.", place),
  (place) => `People in ${place.withArticle} speak ${place.languages[0] ?? "several languages"}.`,
  (place) => `In ${place.withArticle}, people pay with the ${place.currency}.`,
];
const unseen: readonly ((place: Place) => string)[] = [
  (place) => `My uncle lives in ${place.withArticle}.`,
  (place) => render("We took a train to {k}, the capital of {c}.", place),
];

/**
 * Returns labelled texts. Training texts are about countries that other stages ask about. Test texts are about countries
 * that no stage asks about, in other wordings.
 */
export function labeledTexts(
  seed: number,
  { asked, toldOnly }: CountrySplit,
): { train: LabeledText[]; test: LabeledText[] } {
  const random = new Random(seed * 16 + 14);
  const label = (wordings: typeof trained) => (place: Place) =>
    wordings.map((wording) => ({ text: wording(place), label: place.continent }));
  return { train: random.shuffle(asked.flatMap(label(trained))), test: toldOnly.flatMap(label(unseen)) };
}
