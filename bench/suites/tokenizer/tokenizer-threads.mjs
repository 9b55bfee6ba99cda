// Measures the memory of one tokenizer in many worker threads. Arguments: FILE THREADS. Prints the process's megabytes before loading,
// with the tokenizer in one thread, and in all threads.
import { Worker } from "node:worker_threads";

const [file, count] = process.argv.slice(2);
const library = new URL("../../../dist/tokenizer/index.js", import.meta.url).href;
const text = "The quick brown fox jumps over the lazy dog. ".repeat(200);
const code = `
  const { parentPort, workerData } = require("node:worker_threads");
  (async () => {
    const { Tokenizer } = await import(workerData.library);
    const ids = [];
    parentPort.on("message", async (what) => {
      if (what === "load") {
        globalThis.tokenizer = await Tokenizer.load(workerData.file);
        ids.push(globalThis.tokenizer.encode(workerData.text).length);
      }
      globalThis.gc?.();
      parentPort.postMessage(ids[0] ?? 0);
    });
    parentPort.postMessage(0);
  })();`;
const workers = Array.from(
  { length: Number(count) },
  () => new Worker(code, { eval: true, workerData: { library, file, text } }),
);
const answer = (worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
const ask = async (worker, what) => {
  const answered = answer(worker);
  worker.postMessage(what);
  return answered;
};
await Promise.all(workers.map(answer));
const held = async () => {
  for (const worker of workers) await ask(worker, "collect");
  globalThis.gc?.();
  return process.memoryUsage.rss() / 1e6;
};
const before = await held();
await ask(workers[0], "load");
const one = await held();
for (const worker of workers.slice(1)) await ask(worker, "load");
const all = await held();
console.log(JSON.stringify({ before, one, all }));
process.exit(0);
