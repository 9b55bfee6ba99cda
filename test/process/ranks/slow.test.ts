// A rank that computes longer than the others.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { entry, graph } from "../helpers.ts";
import { mpirun, rankTest as test } from "../mpirun.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-slow-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Trains a custom stage on two ranks. Rank 1 prepares a micro-batch for 100 ms. Returns each rank's warnings. */
async function warningsOf(maxSteps: number): Promise<string[][]> {
  const file = join(folder, "slow.mjs");
  await writeFile(
    file,
    `const { createModel, openWorld, Tokenizer } = await import(${JSON.stringify(entry)});
     const { ExampleSource, input, mul, scale, sum, tokenLogprob, train } = await import(${JSON.stringify(graph)});
     const world = await openWorld({ threads: 1 });
     const tokenizer = await Tokenizer.train(["The cat saw the sea."], { vocabSize: 262 });
     const size = { hiddenSize: 16, intermediateSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, vocabSize: 262 };
     const base = createModel({ modelType: "llama", ...size, maxPositionEmbeddings: 8 }, { seed: 1, tokenizer, device: world.device });
     const pause = new Int32Array(new SharedArrayBuffer(4));
     const stage = {
       name: "slow",
       count: () => 8,
       collate([ids], total) {
         if (world.rank === 1) Atomics.wait(pause, 0, 0, 100);
         const weights = new Float32Array(8).fill(1 / total);
         return { inputs: { ids: ids.subarray(0, 8), targets: ids.subarray(1), weights }, tokens: 8, counted: 8 };
       },
       loss({ forward, rows }) {
         const { hidden, head } = forward();
         const { logprob } = tokenLogprob(hidden, head, input("targets", "i32", [rows]));
         return scale(sum(mul(input("weights", "f32", [rows]), logprob)), -1);
       },
     };
     const examples = Array.from({ length: 8 }, (_, i) => Int32Array.from({ length: 9 }, (_, j) => 10 + i + j));
     const warnings = [];
     const options = { sequences: 1, sequenceLength: 8, maxSteps: ${maxSteps}, world, onWarning: (text) => warnings.push(text) };
     await train(base, stage, new ExampleSource(examples, { batchSize: 1, seed: 1 }), options);
     const all = await world.gatherBytes(Buffer.from(JSON.stringify(warnings)));
     if (world.rank === 0) console.log(JSON.stringify(all.map((one) => JSON.parse(Buffer.from(one)))));
     await world.close();`,
  );
  const { code, stdout, stderr } = await mpirun(2, [file]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

test("rank 0 names a rank that computes longer than the others over 20 steps, once", async () => {
  const [first, second] = await warningsOf(45);
  expect(first).toHaveLength(1);
  const [, slow, fast] =
    /^world: rank 1 of 2 is slow: it computes for (\d+) ms per step, and half of the ranks need at most (\d+) ms; the other ranks wait for it$/.exec(
      first![0]!,
    )!;
  expect(Number(slow)).toBeGreaterThanOrEqual(100);
  expect(Number(fast)).toBeLessThan(Number(slow) / 1.5);
  expect(second).toEqual([]);
}, 60_000);

test("ranks are not compared in a run of fewer than 20 steps", async () => {
  expect(await warningsOf(19)).toEqual([[], []]);
}, 60_000);
