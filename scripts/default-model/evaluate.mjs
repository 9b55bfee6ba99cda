#!/usr/bin/env node
/**
 * How well a model knows the capitals, asked greedily through heddle's public API.
 *
 *   node scripts/default-model/evaluate.mjs [--model models/default] [--all] [--wrong]
 *
 * Every place is asked in the wordings of the recipe's phrasings.ts: with --all in all of them, else in the plainest seen and in three that
 * the training never had. The last line of stdout is JSON. Exit code 1 where the model falls short of what the default model must
 * reach: " Paris" after "The capital of France is", 90 % in seen wordings, 75 % in held-out ones.
 */
import { parseArgs } from "node:util";
import { LanguageModel } from "heddle";
import { createJiti } from "jiti";

const recipe = (/** @type {string} */ name) =>
  createJiti(import.meta.url).import(`../../lib/lifecycle/recipe/${name}.ts`);
const { heldOut, seen } = await recipe("phrasings");
const { places } = await recipe("places");
const { score } = await recipe("score");

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "models/default" },
    all: { type: "boolean", default: false },
    wrong: { type: "boolean", default: false },
  },
});

const model = await LanguageModel.load(values.model);
const complete = async (/** @type {string} */ prompt) =>
  (await model.complete(prompt, { maxTokens: 16, temperature: 0 })).text;

const started = performance.now();
const france = await complete("The capital of France is");
const seenScore = await score(complete, places, values.all ? seen : seen.slice(0, 1));
const heldOutScore = await score(complete, places, values.all ? heldOut : heldOut.slice(0, 3));
await model.dispose?.();

if (values.wrong)
  for (const answer of [...seenScore.wrong, ...heldOutScore.wrong]) console.error(JSON.stringify(answer));
const passed = france.startsWith(" Paris") && seenScore.accuracy >= 0.9 && heldOutScore.accuracy >= 0.75;
const summary = ({ accuracy, worst, wordings }) => ({ accuracy, worst, wordings });
console.log(
  JSON.stringify({
    model: values.model,
    places: places.length,
    france,
    seen: summary(seenScore),
    heldOut: summary(heldOutScore),
    seconds: Math.round((performance.now() - started) / 100) / 10,
    passed,
  }),
);
process.exitCode = passed ? 0 : 1;
