#!/usr/bin/env node
/**
 * Writes the training corpus of the embedded default model.
 *
 *   node scripts/default-model/corpus.mjs --out DIR [--seed 1] [--stories 12000] [--rounds 90] [--knowledge 8000]
 *
 * DIR gets stories.jsonl, facts.jsonl and knowledge.jsonl ({"text": …} rows), held-out.jsonl (stories and knowledge that the
 * training never sees; it holds no facts about places, which are told in many wordings and evaluated by evaluate.mjs), and
 * tokenizer.txt (a sample of everything, to train the tokenizer on). The same seed writes the same bytes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { factRound } from "./facts.mjs";
import { knowledge } from "./knowledge.mjs";
import { heldOut, render } from "./phrasings.mjs";
import { places } from "./places.mjs";
import { Random } from "./random.mjs";
import { story } from "./stories.mjs";

/**
 * @param {{ seed?: number, stories?: number, rounds?: number, knowledge?: number }} [size]
 * @returns {{ stories: string[], facts: string[], knowledge: string[], heldOut: string[] }} documents
 */
export function makeCorpus({ seed = 1, stories = 12000, rounds = 90, knowledge: sheets = 8000 } = {}) {
  const distinct = (/** @type {number} */ count, /** @type {() => string} */ make) => {
    const texts = new Set();
    for (let tries = 0; texts.size < count && tries < 20 * count; tries++) texts.add(make());
    return /** @type {string[]} */ ([...texts]);
  };
  // Each part has its own stream of choices: changing the size of one leaves the others as they were.
  const [storyRandom, factRandom, knowledgeRandom] = [1, 2, 3].map((part) => new Random(seed * 16 + part));
  const allStories = distinct(Math.ceil(stories * 1.01), () => story(storyRandom));
  const allKnowledge = distinct(Math.ceil(sheets * 1.01), () => knowledge(knowledgeRandom));
  const facts = Array.from({ length: rounds }, () => factRound(factRandom)).flat();
  refuseHeldOut(facts);
  return {
    stories: allStories.slice(0, stories),
    facts,
    knowledge: allKnowledge.slice(0, sheets),
    heldOut: [...allStories.slice(stories), ...allKnowledge.slice(sheets)],
  };
}

/** Fails where a document holds a held-out wording. @param {string[]} documents */
function refuseHeldOut(documents) {
  const text = documents.join("\n\n");
  for (const { ask } of heldOut) {
    // Most wordings have a piece that no document has at all; for the others every name is tried.
    const pieces = `${ask} `.split(/\{\w+\}/);
    if (pieces.some((piece) => piece && !text.includes(piece))) continue;
    for (const place of places) {
      for (const name of [place.name, ...place.names.map((other) => other.replace(/^the /, ""))]) {
        for (const withArticle of [name, `the ${name}`]) {
          const prompt = `${render(ask, { ...place, name, withArticle })} `;
          if (text.includes(prompt)) throw new Error(`corpus: generated the held-out ${JSON.stringify(prompt)}`);
        }
      }
    }
  }
}

if (import.meta.filename === process.argv[1]) {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      seed: { type: "string" },
      stories: { type: "string" },
      rounds: { type: "string" },
      knowledge: { type: "string" },
    },
  });
  if (!values.out) throw new Error("corpus.mjs: expected --out DIR");
  const size = Object.fromEntries(
    Object.entries(values)
      .filter(([key]) => key !== "out")
      .map(([key, value]) => [key, Number(value)]),
  );
  const corpus = makeCorpus(size);
  mkdirSync(values.out, { recursive: true });
  const report = { places: places.length };
  for (const [name, documents] of Object.entries({
    stories: corpus.stories,
    facts: corpus.facts,
    knowledge: corpus.knowledge,
    "held-out": corpus.heldOut,
  })) {
    const lines = documents.map((text) => `${JSON.stringify({ text })}\n`).join("");
    writeFileSync(join(values.out, `${name}.jsonl`), lines);
    report[name] = {
      documents: documents.length,
      bytes: documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    };
  }
  const sample = [
    ...corpus.stories.slice(0, 4000),
    ...corpus.facts.slice(0, 12 * 720),
    ...corpus.knowledge.slice(0, 2000),
  ];
  writeFileSync(join(values.out, "tokenizer.txt"), sample.join("\n\n"));
  console.log(JSON.stringify(report));
}
