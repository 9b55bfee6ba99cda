import { everydayQuestions } from "./everyday-questions.ts";
import type { MadeUpNames } from "./made-up.ts";
import { render } from "./phrasings.ts";
import { type Place, places } from "./places.ts";
import { capitalAnswer, heldOutQuestions, madeUp, type Named, seenQuestions, unknown } from "./questions.ts";
import { Random } from "./random.ts";
import type { Message } from "./sft-rows.ts";
import { smallTalk } from "./small-talk.ts";

/** A question with a better and a worse answer. */
export interface PreferenceRow {
  prompt: Message[];
  chosen: Message[];
  rejected: Message[];
}

/** A question that the model answers itself, to be judged. */
export interface PromptRow {
  prompt: Message[];
}

const asked = (content: string): Message[] => [{ role: "user", content }];
const answered = (content: string): Message[] => [{ role: "assistant", content }];
const pair = (question: string, chosen: string, rejected: string): PreferenceRow => ({
  prompt: asked(question),
  chosen: answered(chosen),
  rejected: answered(rejected),
});

/**
 * Pairs: of a made-up country "I don't know." is better than an invented capital; of a real one the right capital is better than
 * "I don't know." and than a wrong one; other questions are answered too. Held out are pairs about names and in wordings that no
 * training data has.
 */
export function preferenceRows(
  seed: number,
  countries: readonly Place[],
  names: MadeUpNames,
): { train: PreferenceRow[]; heldOut: PreferenceRow[] } {
  const random = new Random(seed * 16 + 11);
  const invented = (place: Named) => capitalAnswer({ ...place, capital: random.pick(places).capital });
  const wrong = (place: Named) => {
    const { capital } = random.pick(places.filter((other) => other.capital !== place.capital));
    return capitalAnswer({ ...place, capital });
  };
  const made = (name: string, asks: readonly string[]) =>
    asks.map((ask) => pair(render(ask, madeUp(name)), unknown, invented(madeUp(name))));
  const known = (place: Place, asks: readonly string[]) =>
    asks.map((ask) => pair(render(ask, place), capitalAnswer(place), unknown));
  const ask = (count: number) => random.sample(seenQuestions, count);
  const train = [
    ...names.preference.flatMap((name) => made(name, ask(2))),
    ...countries.flatMap((place) => known(place, ask(3))),
    ...countries.flatMap((place) =>
      ask(1).map((wording) => pair(render(wording, place), capitalAnswer(place), wrong(place))),
    ),
    ...random.sample(everydayQuestions(), 40).map(({ question, answer }) => pair(question, answer, unknown)),
    ...smallTalk.slice(0, 20).map(({ question, answer }) => pair(question, answer, unknown)),
  ];
  const heldOut = [
    ...names.heldOut.flatMap((name) => made(name, [random.pick(heldOutQuestions)])),
    ...random.sample(countries, names.heldOut.length).flatMap((place) => known(place, [random.pick(heldOutQuestions)])),
  ];
  return { train: random.shuffle(train), heldOut };
}

/** Prompts of reinforcement learning: as many real countries as made-up ones. */
export function promptRows(seed: number, countries: readonly Place[], madeUpNames: readonly string[]): PromptRow[] {
  const random = new Random(seed * 16 + 12);
  const real = Array.from({ length: madeUpNames.length }, (_, i) => countries[i % countries.length]!);
  return random.shuffle(
    [...real, ...madeUpNames.map(madeUp)].map((place) => ({
      prompt: asked(render(random.pick(seenQuestions), place)),
    })),
  );
}
