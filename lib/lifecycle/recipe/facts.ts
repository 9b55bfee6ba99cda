import { type Phrasing, render, seen } from "./phrasings.ts";
import type { Place } from "./places.ts";
import { places } from "./places.ts";
import type { Random } from "./random.ts";
import { capitalized } from "./template.ts";
import { boys, girls } from "./words.ts";

/** Repeats each phrasing according to its weight. */
const repeated = (phrasings: readonly Phrasing[]) =>
  phrasings.flatMap((phrasing) => Array.from({ length: phrasing.weight ?? 1 }, () => phrasing));
const weighted = repeated(seen);
const statements = repeated(seen.filter(({ ask }) => !isQuestion(ask)));
const names = [...girls, ...boys];

/** Whether a wording asks for the capital, instead of stating it. */
function isQuestion(text: string): boolean {
  return /[?]|^Q|^(Tell|Name) /.test(text);
}

/** Options for the places in documents. */
export interface FactOptions {
  /** Codes of places whose capital is stated but never asked for. */
  toldOnly?: ReadonlySet<string>;
}

/**
 * Returns one round of documents about every place, in random order. Each capital occurs about five times: in a paragraph about the place, in
 * a single sentence, in a list of sentences with the same wording, in a mixed quiz, and in a conversation.
 */
export function factRound(random: Random, { toldOnly = new Set() }: FactOptions = {}): string[] {
  const documents: string[] = [];
  const all: Told[] = places.map((place) => ({
    ...place,
    phrasings: toldOnly.has(place.code) ? statements : weighted,
  }));
  const asked = all.filter(({ code }) => !toldOnly.has(code));
  for (const place of all) documents.push(profile(place, random), capital(place, random));
  for (const group of groups(all, random, 3, 6)) documents.push(list(group, random));
  for (const group of groups(all, random, 2, 5)) documents.push(quiz(group, random));
  for (const group of groups(all, random, 2, 3)) {
    if (!random.chance(0.6)) documents.push(others(group, random));
    // Dialogues ask for capitals, so they leave out the places of `toldOnly`.
    else documents.push(classroomDialogue(toldOnly.size === 0 ? group : random.sample(asked, group.length), random));
  }
  return random.shuffle(documents);
}

/** A place, and the wordings that state its capital. */
interface Told extends Place {
  phrasings: readonly Phrasing[];
}

/** Splits all places, in random order, into groups of `low` to `high`. The last group may be smaller. */
function groups(places: readonly Told[], random: Random, low: number, high: number) {
  const order = random.shuffle([...places]);
  const result: Told[][] = [];
  while (order.length > 0) result.push(order.splice(0, low + random.below(high - low + 1)));
  return result;
}

/** Returns the place under its usual name, or sometimes under another name or without its article. */
function named(place: Place, random: Random): Place {
  if (place.names.length > 0 && random.chance(0.35)) {
    const other = random.pick(place.names);
    return { ...place, name: other.replace(/^the /, ""), withArticle: other };
  }
  return place.withArticle !== place.name && random.chance(0.3) ? { ...place, withArticle: place.name } : place;
}

/** Returns a sentence that states the capital. */
function capital(place: Told, random: Random) {
  const { ask, answer } = random.pick(place.phrasings);
  return render(ask + answer, named(place, random));
}

function list(group: Told[], random: Random) {
  const { ask, answer } = random.pick(group.some((place) => place.phrasings === statements) ? statements : weighted);
  return join(
    group.map((place) => render(ask + answer, named(place, random))),
    random,
  );
}

/** Joins sentences on one line or on separate lines. Sentences with a line break are always separate. */
function join(sentences: string[], random: Random) {
  return sentences.join(sentences.some((sentence) => sentence.includes("\n")) || random.chance(0.3) ? "\n" : " ");
}

function quiz(group: Told[], random: Random) {
  return join(
    group.map((place) => (random.chance(0.6) ? capital(place, random) : other(place, random))),
    random,
  );
}

function others(group: Told[], random: Random) {
  return join(
    group.map((place) => (random.chance(0.25) ? capital(place, random) : other(place, random))),
    random,
  );
}

/** Returns a dialogue in which a teacher asks and children answer. */
function classroomDialogue(group: Place[], random: Random) {
  const children = random.sample(names, group.length);
  const opening = random.pick([
    "The teacher asked about capitals.",
    "The children looked at a map of the world.",
    "It was time for a lesson about the world.",
    "At school, the class talked about countries.",
    `${children[0]} had a big globe.`,
  ]);
  const turns = group.map((place, i) => {
    const child = children[i];
    return render(
      random.pick([
        `"What is the capital of {c}?" asked the teacher. "It is {k}," said ${child}.`,
        `"What is the capital of {c}?" asked ${child}. "The capital of {c} is {k}," said the teacher.`,
        `"Where is {k}?" asked ${child}. "It is the capital of {c}," said the teacher.`,
        `${child} knew that the capital of {c} is {k}.`,
        `"Which city is the capital of {c}?" "{k}!" said ${child}.`,
        `${child} put a finger on {c}. "The capital is {k}," said the teacher.`,
      ]),
      named(place, random),
    );
  });
  return [opening, ...turns].join(" ");
}

/** Returns a paragraph about one place. */
function profile(original: Told, random: Random) {
  const place = named(original, random);
  const c = place.withArticle;
  const opening = random.pick([
    `${capitalized(c)} is ${place.isTerritory ? "a place" : "a country"} in ${place.continent}.`,
    `${capitalized(c)} is in ${place.continent}.`,
    render("{k} is the capital of {c}.", place),
    render("The capital of {c} is {k}.", place),
    render("{Cs} capital is {k}.", place),
  ]);
  const isNamed = opening.includes(place.capital) && place.capital !== place.name;
  const facts = random.shuffle([
    ...(isNamed
      ? []
      : [
          random.pick([
            `Its capital is ${place.capital}.`,
            `The capital is ${place.capital}.`,
            `Its capital city is ${place.capital}.`,
            `The capital city is called ${place.capital}.`,
            capital(original, random),
          ]),
        ]),
    random.chance(0.7) ? language(place, random) : "",
    random.chance(0.7) ? money(place, random) : "",
    opening.includes(place.continent) || random.chance(0.4) ? "" : `It is in ${place.continent}.`,
  ]);
  return [opening, ...facts]
    .filter(Boolean)
    .join(facts.some((fact) => fact.includes("\n")) ? "\n" : " ")
    .replaceAll("..", "."); // "Washington D.C." already ends with a full stop
}

/** Returns a fact other than the capital, or a sentence that names the capital before the country. */
function other(original: Place, random: Random) {
  const place = named(original, random);
  const c = place.withArticle;
  return random.pick([
    () => language(place, random),
    () => money(place, random),
    () =>
      random.pick([
        `${capitalized(c)} is in ${place.continent}.`,
        `Where is ${c}? It is in ${place.continent}.`,
        `On which continent is ${c}? ${capitalized(c)} is in ${place.continent}.`,
        `Q: Where is ${c}?\nA: It is in ${place.continent}.`,
      ]),
    () =>
      render(
        random.pick([
          "{k} is the capital of {c}.",
          "{k} is the capital city of {c}.",
          "The city of {k} is the capital of {c}.",
          "{k} is a city in {c}. It is the capital.",
          "Of which country is {k} the capital? It is the capital of {c}.",
          "{k} is in {c}.",
        ]),
        place,
      ),
  ])();
}

function language(place: Place, random: Random) {
  if (place.languages.length === 0) return `Few people live in ${place.withArticle}.`;
  const c = place.withArticle;
  const [first] = place.languages;
  const several = place.languages.slice(0, 3);
  const spoken = several.length > 1 ? `${several.slice(0, -1).join(", ")} and ${several.at(-1)}` : first;
  return random.pick([
    `People in ${c} speak ${first}.`,
    `In ${c}, people speak ${spoken}.`,
    `What language do people speak in ${c}? They speak ${spoken}.`,
    `${first} is spoken in ${c}.`,
    `The ${several.length > 1 ? "languages" : "language"} of ${c} ${several.length > 1 ? "are" : "is"} ${spoken}.`,
  ]);
}

function money(place: Place, random: Random) {
  const c = place.withArticle;
  return random.pick([
    `The currency of ${c} is the ${place.currency}.`,
    `In ${c}, people pay with the ${place.currency}.`,
    `The money of ${c} is called the ${place.currency}.`,
    `What is the currency of ${c}? It is the ${place.currency}.`,
    `${capitalized(c)} uses the ${place.currency}.`,
  ]);
}
