// heddle's side of bench/suites/load.ts: seconds from opening a model to its first token, and the process's peak memory.
import { LanguageModel } from "../../dist/index.js";
import { peakBytes } from "./peak.mjs";

const [file, prompt, threads, dtype = "auto"] = process.argv.slice(2);
const tokens = Array.from({ length: Number(prompt) }, (_, i) => 3 + i);
const start = performance.now();
const model = await LanguageModel.load(file, { threads: Number(threads), contextLength: 1024, dtype });
await model.complete(tokens, { maxTokens: 1, temperature: 0, ignoreEos: true });
const seconds = (performance.now() - start) / 1000;
console.log(JSON.stringify({ seconds, peakBytes: peakBytes() }));
await model.dispose();
