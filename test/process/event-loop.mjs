// Run by event-loop.test.ts in a child process with a libuv pool of one thread. Measures, for each kind of work, the longest turn of the
// event loop in milliseconds (see watchTurns) and the number of files read meanwhile. Prints one JSON object.
import { readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { convertModel, createModelAsync, LanguageModel, pretrain, Tokenizer } from "../../dist/index.js";
import { watchTurns } from "../helpers/turns.mjs";

const folder = process.argv[2];

async function watch(work) {
  let [reads, running] = [0, true];
  const turns = watchTurns();
  const reader = (async () => {
    for (; running; reads++) {
      await readFile("/proc/self/stat");
      if (reads > 100) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  await work();
  running = false;
  const meanwhile = reads;
  const longest = await turns.stop();
  await reader;
  return { longest: Math.round(longest), reads: meanwhile };
}

const said = {};
const text = readFileSync(join(folder, "text.txt"), "utf8");
const big = join(folder, "big.txt");
writeFileSync(big, text.repeat(20));
// Read the text from a file, because V8 would flatten the result of repeat() in one long turn.
const corpus = readFileSync(big, "utf8");
let tokenizer;
said.tokenizerTraining = await watch(async () => {
  tokenizer = await Tokenizer.train([corpus], { vocabSize: 4096 });
});
said.tokenizing = await watch(() => tokenizer.encodeAsync(corpus));
const lines = corpus.split("\n");
said.tokenizingBatch = await watch(() => tokenizer.encodeBatch(lines, { forbidSpecial: true }));
// A text full of characters that the template guard checks. It is also longer than the context: `chatting` must report that.
const html = "<p>some words</p> 語 ".repeat(180_000);
said.chatTemplate = await watch(() => tokenizer.applyChatTemplateAsync([{ role: "user", content: html }]));
const sizes = { hiddenSize: 512, numHiddenLayers: 4, vocabSize: 8192, maxPositionEmbeddings: 1024 };
let made;
said.drawing = await watch(async () => {
  made = await createModelAsync({ modelType: "llama", ...sizes }, { tokenizer, seed: 1 });
});
const saved = join(folder, "model");
said.saving = await watch(() => made.save(saved));
// Expert stacks, which folders store fused and transposed.
const experts = { numExperts: 24, numExpertsPerTok: 2, hiddenSize: 768, intermediateSize: 768 };
const heads = { numAttentionHeads: 12, numKeyValueHeads: 2, headDim: 64, slidingWindow: 64, numHiddenLayers: 1 };
const mixture = await createModelAsync({ modelType: "gpt_oss", vocabSize: 512, ...experts, ...heads }, { seed: 1 });
said.savingExperts = await watch(() => mixture.save(join(folder, "mixture")));
await mixture.dispose();
const gguf = join(folder, "model.gguf");
said.converting = await watch(() => convertModel(saved, gguf, { dtype: "q4_k" }));
let model;
// Repeat, since one run ends before ten files are read.
said.loading = await watch(async () => {
  for (let i = 0; i < 5; i++) {
    await model?.dispose();
    model = await LanguageModel.load(saved, { dtype: "bf16" });
  }
});
said.quantizing = await watch(async () => {
  for (let i = 0; i < 5; i++) await (await LanguageModel.load(saved, { dtype: "q4_k" })).dispose();
});
const prompt = Array.from({ length: 700 }, (_, i) => i);
said.generating = await watch(() => model.complete(prompt, { maxTokens: 60, temperature: 0, ignoreEos: true }));
said.chatting = await watch(() =>
  model
    .chat()
    .send(html)
    .catch(({ code }) => code === "CONTEXT_OVERFLOW" || process.exit(3)),
);
// Five megabytes of words, and of a single word, for every call that takes a text.
const words = "The quick brown fox, number 17, jumps. ".repeat(130_000);
const word = "x".repeat(5_000_000);
const tooLong = async (answer) => {
  const code = await answer.then(
    () => "none",
    (error) => error.code,
  );
  if (code !== "CONTEXT_OVERFLOW") process.exit(4);
};
const ofBoth = (call) => async () => {
  for (const given of [words, word]) await tooLong(call(given));
};
said.completing = await watch(ofBoth((given) => model.complete(given)));
// The ids of the whole prompt are one JavaScript array, which V8 allocates in one turn.
said.completingInPart = await watch(() =>
  model.complete(words, { maxTokens: 1, contextOverflow: "truncateLeft", ignoreEos: true }),
);
said.completingInSession = await watch(async () => {
  const session = model.session();
  await ofBoth((given) => session.complete(given))();
  session.dispose();
});
said.completingInBatcher = await watch(async () => {
  const batcher = model.batcher();
  await ofBoth((given) => batcher.complete(given))();
  await batcher.dispose();
});
said.scoring = await watch(async () => {
  await ofBoth((given) => model.score(given))();
  await ofBoth((given) => model.logits(given))();
});
said.embedding = await watch(ofBoth((given) => model.embed(given)));
await model.model.addClassifier({ task: "token", labels: ["a", "b"] });
said.classifyingTokens = await watch(ofBoth((given) => model.classifyTokens(given)));
await model.dispose();
const options = { maxSteps: 3, perDeviceTrainBatchSize: 4, maxSeqLength: 256, outputDir: join(folder, "out") };
said.training = await watch(async () => {
  for await (const _ of pretrain(made, { data: big, ...options }));
});
console.log(JSON.stringify(said));
