// Which shared libraries a training process loads.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entry, node } from "../helpers.ts";
import { mpirun, rankTest } from "../mpirun.ts";

let folder: string;
let script: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-libraries-"));
  script = join(folder, "train.mjs");
  await writeFile(
    script,
    `import { readFileSync } from "node:fs";
     import { basename } from "node:path";
     const { createModel, openWorld, pretrain, Tokenizer } = await import(${JSON.stringify(entry)});
     const world = await openWorld({ threads: 1 });
     const text = Array.from({ length: 60 }, (_, i) => "The number " + i + " comes before " + (i + 1) + ".").join(" ");
     const tokenizer = await Tokenizer.train([text], { vocabSize: 300 });
     const model = { modelType: "llama", hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 1, numAttentionHeads: 2,
       numKeyValueHeads: 2, maxPositionEmbeddings: 64 };
     const base = createModel(model, { seed: 1, tokenizer, device: world.device });
     let losses = 0;
     for await (const event of pretrain(base, { data: [{ text }], maxSteps: 1, maxSeqLength: 16, world })) losses += "loss" in event;
     const mapped = readFileSync("/proc/self/maps", "utf8").match(/\\/.+$/gm) ?? [];
     const libraries = [...new Set(mapped.map((path) => basename(path)))].filter((name) => /\\.so|\\.node/.test(name));
     if (world.rank === 0) console.log(JSON.stringify({ losses, libraries }));
     await world.close();`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Libraries of ranks: MPI, what its implementations load, and NCCL. */
const ofRanks = /^lib(mpi|mpich|open-rte|open-pal|pmix|prrte|fabric|ucp|ucs|nccl)/;

test.skipIf(process.platform !== "linux")(
  "a process without a launcher trains without loading MPI or NCCL",
  async () => {
    const { code, stdout, stderr } = await node([script]);
    expect(code, stderr).toBe(0);
    const { losses, libraries } = JSON.parse(stdout) as { losses: number; libraries: string[] };
    expect(losses).toBe(1);
    expect(libraries).toContain("heddle.node");
    expect(libraries.filter((name) => ofRanks.test(name))).toEqual([]);
  },
  60_000,
);

rankTest(
  "ranks of mpirun load MPI, but not NCCL",
  async () => {
    const { code, stdout, stderr } = await mpirun(2, [script]);
    expect(code, stderr).toBe(0);
    const { losses, libraries } = JSON.parse(stdout) as { losses: number; libraries: string[] };
    expect(losses).toBe(1);
    expect(libraries.filter((name) => /^lib(mpi|nccl)\./.test(name))).toEqual([expect.stringMatching(/^libmpi\.so/)]);
  },
  60_000,
);
