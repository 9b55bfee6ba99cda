// Terminates a worker thread during its work, then generates in a second one.
import { Worker } from "node:worker_threads";

const here = new URL("./generate.mjs", import.meta.url);
const interrupted = new Worker(here, { stdout: true });
await new Promise((resolve) => setTimeout(resolve, 150));
await interrupted.terminate();
const worker = new Worker(here);
worker.on("error", (error) => {
  throw error;
});
worker.on("exit", (code) => {
  process.exitCode = code;
});
