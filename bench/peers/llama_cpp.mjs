// node-llama-cpp's side of bench/suites/inference.ts. It is not a dependency: HEDDLE_BENCH_LLAMA names a folder with it in
// node_modules. Reads requests, one JSON object per line. { phase, tokens, sequences, flash } is answered with the { seconds } for that
// many tokens per sequence. Further requests: { phase: "logits", ids }, { phase: "embed", ids or text }, { phase: "tokenize", text } and
// { phase: "open", file }. Batches are filled by hand and no tokens are sampled, so that the time includes neither its scheduler nor its
// sampler.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, file, threads] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error" });
let model = await llama.loadModel({ modelPath: file });
const START = 16;
const idOf = (i) => 3 + ((i * 7919) % 250);

/** Contexts by number of sequences and flash attention, created on first use. */
const contexts = new Map();
async function contextOf(sequences, flashAttention) {
  const key = `${sequences}/${flashAttention}`;
  if (!contexts.has(key))
    contexts.set(
      key,
      await model.createContext({
        sequences,
        contextSize: 1024,
        batchSize: 512,
        flashAttention,
        threads: { ideal: Number(threads), min: Number(threads) },
      }),
    );
  return contexts.get(key)._ctx;
}

/** Decodes the tokens [from, from + count) of every sequence in one batch, with the logits of each sequence's last token. */
async function feed(context, sequences, from, count) {
  context.initBatch(sequences * count);
  for (let s = 0; s < sequences; s++)
    context.addToBatch(
      s,
      from,
      Uint32Array.from({ length: count }, (_, i) => idOf(from + i)),
      Uint32Array.of(count - 1),
    );
  await context.decodeBatch();
}

/** Returns the logits of a prompt's last token, by id. */
async function logits(tokens) {
  const context = await contextOf(1, false);
  context.disposeSequence(0);
  context.initBatch(tokens.length);
  const [at] = context.addToBatch(0, 0, Uint32Array.from(tokens), Uint32Array.of(tokens.length - 1));
  await context.decodeBatch();
  const sampler = new llama._bindings.AddonSampler(model._model);
  sampler.applyConfig({ temperature: 0 });
  const pairs = (await context.sampleToken(at, sampler, false, false, true))[3];
  const values = new Array(pairs.length / 2);
  for (let i = 0; i < pairs.length; i += 2) values[pairs[i]] = pairs[i + 1];
  return values;
}

/** Embeds one text, or returns the scores of a ranking model. Ids are used unchanged if they begin and end like its tokenized texts. */
async function embed(input) {
  if (!contexts.has("embed"))
    contexts.set("embed", await model.createEmbeddingContext({ threads: Number(threads), contextSize: "auto" }));
  return [...(await contexts.get("embed").getEmbeddingFor(input)).vector];
}

/** Opens another file instead of the previous one. Returns false if it cannot be loaded. */
async function open(modelPath) {
  for (const context of contexts.values()) await context.dispose();
  contexts.clear();
  await model?.dispose();
  model = await llama.loadModel({ modelPath }).catch(() => undefined);
  return model !== undefined;
}

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const { phase, tokens, sequences = 1, flash, ids, text, file } = JSON.parse(line);
  if (phase === "open") {
    console.log(JSON.stringify({ ready: await open(file) }));
    continue;
  }
  if (phase === "logits") {
    console.log(JSON.stringify({ logits: await logits(ids) }));
    continue;
  }
  if (phase === "embed") {
    console.log(JSON.stringify({ vector: await embed(ids ?? text) }));
    continue;
  }
  if (phase === "tokenize") {
    console.log(JSON.stringify({ ids: [...model.tokenize(text)] }));
    continue;
  }
  const context = await contextOf(sequences, flash);
  for (let s = 0; s < sequences; s++) context.disposeSequence(s);
  if (phase === "decode") await feed(context, sequences, 0, START);
  const start = performance.now();
  if (phase === "prefill") await feed(context, sequences, 0, tokens);
  else for (let i = 0; i < tokens; i++) await feed(context, sequences, START + i, 1);
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
}
