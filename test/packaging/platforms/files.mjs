// Uses files in the ways that systems treat differently, and writes FOLDER/result.json: node files.mjs FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createModel, LanguageModel, pretrain, Tokenizer } from "heddle";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });

const lines = Array.from({ length: 40 }, (_, i) => `Line ${i} of a story about the sea and ${i % 7} ships.`);
const tokenizer = await Tokenizer.train([lines.join("\n")], { vocabSize: 300, bosToken: "<|endoftext|>" });
const corpus = join(folder, "corpus.txt");
writeFileSync(corpus, lines.join("\n"));
const modelOf = (seed) =>
  createModel(
    { modelType: "llama", hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 64 },
    { tokenizer, seed },
  );

/** Trains for two steps and returns the losses. */
async function train(outputDir, data, options = {}) {
  const model = modelOf(1);
  const run = pretrain(model, { data, maxSteps: 2, maxSeqLength: 32, loggingSteps: 1, outputDir, ...options });
  const losses = [];
  for await (const event of run) if ("loss" in event) losses.push(event.loss);
  await run;
  await model.dispose();
  return losses;
}

/** Rows are the same with \n and with \r\n as line ends. */
async function lineEnds() {
  const losses = [];
  for (const [name, end] of [
    ["lf", "\n"],
    ["crlf", "\r\n"],
  ]) {
    const data = join(folder, `${name}.jsonl`);
    writeFileSync(data, lines.map((text) => `${JSON.stringify({ text })}${end}`).join(""));
    losses.push(await train(join(folder, name), data));
  }
  return losses[0].join() === losses[1].join();
}

/** A path of more than 260 characters, which old programs for Windows cannot open. */
async function longPath() {
  const long = join(resolve(folder), ...Array.from({ length: 6 }, (_, i) => `${i} ${"ordner-ä".repeat(6)}`));
  mkdirSync(long, { recursive: true });
  await train(long, corpus, { overwriteOutputDir: true });
  const model = await LanguageModel.load(long);
  const { text } = await model.complete("Line", { maxTokens: 4, temperature: 0 });
  await model.dispose();
  return long.length > 260 && typeof text === "string";
}

/** A model is saved over one that is loaded from the same files, and both work. */
async function savedOverOpenFiles() {
  const place = join(folder, "öffne mich");
  const [first, second] = [modelOf(1), modelOf(2)];
  await first.save(place);
  const expected = [await greedy(first), await greedy(second)];
  const open = await LanguageModel.load(place);
  await second.save(place);
  const again = await LanguageModel.load(place);
  const got = [await greedy(open), await greedy(again)];
  for (const model of [first, second, open, again]) await model.dispose();
  return expected.join("|") === got.join("|");
}

async function greedy(model) {
  const { text } = await model.complete("Line", { maxTokens: 8, temperature: 0 });
  return text;
}

/** A second run in the same folder is rejected while the first one is running. */
async function locks() {
  const outputDir = join(folder, "locked");
  const model = modelOf(1);
  const run = pretrain(model, { data: corpus, maxSteps: 4, maxSeqLength: 32, loggingSteps: 1, outputDir });
  let rejected;
  for await (const event of run)
    if ("loss" in event && rejected === undefined)
      rejected = await train(outputDir, corpus, { overwriteOutputDir: true }).then(
        () => "not rejected",
        (error) => `${error.code} ${/no other run/.test(error.message)}`,
      );
  await run;
  await model.dispose();
  return rejected;
}

const result = {};
for (const check of [lineEnds, longPath, savedOverOpenFiles, locks])
  result[check.name] = await check().catch((error) => String(error?.stack ?? error));
writeFileSync(join(folder, "result.json"), JSON.stringify(result));
