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
import { createJiti } from "jiti";

// The recipe is part of the library, and is read from its source: it needs no build.
const recipe = (/** @type {string} */ name) =>
  createJiti(import.meta.url).import(`../../lib/lifecycle/recipe/${name}.ts`);
const { makeCorpus } = await recipe("corpus");
const { places } = await recipe("places");

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
