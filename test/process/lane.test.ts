import { expect, test } from "vitest";
import { entry, node } from "./helpers.ts";

/** A module's text that starts a model on long work. */
const busy = `
  import { createModel } from ${JSON.stringify(entry)};
  const model = createModel({ modelType: "llama", vocabSize: 2000, hiddenSize: 256, numHiddenLayers: 4, maxPositionEmbeddings: 2048 });
  const work = model.complete(Array.from({ length: 900 }, (_, i) => i), { maxTokens: 1000, temperature: 0, ignoreEos: true });
`;
const dataUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
const run = (code: string) => node(["--input-type=module", "-e", code]);

test("workers that are terminated in the middle of work do not take the process with them", async () => {
  const worker = `${busy} import { parentPort } from "node:worker_threads"; work.catch(() => {}); parentPort.postMessage("started");`;
  const { code, signal, stdout, stderr } = await run(`
    import { Worker } from "node:worker_threads";
    for (let i = 0; i < 8; i++) {
      const worker = new Worker(new URL(${JSON.stringify(dataUrl(worker))}));
      await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
      await new Promise((resolve) => setTimeout(resolve, 5 * i));
      await worker.terminate();
    }
    console.log("survived");
  `);
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
  expect(stdout).toBe("survived\n");
}, 60_000);

test("process.exit in the middle of work ends at once, with its code", async () => {
  const started = performance.now();
  const { code, signal } = await run(`${busy} work.catch(() => {}); setTimeout(() => process.exit(7), 50);`);
  expect({ code, signal }).toEqual({ code: 7, signal: null });
  expect(performance.now() - started).toBeLessThan(10_000);
}, 60_000);

test("an uncaught exception in the middle of work is an ordinary one", async () => {
  const { code, signal, stderr } = await run(
    `${busy} work.catch(() => {}); setTimeout(() => { throw new Error("mine"); }, 50);`,
  );
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(stderr).toContain("Error: mine");
}, 60_000);

test("the process ends by itself when its work is done, and not before", async () => {
  const { code, stdout } = await run(`
    import { createModel } from ${JSON.stringify(entry)};
    const model = createModel({ modelType: "llama", vocabSize: 300, hiddenSize: 64, numHiddenLayers: 2 });
    model.complete([1, 2, 3], { maxTokens: 5, temperature: 0, ignoreEos: true }).then(({ tokens }) => console.log(tokens.length));
  `);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "5\n" });
}, 60_000);

test("compute leaves the event loop and the thread pool of libuv free", async () => {
  const { code, stdout } = await run(`
    ${busy}
    import { readFile } from "node:fs/promises";
    work.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    let worst = 0;
    let last = performance.now();
    const timer = setInterval(() => { const now = performance.now(); worst = Math.max(worst, now - last); last = now; }, 5);
    const start = performance.now();
    for (let i = 0; i < 20; i++) { await readFile(new URL(${JSON.stringify(entry)})); await new Promise((r) => setTimeout(r, 10)); }
    clearInterval(timer);
    console.log(JSON.stringify({ worst, took: performance.now() - start }));
    process.exit(0);
  `);
  expect(code).toBe(0);
  const { worst, took } = JSON.parse(stdout);
  // 200 ms of sleep: computing on the loop or on libuv's four threads would make seconds of it.
  expect(worst).toBeLessThan(250);
  expect(took).toBeLessThan(2500);
}, 60_000);
