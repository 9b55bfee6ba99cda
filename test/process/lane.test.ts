import { expect, test } from "vitest";
import { entry, node } from "./helpers.ts";

/** Source of a module that starts long work on a model. */
const busy = `
  import { createModel } from ${JSON.stringify(entry)};
  const model = createModel({ modelType: "llama", vocabSize: 2000, hiddenSize: 256, numHiddenLayers: 4, maxPositionEmbeddings: 2048 });
  const work = model.complete(Array.from({ length: 900 }, (_, i) => i), { maxTokens: 1000, temperature: 0, ignoreEos: true });
`;
const dataUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
const run = (code: string) => node(["--input-type=module", "-e", code]);

/** Source of a module that trains a vocabulary on its own thread. */
const training = `
  import { Tokenizer } from ${JSON.stringify(entry)};
  const words = Array.from({ length: 60000 }, (_, i) => (i * 2654435761).toString(36));
  const work = Tokenizer.train([words.join(" ")], { vocabSize: 50000 });
`;

test("the process survives the termination of thirty busy workers", async () => {
  const tell = `import { parentPort } from "node:worker_threads"; work.catch(() => {}); parentPort.postMessage("started");`;
  const { code, signal, stdout, stderr } = await run(`
    import { Worker } from "node:worker_threads";
    const modules = ${JSON.stringify([busy + tell, training + tell].map(dataUrl))};
    // Three at once, terminated at various times: during weight initialization, the first run or later runs.
    await Promise.all([0, 1, 2].map(async (lane) => {
      for (let i = 0; i < 10; i++) {
        const worker = new Worker(new URL(modules[(lane + i) % 3 === 0 ? 1 : 0]));
        await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
        await new Promise((resolve) => setTimeout(resolve, 5 * i));
        await worker.terminate();
      }
    }));
    console.log("survived");
  `);
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
  expect(stdout).toBe("survived\n");
});

test("process.exit during vocabulary training exits immediately with its code", async () => {
  const started = performance.now();
  const { code, signal, stderr } = await run(
    `${training} work.catch(() => {}); setTimeout(() => process.exit(7), 300);`,
  );
  expect({ code, signal, stderr }).toEqual({ code: 7, signal: null, stderr: "" });
  expect(performance.now() - started).toBeLessThan(15_000);
});

test("disposal rejects running and later calls of the model with DISPOSED, and can be repeated", async () => {
  const { code, signal, stdout, stderr } = await run(`${busy}
    setTimeout(() => { model.dispose(); model.dispose(); }, 30);
    const codes = [];
    await work.catch((error) => codes.push(error.code));
    await model.complete([1]).catch((error) => codes.push(error.code));
    model.dispose();
    console.log(codes.join());
  `);
  expect({ code, signal, stderr, stdout }).toEqual({
    code: 0,
    signal: null,
    stderr: "",
    stdout: "DISPOSED,DISPOSED\n",
  });
});

test("the memory of disposed tensors is reused or returned: forty tensors of 50 MB, one after another, need less than 400 MB", async () => {
  const { code, stdout, stderr } = await run(`
    import { openDevice, Tensor } from ${JSON.stringify(entry.replace("/index.js", "/graph/index.js"))};
    const device = openDevice({ threads: 1 });
    const data = new Float32Array(12_500_000).fill(1);
    let most = 0;
    for (let i = 0; i < 40; i++) {
      (await Tensor.from(device, "f32", [data.length], data)).dispose();
      most = Math.max(most, process.memoryUsage().rss);
    }
    console.log(most);
  `);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(Number(stdout)).toBeLessThan(400e6);
});

test("process.exit during work exits immediately with its code", async () => {
  const started = performance.now();
  const { code, signal } = await run(`${busy} work.catch(() => {}); setTimeout(() => process.exit(7), 50);`);
  expect({ code, signal }).toEqual({ code: 7, signal: null });
  expect(performance.now() - started).toBeLessThan(10_000);
});

test("an uncaught exception during work is reported normally", async () => {
  const { code, signal, stderr } = await run(
    `${busy} work.catch(() => {}); setTimeout(() => { throw new Error("mine"); }, 50);`,
  );
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(stderr).toContain("Error: mine");
});

test("the process exits once its work is done, and not before", async () => {
  const { code, stdout } = await run(`
    import { createModel } from ${JSON.stringify(entry)};
    const model = createModel({ modelType: "llama", vocabSize: 300, hiddenSize: 64, numHiddenLayers: 2 });
    model.complete([1, 2, 3], { maxTokens: 5, temperature: 0, ignoreEos: true }).then(({ tokens }) => console.log(tokens.length));
  `);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "5\n" });
});

test("computation does not block the event loop or libuv's thread pool", async () => {
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
  // 200 ms of sleep would take seconds if compute ran on the event loop or on libuv's four threads.
  expect(worst).toBeLessThan(250);
  expect(took).toBeLessThan(2500);
});
