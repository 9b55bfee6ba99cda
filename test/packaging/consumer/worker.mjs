// Generates in a worker thread without blocking the main thread, then terminates a second worker during its work.
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
