// Uses the installed package on one platform and writes FOLDER/result.json: node trial.mjs FOLDER
// The folder receives checkpoints too. Every number in the result is comparable between platforms.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createModel, LanguageModel, pretrain, Tokenizer } from "heddle";
import { deviceInfo } from "heddle/graph";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });

const sentences = [
  "The river runs to the sea.",
  "Zwölf Boxkämpfer jagen Eva.",
  "数学は楽しい。",
  "One, two, three – four! 🙂",
];
const text = Array.from({ length: 60 }, (_, i) => `${sentences[i % 4]} ${sentences[(i * 7 + 1) % 4]}`).join("\n");
const corpus = join(folder, "corpus.txt");
writeFileSync(corpus, text);

// Tokenize.
const tokenizer = await Tokenizer.train([text], { vocabSize: 320, bosToken: "<|endoftext|>" });
const ids = tokenizer.encode(text, { addSpecialTokens: false });
if (tokenizer.decode(ids) !== text) throw new Error("the tokenizer does not decode its ids to the original text");
const tokens = { count: ids.length, digest: createHash("sha256").update(Array.from(ids).join()).digest("hex") };

// Generate.
const model = await LanguageModel.load("default");
const { text: answer } = await model.complete("The capital of France is", { maxTokens: 12, temperature: 0 });
await model.dispose();

/** Trains a small model for ten steps; ends after `stop` of them if given. Returns the losses by step. */
async function train(name, stop) {
  const small = createModel(
    { modelType: "llama", hiddenSize: 64, numHiddenLayers: 2, numAttentionHeads: 4, intermediateSize: 128 },
    { tokenizer, seed: 1 },
  );
  const losses = {};
  const abort = new AbortController();
  const run = pretrain(small, {
    data: corpus,
    maxSteps: 10,
    maxSeqLength: 64,
    perDeviceTrainBatchSize: 2,
    loggingSteps: 1,
    outputDir: join(folder, name),
    resume: "auto",
    signal: abort.signal,
  });
  try {
    for await (const event of run) {
      if (!("loss" in event)) continue;
      losses[event.step] = event.loss;
      if (event.step === stop) abort.abort();
    }
    await run;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  }
  await small.dispose();
  return losses;
}

const whole = await train("whole");
const first = await train("parts", 5);
const second = await train("parts");
const weights = (name) =>
  createHash("sha256")
    .update(readFileSync(join(folder, name, "model.safetensors")))
    .digest("hex");

const { cpu, cuda } = deviceInfo();
writeFileSync(
  join(folder, "result.json"),
  JSON.stringify({
    platform: process.platform,
    arch: process.arch,
    isa: cpu.isa,
    cudaBuilt: cuda.built,
    tokens,
    answer,
    losses: whole,
    resumed: { ...first, ...second },
    resumedSteps: Object.keys(second).map(Number),
    weights: weights("whole"),
    resumedWeights: weights("parts"),
  }),
);
