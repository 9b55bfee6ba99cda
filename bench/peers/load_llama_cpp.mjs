// node-llama-cpp's side of bench/suites/load.ts. Its library is loaded before the clock starts.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { peakBytes } from "./peak.mjs";

const [folder, file, prompt, threads] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error" });
const tokens = Array.from({ length: Number(prompt) }, (_, i) => 3 + i);
const start = performance.now();
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({
  contextSize: 1024,
  threads: { ideal: Number(threads), min: Number(threads) },
});
for await (const _ of context.getSequence().evaluate(tokens, { temperature: 0, yieldEogToken: true })) break;
const seconds = (performance.now() - start) / 1000;
console.log(JSON.stringify({ seconds, peakBytes: peakBytes() }));
process.exit(0);
