import { capitalized } from "./template.ts";
/**
 * Wordings of the question for a capital, with templates as in phrasings.ts. Training has hundreds of wordings, which are
 * combined from parts. With only twenty, a model that learns to decline would also decline unseen wordings. Some wordings
 * mention a person or have a sentence before the question, so that the model learns to ignore such additions.
 */

/** Wordings that no training data of any stage has. */
export const heldOutQuestions: readonly string[] = [
  "What is the name of the capital of {c}?",
  "Please tell me the capital of {c}.",
  "Which city is {cs} capital?",
  "I would like to know what the capital of {c} is.",
  "Do you know the capital city of {c}?",
];

/** Wordings for tuning hyperparameters and selecting checkpoints. Neither training data nor the evaluation has them. */
export const developmentQuestions: readonly string[] = [
  "What is the name of {cs} capital?",
  "Could you tell me the capital of {c}?",
  "Do you know which city is the capital of {c}?",
  "I would like to know {cs} capital.",
];

const whole: readonly string[] = [
  "What is the capital of {c}?",
  "What is {cs} capital?",
  "What is the capital city of {c}?",
  "What is {cs} capital city?",
  "Which city is the capital of {c}?",
  "Which city is the capital city of {c}?",
  "Which city does {c} have as its capital?",
  "Which is the capital of {c}?",
  "What city is the capital of {c}?",
  "What is the capital called in {c}?",
  "What do you call the capital of {c}?",
  "Where is the capital of {c}?",
  "The capital of {c}?",
  "{C} has which city as its capital?",
  "{C}: what is its capital?",
  "Think of {c}. What is its capital?",
  "If I go to {c}, which city is its capital?",
];

/** Values of {n}: the requested fact as a noun. */
const nouns = ["the capital of {c}", "{cs} capital", "the capital city of {c}"];
const withNoun: readonly string[] = [
  "Tell me {n}.",
  "Name {n}.",
  "Do you know {n}?",
  "Can you name {n}?",
  "Can you tell me {n}?",
  "I want to know {n}.",
  "I need to know {n}.",
  "I am looking for {n}.",
  "Say the name of {n}.",
  "Give me {n}.",
  "Remind me of {n}.",
  "Does anyone know {n}?",
  "I have forgotten {n}.",
  "My question is about {n}.",
  "Have you heard of {n}?",
  "Help me find {n}.",
];

/** Values of {n}: the requested fact as a clause. */
const clauses = ["what the capital of {c} is", "which city is the capital of {c}", "what {cs} capital is"];
const withClause: readonly string[] = [
  "Tell me {n}.",
  "Can you say {n}?",
  "Can you tell me {n}?",
  "I want to know {n}.",
  "I wonder {n}.",
  "I forgot {n}.",
  "Are you sure {n}?",
  "My friend asks {n}.",
  "Let me know {n}.",
  "Explain to me {n}.",
];

/** People who ask for the capital, or who are told it. */
const people =
  "Anna|Ben|my sister|our teacher|the old man|a girl from my school|Grandma|my friend Tom|the baker|everyone|Lily|his uncle|the driver|Sam and Mia|my class|the farmer|a boy|Clara|the woman next door|Max".split(
    "|",
  );
/** Templates with a person, {w}. */
const withPerson: readonly string[] = [
  "{w} asks for {n}.",
  "Can you tell {w} {n}?",
  "Let {w} know {n}.",
  "Because of {w}, I must learn {n}.",
  "How would you explain {n} to {w}?",
];

/** Texts that may precede a question. */
const before =
  "It is late.|I am in the kitchen.|We are playing a game.|Here is a question.|This is for school.|Listen.|I am reading a book about it.|Think well.|One more thing.|We are on a train.|First question:|Now tell me:".split(
    "|",
  );

const fill = (frames: readonly string[], parts: readonly string[]) =>
  frames.flatMap((frame) => parts.map((part) => frame.replace("{n}", part)));

/** Wordings of supervised fine-tuning, preference data and prompts. The first one is the plainest. */
export const seenQuestions: readonly string[] = [
  ...whole,
  ...fill(withNoun, nouns),
  ...fill(withClause, clauses),
  // Each combination of a person and a template uses one of the nouns, in turn.
  ...people.flatMap((person, i) =>
    withPerson.map((frame, j) =>
      capitalized(frame.replace("{n}", nouns[(i + j) % nouns.length]!).replace("{w}", person)),
    ),
  ),
  // The first 13 whole wordings are questions that make sense after any sentence.
  ...before.flatMap((sentence, i) => [0, 1, 2].map((j) => `${sentence} ${whole[(3 * i + j) % 13]!}`)),
].filter((wording) => ![...heldOutQuestions, ...developmentQuestions].includes(wording));
