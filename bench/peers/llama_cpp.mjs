// node-llama-cpp's side of bench/inference.ts. It is not a dependency: HEDDLE_BENCH_LLAMA names a folder with it in
// node_modules. Reads { prompt, decode } a line, answers { prefill, decode } seconds.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, file, threads] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error" });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({
  contextSize: 1024,
  batchSize: 512,
  threads: { ideal: Number(threads), min: Number(threads) },
});
const sequence = context.getSequence();
console.log(JSON.stringify({ ready: true }));

for await (const line of createInterface({ input: process.stdin })) {
  const { prompt, decode } = JSON.parse(line);
  await sequence.clearHistory();
  const tokens = Array.from({ length: prompt }, (_, i) => 3 + ((i * 7919) % 250));
  const start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens);
  const prefilled = performance.now();
  let count = 0;
  for await (const _ of sequence.evaluate([5], { temperature: 0, yieldEogToken: true })) if (++count === decode) break;
  console.log(JSON.stringify({ prefill: (prefilled - start) / 1000, decode: (performance.now() - prefilled) / 1000 }));
}
