#!/usr/bin/env node
/**
 * Measures how well a model knows capitals, in text completion and in a chat. Uses heddle's public API with greedy decoding.
 *
 *   node scripts/default-model/evaluate.mjs [--model models/default] [--all] [--wrong]
 *
 * Asks for the capital of every place in one wording of the training and in three held-out wordings, or in all wordings with --all. Then asks for
 * the capitals of made-up countries that are not in the training data. The last line of stdout is JSON. The exit code is 1 unless the model reaches these
 * goals: it continues "The capital of France is" with " Paris". In completion and in a chat, it answers 90 % correctly in wordings of the
 * training, and 75 % in held-out wordings.
 */
import { parseArgs } from "node:util";
import { LanguageModel } from "heddle";
import { createJiti } from "jiti";

const source = createJiti(import.meta.url);
const recipe = (/** @type {string} */ name) => source.import(`../../lib/lifecycle/recipe/${name}.ts`);
const { heldOut, render, seen } = await recipe("phrasings");
const { places } = await recipe("places");
const { score } = await recipe("score");
const { heldOutQuestions, madeUp, seenQuestions, unknown } = await recipe("questions");
const { madeUpNames } = await recipe("made-up");
const { defaultPlan } = await source.import("./plan.ts");

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "models/default" },
    all: { type: "boolean", default: false },
    wrong: { type: "boolean", default: false },
  },
});

const model = await LanguageModel.load(values.model);
const { tokenizer } = model;
if (!tokenizer?.config.chatTemplates.default) throw new Error(`${values.model}: the model has no chat template`);

const greedy = { maxTokens: 32, temperature: 0 };
/** @param {string[]} prompts */
const complete = async (prompts) => (await model.completeAll(prompts, greedy)).map(({ text }) => text);
/** Returns the answer to each question, in separate conversations. @param {string[]} questions */
const chat = async (questions) => {
  const prompts = questions.map(
    (content) => tokenizer.applyChatTemplate([{ role: "user", content }], { addGenerationPrompt: true }).ids,
  );
  return (await model.completeAll(prompts, greedy)).map(({ text }) => text);
};
const asked = (/** @type {string[]} */ questions) => questions.map((ask) => ({ ask, answer: "" }));
const some = (/** @type {unknown[]} */ wordings, /** @type {number} */ count) =>
  values.all ? wordings : wordings.slice(0, count);

const started = performance.now();
const [france] = await complete(["The capital of France is"]);
const scores = {
  seen: await score(complete, places, some(seen, 1)),
  heldOut: await score(complete, places, some(heldOut, 3)),
  chatSeen: await score(chat, places, some(asked(seenQuestions), 1)),
  chatHeldOut: await score(chat, places, some(asked(heldOutQuestions), 3)),
};
const plan = defaultPlan();
const names = madeUpNames(plan.seed, plan.size.madeUp).heldOut;
const wording = (/** @type {number} */ i) => heldOutQuestions[i % heldOutQuestions.length];
const answers = await chat(names.map((/** @type {string} */ name, i) => render(wording(i), madeUp(name))));
const invented = answers.filter((text) => text.trim() !== unknown).length / answers.length;
await model.dispose();

if (values.wrong)
  for (const { wrong } of Object.values(scores)) for (const answer of wrong) console.error(JSON.stringify(answer));
const passed =
  france?.startsWith(" Paris") === true &&
  [scores.seen, scores.chatSeen].every(({ accuracy }) => accuracy >= 0.9) &&
  [scores.heldOut, scores.chatHeldOut].every(({ accuracy }) => accuracy >= 0.75);
const summary = Object.fromEntries(
  Object.entries(scores).map(([name, { accuracy, worst, wordings }]) => [name, { accuracy, worst, wordings }]),
);
const seconds = Math.round((performance.now() - started) / 100) / 10;
console.log(
  JSON.stringify({ model: values.model, places: places.length, france, ...summary, invented, seconds, passed }),
);
process.exitCode = passed ? 0 : 1;
