import { everydayQuestions } from "./everyday-questions.ts";
import type { MadeUpNames } from "./made-up.ts";
import { render } from "./phrasings.ts";
import type { Place } from "./places.ts";
import { capitalAnswer, heldOutQuestions, madeUp, type Named, seenQuestions, unknown } from "./questions.ts";
import { Random } from "./random.ts";
import type { Message } from "./sft-rows.ts";
import { smallTalk, type Turn } from "./small-talk.ts";

/** A question with a better and a worse answer. */
export interface PreferenceRow {
  prompt: Message[];
  chosen: Message[];
  rejected: Message[];
}

/** A question for the model to answer, whose answer is then judged. */
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
 * Returns preference pairs. For made-up countries, "I don't know." is better than an invented capital. For real countries, the correct capital
 * is better than "I don't know." and than a wrong capital. A correct answer is better than an answer to another question. An answer about a
 * capital is better than a garbled copy of itself. Without the last two kinds of pairs, a reward model would not learn to reject such answers.
 * A policy would exploit this ("I don know."). The made-up names and the wordings of held-out pairs occur in no training data.
 */
export function preferenceRows(
  seed: number,
  countries: readonly Place[],
  names: MadeUpNames,
  unknowable: readonly Turn[],
): { train: PreferenceRow[]; heldOut: PreferenceRow[] } {
  const random = new Random(seed * 16 + 11);
  // An invented answer names a real capital, which is the chosen answer in other pairs. If a capital were always rejected, the model would
  // learn that it is a bad answer to any question.
  const invented = (place: Named) => capitalAnswer({ ...place, capital: random.pick(countries).capital });
  const wrong = (place: Named) => {
    const { capital } = random.pick(countries.filter((other) => other.capital !== place.capital));
    return capitalAnswer({ ...place, capital });
  };
  const made = (name: string, asks: readonly string[]) =>
    asks.map((ask) => pair(render(ask, madeUp(name)), unknown, invented(madeUp(name))));
  const known = (place: Place, asks: readonly string[]) =>
    asks.map((ask) => pair(render(ask, place), capitalAnswer(place), unknown));
  const ask = (count: number) => random.sample(seenQuestions, count);
  const everyday = everydayQuestions();
  const others = [...everyday, ...smallTalk, ...smallTalk].map(({ answer }) => answer);
  /** Pairs a correct answer with an answer to another question. */
  const againstOtherAnswer = ({ question, answer }: Turn) =>
    pair(question, answer, random.pick(others.filter((other) => other !== answer)));
  const capital = (place: Place): Turn => ({
    question: render(random.pick(seenQuestions), place),
    answer: capitalAnswer(place),
  });
  const againstMangled = ({ question, answer }: Turn) => pair(question, answer, mangled(answer, random));
  const unknownOf = (name: string): Turn => ({
    question: render(random.pick(seenQuestions), madeUp(name)),
    answer: unknown,
  });
  const everydayTurns = random.sample(everyday, 60);
  const train = [
    ...names.preference.flatMap((name) => made(name, ask(2))),
    ...countries.flatMap((place) => known(place, ask(2))),
    ...countries.flatMap((place) =>
      ask(2).map((wording) => pair(render(wording, place), capitalAnswer(place), wrong(place))),
    ),
    ...countries.map((place) => againstOtherAnswer(capital(place))),
    ...names.preference.slice(0, countries.length / 2).map((name) => againstOtherAnswer(unknownOf(name))),
    ...countries.map((place) => againstMangled(capital(place))),
    ...names.preference.slice(-countries.length).map((name) => againstMangled(unknownOf(name))),
    ...everydayTurns.flatMap((turn) => [pair(turn.question, turn.answer, unknown), againstOtherAnswer(turn)]),
    ...smallTalk.flatMap((turn) => [pair(turn.question, turn.answer, unknown), againstOtherAnswer(turn)]),
    ...unknowable.map((turn) => againstOtherAnswer(turn)),
  ];
  const heldOut = [
    ...names.heldOut.flatMap((name) => made(name, [random.pick(heldOutQuestions)])),
    ...random.sample(countries, names.heldOut.length).flatMap((place) => known(place, [random.pick(heldOutQuestions)])),
  ];
  return { train: random.shuffle(train), heldOut };
}

/** Omits or repeats one piece of an answer: a number, a punctuation mark, or up to four letters of a word. */
function mangled(answer: string, random: Random): string {
  const pieces = answer.match(/\s?(?:\p{L}{1,4}|\p{N}+|[^\s])/gu) ?? [];
  const at = random.below(pieces.length);
  const piece = pieces[at]!;
  const changed = random.chance(0.6) && pieces.length > 1 ? [] : [piece, piece];
  return pieces
    .toSpliced(at, 1, ...changed)
    .join("")
    .trim();
}

/** Returns prompts for reinforcement learning, with as many real countries as made-up ones. */
export function promptRows(seed: number, countries: readonly Place[], madeUpNames: readonly string[]): PromptRow[] {
  const random = new Random(seed * 16 + 12);
  const real = Array.from({ length: madeUpNames.length }, (_, i) => countries[i % countries.length]!);
  return random.shuffle(
    [...real, ...madeUpNames.map(madeUp)].map((place) => ({
      prompt: asked(render(random.pick(seenQuestions), place)),
    })),
  );
}
