import { type LabeledText, labeledTexts } from "./classification.ts";
import { conversations, pairsInConversations } from "./conversations.ts";
import { makeCorpus, type RecipeCorpus } from "./corpus.ts";
import { developmentSets, type EvaluationSets, evaluationSets } from "./evaluation-sets.ts";
import { type MadeUpNames, madeUpNames } from "./made-up.ts";
import { type PreferenceRow, type PromptRow, preferenceRows, promptRows } from "./preference-rows.ts";
import { type CountrySplit, splitCountries } from "./questions.ts";
import { type ChatRow, sftRows } from "./sft-rows.ts";
import { unanswerable } from "./small-talk.ts";

/** Sizes of the generated data. */
export interface RecipeSize {
  stories: number;
  /** Number of rounds of facts. A round states every capital about five times. */
  rounds: number;
  knowledge: number;
  /** Maximum number of countries that training and the evaluation ask about. Training asks about at most as many other places. */
  askedCountries: number;
  /** Number of countries whose capital training states but never asks for. */
  toldCountries: number;
  /** Number of further countries whose capital training states but never asks for. They are for tuning hyperparameters. */
  developmentCountries: number;
  /** Maximum number of questions of a conversation in fine-tuning and preference data. `heddle lifecycle` uses one. */
  turns: number;
  /** Number of made-up countries in each set. */
  madeUp: Record<keyof MadeUpNames, number>;
}

/** Sizes of the default model's data. */
export const fullSize: RecipeSize = {
  stories: 8000,
  rounds: 80,
  knowledge: 5000,
  askedCountries: 200,
  toldCountries: 40,
  developmentCountries: 15,
  turns: 1,
  madeUp: { sft: 8, preference: 300, heldOut: 100, development: 60 },
};

/** Sizes for smoke tests. Generating the data and training on it take seconds. */
export const quickSize: RecipeSize = {
  stories: 200,
  rounds: 2,
  knowledge: 100,
  askedCountries: 24,
  toldCountries: 6,
  developmentCountries: 2,
  turns: 1,
  madeUp: { sft: 4, preference: 12, heldOut: 8, development: 4 },
};

/** All data of a run: the training data of each stage, and the held-out data. */
export interface Recipe {
  corpus: RecipeCorpus;
  sft: ChatRow[];
  preferences: { train: PreferenceRow[]; heldOut: PreferenceRow[] };
  prompts: PromptRow[];
  classification: { train: LabeledText[]; test: LabeledText[] };
  evaluation: EvaluationSets;
  /** Evaluation sets for tuning hyperparameters. `evaluation` must not be used for tuning, because its results are reported. */
  development: EvaluationSets;
  countries: CountrySplit;
  names: MadeUpNames;
}

/** Generates the data of a run. The same seed and size generate the same rows. */
export function makeRecipe(seed: number, size: RecipeSize = fullSize): Recipe {
  const { toldCountries, developmentCountries, askedCountries } = size;
  const split = { toldOnly: toldCountries, development: developmentCountries, asked: askedCountries };
  const countries = splitCountries(seed, split);
  const names = madeUpNames(seed, size.madeUp);
  const asked = [...countries.asked, ...countries.others];
  const unknowable = unanswerable(seed, 4);
  const { stories, rounds, knowledge, turns } = size;
  const single = sftRows(seed, asked, names.sft, unknowable.train);
  const pairs = preferenceRows(seed, asked, names, unknowable.train);
  const toldOnly = new Set([...countries.toldOnly, ...countries.development].map(({ code }) => code));
  return {
    corpus: makeCorpus({ seed, stories, rounds, knowledge, toldOnly }),
    sft: conversations(seed, single, turns),
    preferences: { ...pairs, train: pairsInConversations(seed, pairs.train, single, turns) },
    prompts: promptRows(seed, asked, names.preference),
    classification: labeledTexts(seed, countries),
    evaluation: evaluationSets(seed, countries, names),
    development: developmentSets(seed, countries, names),
    countries,
    names,
  };
}
