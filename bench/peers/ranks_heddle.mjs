// One rank of bench/suites/ranks.ts: trains a small model, and prints the time of its steps on rank 0.
// Usage: ranks_heddle.mjs SHARDING ACCUMULATION STEPS
import { createModel, openWorld, pretrain, Tokenizer } from "../../dist/index.js";
import { peakBytes } from "./peak.mjs";

const [sharding, accumulation, steps] = process.argv.slice(2);
const world = await openWorld({ threads: 1 });

// Milliseconds of a step that exchange data with other ranks, or wait for them.
let waited = 0;
// Programs may also exchange. They run between two calls, in by far the longest gap of a step.
let returned = 0;
let longestGap = 0;
const timed = (call) =>
  call &&
  (async (...args) => {
    const start = performance.now();
    longestGap = Math.max(longestGap, start - returned);
    const computed = secondsIn(args[0]);
    if (computed !== undefined) waited += Math.max(0, longestGap - 1000 * computed);
    try {
      return await call(...args);
    } finally {
      returned = performance.now();
      waited += returned - start;
    }
  });
/** Seconds that the programs of a step computed, which ranks send each other once per step. */
function secondsIn(message) {
  if (!(message instanceof Uint8Array)) return undefined;
  return JSON.parse(new TextDecoder().decode(message)).seconds;
}
const names = ["allReduce", "reduceScatter", "allGather", "broadcast", "sum", "gatherBytes"];
const measured = { ...world, ...Object.fromEntries(names.map((name) => [name, timed(world[name])])) };

const text = Array.from({ length: 4000 }, (_, i) => `The number ${i} is ${i % 2 ? "odd" : "even"}.`).join("\n");
const tokenizer = await Tokenizer.train([text], { vocabSize: 320 });
const base = createModel(
  {
    modelType: "llama",
    hiddenSize: 512,
    intermediateSize: 1408,
    numHiddenLayers: 8,
    numAttentionHeads: 8,
    vocabSize: 8192,
    maxPositionEmbeddings: 256,
    tieWordEmbeddings: true,
  },
  { seed: 7, tokenizer, device: world.device },
);
const shape = { perDeviceTrainBatchSize: 2, maxSeqLength: 256 };
const run = pretrain(base, {
  ...shape,
  data: [{ text }],
  maxSteps: Number(steps),
  gradientAccumulationSteps: Number(accumulation),
  learningRate: 1e-4,
  ...(world.size > 1 && { world: measured, sharding }),
});
const all = [];
let last = performance.now();
for await (const event of run) {
  const now = performance.now();
  if (event.step > 2) all.push({ seconds: (now - last) / 1000, waited: waited / 1000 });
  [last, waited, longestGap, returned] = [now, 0, 0, now];
}
const parameters = base.model.weightNames.reduce((sum, name) => sum + base.model.weight(name).elements, 0);
const peaks = await world.sum(Array.from({ length: world.size }, (_, rank) => (rank === world.rank ? peakBytes() : 0)));
if (world.rank === 0) console.log(JSON.stringify({ parameters, steps: all, peakBytes: peaks }));
await world.close();
