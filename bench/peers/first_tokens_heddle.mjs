// The child process of bench/suites/first-tokens.ts: milliseconds of each token after a prompt in a fresh process, and its peak memory.
import { LanguageModel } from "../../dist/index.js";
import { peakBytes } from "./peak.mjs";

const [file, prompt, count, threads] = process.argv.slice(2);
const tokens = Array.from({ length: Number(prompt) }, (_, i) => 3 + i);
const model = await LanguageModel.load(file, { threads: Number(threads), contextLength: 1024 });
const milliseconds = [];
let last = performance.now();
for await (const _ of model.generate(tokens, { maxTokens: Number(count), temperature: 0, ignoreEos: true })) {
  const now = performance.now();
  milliseconds.push(now - last);
  last = now;
}
console.log(JSON.stringify({ milliseconds, peakBytes: peakBytes() }));
await model.dispose();
