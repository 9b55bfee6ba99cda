import { render, seen } from "./phrasings.mjs";
import { places } from "./places.mjs";
import { boys, girls } from "./words.mjs";

/** @typedef {import("./random.mjs").Random} Random @typedef {import("./places.mjs").Place} Place */

const weighted = seen.flatMap((phrasing) => Array.from({ length: phrasing.weight ?? 1 }, () => phrasing));
const upper = (/** @type {string} */ text) => text[0].toUpperCase() + text.slice(1);
const names = [...girls, ...boys];

/**
 * One round of documents about every place, in random order: each capital is told about five times a round, in a paragraph
 * about the place, alone, in a list of one wording, in a mixed quiz, and in a conversation.
 *
 * @param {Random} random
 * @returns {string[]} documents
 */
export function factRound(random) {
  const documents = [];
  for (const place of places) documents.push(profile(place, random), capital(place, random));
  for (const group of groups(random, 3, 6)) documents.push(list(group, random));
  for (const group of groups(random, 2, 5)) documents.push(quiz(group, random));
  for (const group of groups(random, 2, 3))
    documents.push(random.chance(0.6) ? lesson(group, random) : others(group, random));
  return random.shuffle(documents);
}

/** All places in random order, cut into groups of `low` to `high`. @param {Random} random @param {number} low @param {number} high */
function groups(random, low, high) {
  const order = random.shuffle([...places]);
  const result = [];
  while (order.length > 0) result.push(order.splice(0, low + random.below(high - low + 1)));
  return result;
}

/** The place under its usual name, now and then under another or without its article. @param {Place} place @param {Random} random @returns {Place} */
function named(place, random) {
  if (place.names.length > 0 && random.chance(0.35)) {
    const other = random.pick(place.names);
    return { ...place, name: other.replace(/^the /, ""), withArticle: other };
  }
  return place.withArticle !== place.name && random.chance(0.3) ? { ...place, withArticle: place.name } : place;
}

/** One sentence that tells the capital. @param {Place} place @param {Random} random */
function capital(place, random) {
  const { ask, answer } = random.pick(weighted);
  return render(ask + answer, named(place, random));
}

/** @param {Place[]} group @param {Random} random */
function list(group, random) {
  const { ask, answer } = random.pick(weighted);
  return join(
    group.map((place) => render(ask + answer, named(place, random))),
    random,
  );
}

/** Sentences follow each other on a line or on lines of their own; those that hold a line break always on their own. @param {string[]} sentences @param {Random} random */
function join(sentences, random) {
  return sentences.join(sentences.some((sentence) => sentence.includes("\n")) || random.chance(0.3) ? "\n" : " ");
}

/** @param {Place[]} group @param {Random} random */
function quiz(group, random) {
  return join(
    group.map((place) => (random.chance(0.6) ? capital(place, random) : other(place, random))),
    random,
  );
}

/** @param {Place[]} group @param {Random} random */
function others(group, random) {
  return join(
    group.map((place) => (random.chance(0.25) ? capital(place, random) : other(place, random))),
    random,
  );
}

/** A teacher asks, children answer. @param {Place[]} group @param {Random} random */
function lesson(group, random) {
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

/** A paragraph about one place. @param {Place} original @param {Random} random */
function profile(original, random) {
  const place = named(original, random);
  const c = place.withArticle;
  const opening = random.pick([
    `${upper(c)} is ${place.isTerritory ? "a place" : "a country"} in ${place.continent}.`,
    `${upper(c)} is in ${place.continent}.`,
    render("{k} is the capital of {c}.", place),
    render("The capital of {c} is {k}.", place),
    render("{Cs} capital is {k}.", place),
  ]);
  const told = opening.includes(place.capital) && place.capital !== place.name;
  const facts = random.shuffle([
    ...(told
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
    .replaceAll("..", ".");
}

/** A fact that is not the capital, or the capital the other way round. @param {Place} original @param {Random} random */
function other(original, random) {
  const place = named(original, random);
  const c = place.withArticle;
  return random.pick([
    () => language(place, random),
    () => money(place, random),
    () =>
      random.pick([
        `${upper(c)} is in ${place.continent}.`,
        `Where is ${c}? It is in ${place.continent}.`,
        `On which continent is ${c}? ${upper(c)} is in ${place.continent}.`,
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

/** @param {Place} place @param {Random} random */
function language(place, random) {
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

/** @param {Place} place @param {Random} random */
function money(place, random) {
  const c = place.withArticle;
  return random.pick([
    `The currency of ${c} is the ${place.currency}.`,
    `In ${c}, people pay with the ${place.currency}.`,
    `The money of ${c} is called the ${place.currency}.`,
    `What is the currency of ${c}? It is the ${place.currency}.`,
    `${upper(c)} uses the ${place.currency}.`,
  ]);
}
