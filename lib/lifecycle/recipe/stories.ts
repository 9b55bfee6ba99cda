import { awayPlots } from "./plots-away.ts";
import { homePlots } from "./plots-home.ts";
import type { Random } from "./random.ts";
import { capitalized, expand } from "./template.ts";
import * as words from "./words.ts";

const plots: Record<string, readonly (readonly string[])[]> = { ...homePlots, ...awayPlots };
const numbers = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

type Scene = Record<string, string | readonly string[]>;

/** Generates a short story, which introduces a hero and tells a plot step by step, with a random variant of each step. */
export function story(random: Random): string {
  const name = random.pick(Object.keys(plots));
  const steps = plots[name]!;
  const lesson = (words.lessons as Record<string, string[]>)[name];
  const scene: Scene = { ...makeScene(random), ...(lesson ? { lesson: random.pick(lesson) } : {}) };
  // A fable about a race has a fast and a slow animal as its heroes, not the hero of the scene.
  const sentences = name === "race" ? [random.pick(fableOpenings)] : [random.pick(openings(scene.isAnimal === "yes"))];
  for (const step of steps) sentences.push(random.pick(step));
  const taught = sentences.some((sentence) => sentence.includes("{lesson}"));
  const ending = random.chance(0.3)
    ? [random.pick(lesson && !taught ? [...endings, ...morals, ...morals] : endings)]
    : [];
  const text = [...sentences, ...ending].map((sentence) => expand(sentence, scene, random));
  return joinParagraphs(text, random);
}

/** Joins sentences into one or two paragraphs. */
function joinParagraphs(sentences: string[], random: Random) {
  if (random.chance(0.5)) return sentences.join(" ");
  const cut = 2 + random.below(Math.max(1, sentences.length - 3));
  return `${sentences.slice(0, cut).join(" ")}\n${sentences.slice(cut).join(" ")}`;
}

function makeScene(random: Random): Scene {
  const heroIsGirl = random.chance(0.5);
  const animal = random.chance(0.35);
  const [kind, friendKind] = random.sample(words.creatures, 2) as [string, string];
  const [hero, friend] = heroIsGirl
    ? [random.pick(words.girls), random.pick(words.boys)]
    : [random.pick(words.boys), random.pick(words.girls)];
  const her = { he: "she", him: "her", his: "her", himself: "herself" };
  const his = { he: "he", him: "him", his: "his", himself: "himself" };
  // Friends have the other gender, so that every pronoun is unambiguous.
  const own = heroIsGirl ? her : his;
  const other = heroIsGirl ? his : her;
  const [trait, trait2] = random.sample(words.traits, 2) as [string, string];
  const thing = random.pick(words.toys);
  const fastAnimals = ["rabbit", "hare", "horse", "fox", "deer", "cat"];
  const slowAnimals = ["turtle", "snail", "duck", "hedgehog", "mole", "snake"];
  return {
    isAnimal: animal ? "yes" : "no",
    hero,
    friend,
    ...own,
    He: capitalized(own.he),
    His: capitalized(own.his),
    fhe: other.he,
    fhim: other.him,
    fhis: other.his,
    Fhe: capitalized(other.he),
    h: [hero, own.he],
    H: [hero, capitalized(own.he), capitalized(own.he)],
    child: heroIsGirl ? "girl" : "boy",
    someone: animal ? `a ${random.pick(words.sizes)} ${friendKind}` : heroIsGirl ? "a boy" : "a girl",
    kind,
    trait,
    trait2,
    size: random.pick(words.sizes),
    thing,
    thingKind: random.pick(
      [...words.thingTraits, ...words.colors].filter((word) => !(word === "wooden" && thing.startsWith("wooden"))),
    ),
    adult: random.pick(words.relatives),
    worker: random.pick(words.workers),
    dish: random.pick(words.dishes),
    destination: random.pick(words.destinations),
    fast: random.pick(fastAnimals),
    slow: random.pick(slowAnimals),
    time: words.times,
    outdoors: words.outdoors,
    indoors: words.indoors,
    indoor: words.indoors
      .map((place) => place.replace(/^(in|at|by|on|behind|under) /, ""))
      .filter((place) => !place.includes("school")),
    colour: words.colors,
    food: words.foods.map((food) => `a ${food}`),
    fruits: words.fruits,
    weather: words.weather,
    happy: words.happy,
    sad: words.sad,
    afraid: words.afraid,
    slowly: words.slowly,
    softly: ["softly", "quietly", "gently"],
    quickly: ["quickly", "at once"],
    sights: words.sights,
    noise: words.noises,
    game: words.games,
    lesson: Object.values(words.lessons).flat(),
    number: numbers,
    fragile: random.pick(words.fragile),
    home: animal ? words.dens : words.homes,
    many: ["many", "a thousand", "hundreds of", "countless"],
    creature2: `a ${random.pick(words.sizes)} ${friendKind}`,
    creatures2: `a ${random.pick(words.traits)} ${friendKind} and a ${random.pick(words.traits)} ${kind}`,
  };
}

function openings(animal: boolean): string[] {
  const who = animal ? "a {size} {kind} named {hero}" : "a [{size}|{trait}|{size}, {trait}] {child} named {hero}";
  return [
    `Once upon a time, there was ${who}. {He} [lived {home}|was very {trait2}|had many friends|loved to play {outdoors}].`,
    `Once upon a time, ${who} lived {home}. {friend} was {his} best friend.`,
    `There was once ${who} who lived {home}.`,
    `{hero} was ${animal ? "a {trait} {size} {kind}" : "a {trait} {size} {child}"}. {He} lived {home}.`,
    `In a land far away, there lived ${who}. {He} was {trait2} and always cheerful.`,
    `This is the story of ${who} and {his} friend {friend}.`,
    `{hero} and {friend} were good friends. {hero} was {trait}, and {friend} was {trait2}.`,
    `Long ago, ${who} lived {home} with {his} {adult}.`,
  ];
}

const fableOpenings = [
  "Once upon a time, a {fast} and a {slow} lived {home}.",
  "There once was a {fast} who was very proud.",
  "Long ago, a {slow} met a {fast} {outdoors}.",
  "This is the story of the {fast} and the {slow}.",
];
const endings = [
  "The end.",
  "And they lived happily ever after.",
  "It was a day that nobody would ever forget.",
  "And that is the end of the story.",
];
const morals = [
  "{hero} learned that {lesson}.",
  "Now {hero} knew that {lesson}.",
  "That day {hero} learned that {lesson}.",
  "Remember: {lesson}.",
];
