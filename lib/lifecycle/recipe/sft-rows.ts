import { countryQuestions, everydayQuestions } from "./everyday-questions.ts";
import { render } from "./phrasings.ts";
import type { Place } from "./places.ts";
import { capitalAnswer, madeUp, seenQuestions, unknown } from "./questions.ts";
import { Random } from "./random.ts";
import { smallTalk, type Turn } from "./small-talk.ts";

/** A message of a conversation. */
export interface Message {
  role: "user" | "assistant";
  content: string;
}

/** A conversation of supervised fine-tuning. */
export interface ChatRow {
  messages: Message[];
}

const row = ({ question, answer }: Turn): ChatRow => ({
  messages: [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ],
});

/** Number of wordings in which each capital is asked for. */
const WORDINGS = 6;
/** Number of questions about each made-up country. */
const UNKNOWN_WORDINGS = 1;

/**
 * Generates conversations: capitals in several wordings, other questions about countries, everyday things, small talk,
 * and unanswerable questions. At least 4 % of the questions are unanswerable: a few are about made-up countries, and most
 * about the user.
 */
export function sftRows(
  seed: number,
  countries: readonly Place[],
  madeUpNames: readonly string[],
  unknowable: readonly Turn[],
): ChatRow[] {
  const random = new Random(seed * 16 + 10);
  const capitals = countries.flatMap((place) =>
    random
      .sample(seenQuestions.slice(1), WORDINGS - 1)
      .concat(seenQuestions[0]!)
      .map((ask) => ({ question: render(ask, place), answer: capitalAnswer(place) })),
  );
  const others = countries.flatMap((place) => random.sample(countryQuestions(place), 2));
  const unanswered = madeUpNames.flatMap((name) =>
    random
      .sample(seenQuestions, UNKNOWN_WORDINGS)
      .map((ask) => ({ question: render(ask, madeUp(name)), answer: unknown })),
  );
  const turns = [
    ...capitals,
    ...others,
    ...everydayQuestions(),
    ...smallTalk,
    ...smallTalk,
    ...unknowable,
    ...unanswered,
  ];
  return random.shuffle(turns.map(row));
}
