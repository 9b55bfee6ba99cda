// Tests training whose weights are sharded over ranks, with one process per rank under mpirun.
import { readFileSync } from "node:fs";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { cli, type Ended, entry, node } from "./helpers.ts";
import { mpirun, processOf, rankTest as test } from "./mpirun.ts";

let folder: string;
let config: Record<string, unknown>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-divided-"));
  const text = Array.from(
    { length: 200 },
    (_, i) => `The number ${i} is ${i % 2 ? "odd" : "even"}. After ${i} comes ${i + 1}.`,
  ).join("\n\n");
  await writeFile(join(folder, "numbers.txt"), text);
  await (await Tokenizer.train([text], { vocabSize: 300 })).save(join(folder, "tokenizer"));
  config = {
    data: ["numbers.txt"],
    tokenizer: "tokenizer",
    // The matrices are so large that the ranks divide them.
    model: {
      modelType: "llama",
      hiddenSize: 144,
      intermediateSize: 288,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 64,
    },
    maxSteps: 12,
    perDeviceTrainBatchSize: 2,
    maxSeqLength: 16,
    learningRate: 1e-3,
    saveSteps: 4,
    saveTotalLimit: 3,
    seed: 5,
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Trained extends Ended {
  losses: Map<number, number>;
}

/** Trains with a number of ranks (0: without mpirun) at the same number of sequences per step. */
async function train(
  ranks: number,
  name: string,
  {
    args = [],
    atStep,
    more = {},
  }: { args?: string[]; atStep?: (step: number, mpirun: number) => void; more?: object } = {},
): Promise<Trained> {
  const file = join(folder, `${name}.json`);
  const gradientAccumulationSteps = 4 / Math.max(1, ranks);
  const options = { ...config, gradientAccumulationSteps, outputDir: join(folder, name), ...more };
  await writeFile(file, JSON.stringify(options));
  const losses = new Map<number, number>();
  const onLine = (line: string, pid = 0) => {
    const event = JSON.parse(line);
    if (typeof event.loss !== "number") return;
    losses.set(event.step, event.loss);
    atStep?.(event.step, pid);
  };
  const command = [cli, "train", "pretrain", "--config", file, "--json", ...args];
  const ended = await (ranks === 0 ? node(command, (line) => onLine(line)) : mpirun(ranks, command, onLine));
  return { ...ended, losses };
}

const sharding = "parameters";
const bytesOf = (...path: string[]) => readFileSync(join(folder, ...path));

test("ranks that divide the weights have the losses of one process, and write the same files", async () => {
  const alone = await train(0, "alone");
  expect(alone.code, alone.stderr).toBe(0);
  expect(alone.losses.size).toBe(12);
  const divided = await train(4, "divided", { more: { sharding } });
  expect(divided.code, divided.stderr).toBe(0);
  expect(divided.losses).toEqual(alone.losses);
  expect((await readdir(join(folder, "divided"))).sort()).toEqual((await readdir(join(folder, "alone"))).sort());
  for (const file of ["checkpoint-8/model.safetensors", "checkpoint-12/optimizer.safetensors", "model.safetensors"])
    expect(bytesOf("divided", file).equals(bytesOf("alone", file)), file).toBe(true);
}, 240_000);

test("a killed rank ends all ranks, and the run resumes with another number of ranks and other sharding", async () => {
  let killed = 0;
  const broken = await train(2, "broken", {
    more: { sharding },
    atStep(step, pid) {
      if (step !== 6) return;
      killed = performance.now();
      process.kill(processOf(1, pid), "SIGKILL");
    },
  });
  expect(performance.now() - killed).toBeLessThan(30_000);
  expect(broken.code).not.toBe(0);
  expect(broken.stderr).toMatch(/rank 1\b/);
  // One process resumes from the same checkpoint. It adds in the order of four ranks.
  await cp(join(folder, "broken"), join(folder, "broken-alone"), { recursive: true });
  const one = await train(0, "broken-alone", { args: ["--resume"] });
  expect(one.code, one.stderr).toBe(0);
  const rest = await train(4, "broken", {
    args: ["--resume"],
    more: { sharding },
    atStep(step, pid) {
      if (step === 8) process.kill(processOf(2, pid), "SIGTERM");
    },
  });
  expect(rest.code, rest.stderr).toBe(143);
  expect(Math.min(...rest.losses.keys())).toBeGreaterThan(4);
  const end = await train(4, "broken", { args: ["--resume"], more: { sharding: "optimizer" } });
  expect(end.code, end.stderr).toBe(0);
  expect(Math.min(...end.losses.keys())).toBe(Math.max(...rest.losses.keys()) + 1);
  expect(new Map([...rest.losses, ...end.losses])).toEqual(one.losses);
  expect(end.losses.has(12)).toBe(true);
}, 240_000);

/**
 * Runs a program on two ranks, and returns the object `found` of rank 0. `work` is the part of the program that fills `found`. It may use
 * `base`, `train` and `generate`.
 */
async function onRanks(name: string, work: string): Promise<Record<string, unknown>> {
  const file = join(folder, `${name}.mjs`);
  await writeFile(
    file,
    `const { createModel, openWorld, pretrain, Tokenizer } = await import(${JSON.stringify(entry)});
     const world = await openWorld({ threads: 1 });
     const tokenizer = await Tokenizer.load(${JSON.stringify(join(folder, "tokenizer", "tokenizer.json"))});
     const model = ${JSON.stringify({ ...(config.model as object), vocabSize: 300 })};
     const base = createModel(model, { seed: 3, tokenizer, device: world.device });
     const train = (more) => pretrain(base, {
       data: [{ text: "One two three four five six seven eight nine ten. ".repeat(30) }],
       maxSeqLength: 16, perDeviceTrainBatchSize: 2, maxSteps: 4, seed: 1, world, sharding: "parameters", ...more,
     });
     const generate = () => base.generate("One", { maxTokens: 3, temperature: 0 }).then(({ text }) => ({ text }), ({ code, message }) => ({ code, message }));
     const found = {};
     ${work}
     if (world.rank === 0) console.log(JSON.stringify(found));
     await world.close();`,
  );
  const ended = await mpirun(2, [file]);
  expect(ended.code, ended.stderr).toBe(0);
  return JSON.parse(ended.stdout);
}

test("the model cannot be used while its weights are divided, and is whole again at the end", async () => {
  const found = await onRanks(
    "used",
    `for await (const event of train()) if (event.step === 2) {
       found.during = await generate();
       found.reading = await base.model.weight("lm_head.weight").read().catch(({ code }) => code);
       found.norm = (await base.model.weight("model.norm.weight").read()).length;
     }
     found.after = await generate();
     // Training again begins with whole weights.
     for await (const event of train({ maxSteps: 1 })) found.again = event.loss;
     found.end = await generate();`,
  );
  const message =
    "model: expected whole weights, got the part of rank 0, because a training run with sharding parameters divides them";
  expect(found).toEqual({
    during: { code: "UNSUPPORTED", message },
    reading: "UNSUPPORTED",
    norm: 144,
    after: { text: expect.any(String) },
    again: expect.any(Number),
    end: { text: expect.any(String) },
  });
}, 60_000);

test("an abort makes the weights whole, and after a run that is left early they stay divided, which later calls report", async () => {
  const found = await onRanks(
    "aborted",
    `const controller = new AbortController();
     try {
       for await (const { step } of train({ maxSteps: 50, signal: controller.signal })) if (step === 2) controller.abort();
     } catch ({ code }) { found.aborted = code; }
     found.whole = await generate();
     for await (const { step } of train()) if (step === 2) break;
     found.left = await generate();
     found.retried = await train().then(() => "trained", ({ code, message }) => ({ code, message }));`,
  );
  const message =
    "model: expected whole weights, got the part of rank 0, because a training run with sharding parameters stopped before its end; load a checkpoint instead";
  expect(found).toEqual({
    aborted: "ABORTED",
    whole: { text: expect.any(String) },
    left: { code: "UNSUPPORTED", message },
    retried: { code: "UNSUPPORTED", message },
  });
}, 60_000);

test("a rejected run leaves the weights whole", async () => {
  const found = await onRanks(
    "rejected",
    `found.refused = await train({ resume: true, outputDir: ${JSON.stringify(join(folder, "nothing"))} }).catch(({ code }) => code);
     found.whole = await generate();`,
  );
  expect(found).toEqual({ refused: "NOT_FOUND", whole: { text: expect.any(String) } });
}, 60_000);
