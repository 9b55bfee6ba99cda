// Programs that sum over CPU ranks while they run.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { entry, graph } from "./helpers.ts";
import { LAUNCHERS, mpirun, rankTest as test } from "./mpirun.ts";
import { trainStages } from "./stages-on-ranks.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-rank-sums-"));
  // Small batches, so that a program has several.
  process.env.HEDDLE_RANK_BATCH_BYTES = "20000";
});
afterAll(async () => {
  delete process.env.HEDDLE_RANK_BATCH_BYTES;
  await rm(folder, { recursive: true, force: true });
});

/** Runs `body` on several ranks. It has `world`, the functions of heddle/graph in `g`, and `print`, which prints the value of each rank. */
async function onRanks(ranks: number, name: string, body: string, launcher = LAUNCHERS.openMpi, options = "") {
  const file = join(folder, `${name}.mjs`);
  await writeFile(
    file,
    `const { openWorld } = await import(${JSON.stringify(entry)});
     const g = await import(${JSON.stringify(graph)});
     const world = await openWorld({ threads: 1, ${options} });
     const print = async (value) => {
       const all = await world.gatherBytes(Buffer.from(JSON.stringify(value)));
       if (world.rank === 0) console.log(JSON.stringify(all.map((one) => JSON.parse(Buffer.from(one)))));
     };
     await world.joinDevice(world.device);
     ${body}
     await world.close();`,
  );
  return mpirun(ranks, [file], undefined, launcher);
}

test.each([
  [3, "openMpi"],
  [2, "mpich"],
] as const)(
  "sums in a program have the bits of allReduce and reduceScatter, for f32 and bf16, on %d ranks (%s)",
  async (ranks, launcher) => {
    const { code, stdout, stderr } = await onRanks(
      ranks,
      "bits",
      `const sizes = [1, 7, 30_000, 3, 700_001, 5];
       const numbers = (seed, n) => Float32Array.from({ length: n }, (_, i) => Math.sin(seed * 7919 + i * i) * 10 ** (i % 5));
       const make = (dtype) => Promise.all(sizes.map((n, i) => {
         const data = numbers(world.rank * 100 + i, n);
         return g.Tensor.from(world.device, dtype, [n], dtype === "bf16" ? g.toBf16(data) : data);
       }));
       // The first rank has no range of some tensors, and the last rank none of others.
       const ends = (n, i) => Array.from({ length: world.size }, (_, r) =>
         i % 2 ? Math.floor((n * r) / (world.size - 1)) : Math.floor((n * Math.min(r + 1, world.size - 1)) / (world.size - 1)));
       const found = [];
       for (const divided of [false, true]) {
         const [own, after, all] = [{}, {}, new Map()];
         for (const dtype of ["f32", "bf16"]) [own[dtype], after[dtype]] = [await make(dtype), await make(dtype)];
         for (const dtype of ["f32", "bf16"]) for (const [i, t] of own[dtype].entries()) all.set(dtype + i, t);
         const program = g.compile(() => {
           // The types alternate, so that batches of both are in flight.
           for (const [i, n] of sizes.entries()) for (const dtype of ["f32", "bf16"])
             g.allReduce(g.tensor(dtype + i, dtype, [n]), divided ? { ends: ends(n, i) } : {});
           return {};
         }).bind(world.device, all);
         await program.run({});
         for (const dtype of ["f32", "bf16"]) {
           if (!divided) await world.allReduce(after[dtype]);
           else await world.reduceScatter(Array.from({ length: world.size }, (_, r) => after[dtype].map((t, i) => {
             const all = ends(sizes[i], i), begin = r ? all[r - 1] : 0;
             return t.part(begin, all[r] - begin);
           })));
           for (const [i, t] of own[dtype].entries()) {
             const [x, y] = await Promise.all([t.read(), after[dtype][i].read()]);
             found.push(Buffer.compare(Buffer.from(x.buffer), Buffer.from(y.buffer)) === 0);
           }
         }
       }
       await print({ same: found.filter(Boolean).length, of: found.length });`,
      LAUNCHERS[launcher],
    );
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toEqual(Array(ranks).fill({ same: 24, of: 24 }));
  },
  60_000,
);

test("ranks still sum when all other ops run their references", async () => {
  process.env.HEDDLE_REFERENCE = "1";
  try {
    const { code, stdout, stderr } = await onRanks(
      2,
      "references",
      `const bound = new Map([["sum", await g.Tensor.from(world.device, "f32", [2], Float32Array.of(1, 10 * world.rank))]]);
       const program = g.compile(() => {
         g.allReduce(g.tensor("sum", "f32", [2]));
         return { scaled: g.scale(g.input("x", "f32", [2]), 3) };
       }).bind(world.device, bound);
       const { result, profile } = await g.profile(() => program.run({ x: Float32Array.of(world.rank, 5) }));
       const references = profile.operations.filter(({ kernel }) => kernel === "reference").map(({ op }) => op);
       await print({ references, scaled: [...result.scaled], sum: [...await bound.get("sum").toFloat32()] });`,
    );
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toEqual(
      [0, 1].map((rank) => ({ references: ["affine"], scaled: [3 * rank, 15], sum: [2, 10] })),
    );
  } finally {
    delete process.env.HEDDLE_REFERENCE;
  }
}, 60_000);

/** A long computation: the product of a matrix with itself, many times. */
const LONG = `const long = (times) => {
  let x = g.input("x", "f32", [384, 384]);
  for (let i = 0; i < times; i++) x = g.linear(x, x);
  return { x };
};`;

test("sums start while the program goes on", async () => {
  // Both ranks sum the same tensor first. Only rank 0 then computes for a long time.
  const { code, stdout, stderr } = await onRanks(
    2,
    "overlap",
    `${LONG}
     const sum = await g.Tensor.from(world.device, "f32", [20_000], new Float32Array(20_000).fill(world.rank + 1));
     const bound = new Map([["sum", sum]]);
     const program = (times) => g.compile(() => {
       g.allReduce(g.tensor("sum", "f32", [20_000]));
       return long(times);
     }).bind(world.device, bound);
     const x = new Float32Array(384 * 384);
     const [short, slow] = [program(1), program(1000)];
     await world.sum([0]);
     await (world.rank === 0 ? slow : short).run({ x });
     const end = Date.now();
     await print({ end, sums: [...new Set(await sum.toFloat32())] });`,
  );
  expect(code, stderr).toBe(0);
  const [slow, fast] = JSON.parse(stdout);
  expect([slow.sums, fast.sums]).toEqual([[3], [3]]);
  expect(slow.end - fast.end).toBeGreaterThan(500);
}, 60_000);

test("a program may divide a tensor among fewer ranks than the world has, but not among more, and covers all elements", async () => {
  const { code, stdout, stderr } = await onRanks(
    2,
    "ranges",
    `const run = async (options) => {
       const bound = new Map([["sum", await g.Tensor.from(world.device, "f32", [3], new Float32Array(3).fill(world.rank + 1))]]);
       const program = g.compile(() => {
         g.allReduce(g.tensor("sum", "f32", [3]), options);
         return {};
       });
       await program.bind(world.device, bound).run({});
       return [...await bound.get("sum").toFloat32()];
     };
     const failure = (options) => run(options).catch(({ message }) => message);
     await print({
       first: await run({ ends: [3] }),
       last: await run({ first: 1, ends: [3] }),
       failures: [await failure({ ends: [1, 2, 3] }), await failure({ first: 1, ends: [1, 3] }), await failure({ ends: [1, 2] })],
     });`,
  );
  expect(code, stderr).toBe(0);
  const found: { first: number[]; last: number[]; failures: string[] }[] = JSON.parse(stdout);
  // A rank without a range keeps its elements.
  expect(found.map(({ first }) => first)).toEqual([Array(3).fill(3), Array(3).fill(2)]);
  expect(found.map(({ last }) => last)).toEqual([Array(3).fill(1), Array(3).fill(3)]);
  const most = "all_reduce: expected ranges for at most 2 ranks, the size of the device's world, got 3";
  for (const { failures } of found)
    expect(failures).toEqual([
      expect.stringContaining(most),
      expect.stringContaining(most),
      expect.stringMatching(/all_reduce.*: expected ranges of .*'s 3 elements, got an end of 2/),
    ]);
}, 60_000);

test.each(["SIGKILL", "SIGSTOP"])(
  "a rank that is lost during the program ends all ranks (%s)",
  async (signal) => {
    const started = performance.now();
    const { code, stderr } = await onRanks(
      2,
      `lost-${signal}`,
      `${LONG}
       const bound = new Map(["a", "b"].map((name) => [name, g.Tensor.zeros(world.device, "f32", [20_000])]));
       const program = g.compile(() => {
         g.allReduce(g.tensor("a", "f32", [20_000]));
         const { x } = long(20);
         g.allReduce(g.tensor("b", "f32", [20_000]));
         return { x };
       }).bind(world.device, bound);
       await world.sum([0]);
       if (world.rank === 1) {
         // The first sum can complete, and the second one cannot.
         const alone = g.compile(() => {
           g.allReduce(g.tensor("a", "f32", [20_000]));
           return {};
         }).bind(world.device, bound);
         await alone.run({});
         process.kill(process.pid, "${signal}");
       }
       await program.run({ x: new Float32Array(384 * 384) });
       console.log("not reached");`,
      LAUNCHERS.openMpi,
      "silenceSeconds: 3",
    );
    expect(code).not.toBe(0);
    expect(performance.now() - started).toBeLessThan(30_000);
    expect(stderr).toMatch(signal === "SIGSTOP" ? /world: rank 1 of 2 has sent no heartbeat for 3 s/ : /rank 1\b/);
  },
  60_000,
);

const STAGES = ["pretrain", "classify with replay"];
test.each([
  [2, 1],
  [2, 2],
  [4, 1],
])(
  "steps on %d ranks have the same bits whether gradients are summed during or after the last of %d micro-batches",
  async (ranks, accumulate) => {
    const expected = await trainStages(ranks, accumulate, "none", { stages: STAGES });
    expect(Object.keys(expected)).toEqual(STAGES);
    for (const sharding of ["none", "optimizer"])
      expect(await trainStages(ranks, accumulate, sharding, { stages: STAGES, overlap: true }), sharding).toEqual(
        expected,
      );
  },
  120_000,
);

test.each(["gradients", "parameters"])(
  "overlap does not change steps with sharding %s",
  async (sharding) => {
    const run = (overlap: boolean) => trainStages(2, 2, sharding, { stages: STAGES, overlap });
    expect(await run(true)).toEqual(await run(false));
  },
  120_000,
);

/** Trains a step on two ranks. Returns `overlap` of the world, and the number of calls that sum gradients after the backward pass. */
async function sumsOf({ hosts = 1, variable = "", options = "" }) {
  const file = join(folder, "gate.mjs");
  await writeFile(
    file,
    `import { syncBuiltinESMExports } from "node:module";
     import os from "node:os";
     os.hostname = () => "node" + (Number(process.env.OMPI_COMM_WORLD_RANK) % ${hosts});
     syncBuiltinESMExports();
     const { createModel, openWorld, pretrain, Tokenizer } = await import(${JSON.stringify(entry)});
     const world = await openWorld({ threads: 1, ${options} });
     let calls = 0;
     const allReduce = (tensors) => {
       calls += 1;
       return world.allReduce(tensors);
     };
     const data = "The cat saw the sea. ".repeat(40);
     const tokenizer = await Tokenizer.train([data], { vocabSize: 270 });
     const size = { hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 1, numAttentionHeads: 2, vocabSize: 300 };
     const base = createModel({ modelType: "llama", ...size, maxPositionEmbeddings: 32 }, { seed: 1, tokenizer, device: world.device });
     const shape = { perDeviceTrainBatchSize: 1, maxSeqLength: 16, maxSteps: 1 };
     for await (const event of pretrain(base, { data: [{ text: data }], ...shape, world: { ...world, allReduce } }));
     const all = await world.gatherBytes(Buffer.from(JSON.stringify({ overlap: world.overlap, calls })));
     if (world.rank === 0) console.log(JSON.stringify(all.map((one) => JSON.parse(Buffer.from(one)))));
     await world.close();`,
  );
  process.env.HEDDLE_OVERLAP = variable;
  try {
    const { code, stdout, stderr } = await mpirun(2, [file]);
    return { found: code === 0 ? JSON.parse(stdout) : undefined, stderr };
  } finally {
    delete process.env.HEDDLE_OVERLAP;
  }
}

test.each([
  ["on one host sum after the backward pass", {}, false],
  ["on two hosts sum during the backward pass", { hosts: 2 }, true],
  ["on one host sum during the backward pass with HEDDLE_OVERLAP=1", { variable: "1" }, true],
  ["on two hosts sum after the backward pass with HEDDLE_OVERLAP=0", { hosts: 2, variable: "0" }, false],
  ["prefer the option of openWorld to HEDDLE_OVERLAP", { variable: "0", options: "overlap: true" }, true],
] as const)(
  "ranks on CPUs %s",
  async (_, given, overlap) => {
    const { found, stderr } = await sumsOf(given);
    expect(found, stderr).toEqual(Array(2).fill({ overlap, calls: overlap ? 0 : 1 }));
  },
  60_000,
);

test("rejects ranks of which only some overlap their sums", async () => {
  const { found, stderr } = await sumsOf({ options: 'overlap: process.env.OMPI_COMM_WORLD_RANK === "1"' });
  expect(found).toBeUndefined();
  expect(stderr).toContain("world.overlap: expected the same value on all ranks, got false on rank 0; true on rank 1");
}, 60_000);
