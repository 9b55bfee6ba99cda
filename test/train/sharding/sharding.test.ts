// Ranks (in one process) that shard the optimizer's state make the same steps as a single process.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Tensor } from "../../../lib/graph/index.ts";
import type { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import type { Sharding } from "../../../lib/train/options/optimizer-options.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import type { World } from "../../../lib/train/world/world.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { worlds } from "../world/worlds.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-sharding-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

// The embedding is larger than one piece of the shards, so that several ranks hold parts of it.
const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.1, hiddenSize: 64 });

const shared: PretrainOptions = {
  data: [{ text: sentences.join("\n") }],
  perDeviceTrainBatchSize: 2,
  maxSeqLength: 16,
  maxSteps: 4,
  learningRate: 3e-3,
  lrScheduler: "constant",
  seed: 4,
};

interface Trained {
  losses: number[];
  norms: number[];
  weights: Map<string, Float32Array>;
}

async function finished(base: LanguageModel, options: PretrainOptions): Promise<Trained> {
  const [losses, norms]: number[][] = [[], []];
  for await (const event of pretrain(base, options))
    if ("loss" in event) {
      losses!.push(event.loss);
      norms!.push(event.gradNorm);
    }
  const weights = new Map<string, Float32Array>();
  for (const name of base.model.weightNames) weights.set(name, await base.model.weight(name).toFloat32());
  return { losses: losses!, norms: norms!, weights };
}

/** Trains on `size` ranks with `accumulate` micro-batches per rank and step. Returns each rank's losses, norms and weights. */
async function ranks(size: number, accumulate: number, more: Partial<PretrainOptions> = {}): Promise<Trained[]> {
  const run = async (world: World | undefined) => {
    await using base = await newModel();
    return await finished(base, { ...shared, ...more, world, gradientAccumulationSteps: accumulate });
  };
  return size === 1 ? [await run(undefined)] : Promise.all(worlds(size).map(run));
}

test.each([
  ["all weights, clipped by the norm", { maxGradNorm: 0.5 }],
  ["Muon's matrices", { optim: "muon" as const }],
  [
    "some weights",
    {
      parameterGroups: [
        { match: "layers.0", freeze: true },
        { match: "norm", weightDecay: 0.3 },
      ],
    },
  ],
])("ranks that shard the state have the losses, norms and weights of one process, bit for bit: %s", async (_, more) => {
  const [alone] = await ranks(1, 4, more);
  for (const found of await ranks(4, 1, { ...more, sharding: "optimizer" })) expect(found).toEqual(alone);
});

test("an adapter's state is sharded too", async () => {
  const run = async (world: World | undefined, gradientAccumulationSteps: number) => {
    await using base = await newModel();
    const data = sentences.map((text) => ({ text }));
    const { perDeviceTrainBatchSize, maxSeqLength, maxSteps, learningRate, seed } = shared;
    const common = { perDeviceTrainBatchSize, maxSeqLength, maxSteps, learningRate, seed };
    const options = { ...common, data, lora: { r: 4 }, gradientAccumulationSteps, world };
    const losses: number[] = [];
    for await (const event of sft(base, { ...options, ...(world && { sharding: "optimizer" as const }) }))
      if ("loss" in event) losses.push(event.loss);
    return losses;
  };
  const alone = await run(undefined, 3);
  for (const losses of await Promise.all(worlds(3).map((world) => run(world, 1)))) expect(losses).toEqual(alone);
});

test("a run resumes from its files with another number of ranks and with other sharding", async () => {
  const whole = await ranks(1, 2, { outputDir: join(folder, "alone"), maxSteps: 4, saveSteps: 2 });
  const two = (name: string, more: Partial<PretrainOptions>) =>
    ranks(2, 1, { outputDir: join(folder, name), sharding: "optimizer", saveSteps: 2, ...more });
  await two("two", { maxSteps: 2 });
  const stateOf = (name: string) => readFile(join(folder, name, "checkpoint-2", "optimizer.safetensors"));
  expect((await stateOf("two")).equals(await stateOf("alone"))).toBe(true);
  const resume = true;
  // Resume a run of two ranks on one rank, then on two without sharding. Resume a run of one rank on two.
  const ends = [
    ...(await ranks(1, 2, { outputDir: join(folder, "two"), maxSteps: 3, resume })),
    ...(await two("two", { maxSteps: 4, sharding: "none", resume })),
  ];
  await ranks(1, 2, { outputDir: join(folder, "one"), maxSteps: 2 });
  ends.push(...(await two("one", { maxSteps: 4, resume })));
  expect(ends.map(({ losses }) => losses)).toEqual([
    whole[0]!.losses.slice(2, 3),
    whole[0]!.losses.slice(3),
    whole[0]!.losses.slice(3),
    whole[0]!.losses.slice(2),
    whole[0]!.losses.slice(2),
  ]);
  for (const { weights } of ends.slice(1)) expect(weights).toEqual(whole[0]!.weights);
});

test("a signal of one rank makes all ranks save their parts of the last step", async () => {
  const outputDir = join(folder, "stopped");
  const controller = new AbortController();
  const run = async (world: World) => {
    await using base = await newModel();
    const signal = world.rank === 1 ? controller.signal : undefined;
    const options = { ...shared, world, outputDir, signal, sharding: "optimizer" as const, maxSteps: 50 };
    for await (const event of pretrain(base, options)) if (event.step === 2 && world.rank === 1) controller.abort();
  };
  for (const { reason } of (await Promise.allSettled(worlds(2).map(run))) as PromiseRejectedResult[])
    expect(reason).toMatchObject({ code: "ABORTED" });
  const [through] = await ranks(1, 2, { maxSteps: 4 });
  const [resumed] = await ranks(2, 1, { outputDir, sharding: "optimizer", resume: true, maxSteps: 4 });
  expect(resumed!.losses.length).toBeGreaterThan(0);
  expect(resumed!.losses).toEqual(through!.losses.slice(-resumed!.losses.length));
});

test("sharding and overlap that are not possible are rejected with the reason", async () => {
  const failed = async (world: World | undefined, sharding: PretrainOptions["sharding"] = "optimizer") => {
    await using base = await newModel();
    try {
      await pretrain(base, { ...shared, world, sharding });
      return "no error";
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      return `${code} ${message}`;
    }
  };
  const several =
    "expected several processes, which mpirun, srun or torchrun start, got one process, which has to hold everything";
  expect(await failed(undefined)).toBe(`INVALID_ARGUMENT sharding: optimizer: ${several}`);
  const [first, second] = worlds(2);
  const { reduceScatter: _, ...without } = first!;
  expect(await failed(without)).toBe(
    "INVALID_ARGUMENT sharding: optimizer: expected a world with reduceScatter, got one without it",
  );
  expect(await failed(first, "gradients")).toBe(
    "INVALID_ARGUMENT sharding: gradients: expected a world with joinDevice, got one without it",
  );
  expect(await failed(first, "parameters")).toBe(
    "INVALID_ARGUMENT sharding: parameters: expected a world with joinDevice, got one without it",
  );
  expect(await failed(undefined, "parameters")).toBe(`INVALID_ARGUMENT sharding: parameters: ${several}`);
  expect(await failed(first, "everything" as never)).toMatch(
    /^INVALID_ARGUMENT sharding: expected one of none, optimizer, gradients, parameters/,
  );
  expect(await failed({ ...first!, overlap: true }, "none")).toBe(
    "INVALID_ARGUMENT world: overlap: expected a world with joinDevice, got one without it",
  );
  const apart = await Promise.all([failed(first), failed(second, "none")]);
  for (const message of apart)
    expect(message).toBe(
      'INVALID_ARGUMENT sharding: expected the same value on all ranks, got "optimizer" on rank 0; "none" on rank 1',
    );
});

test("each rank allocates the memory of the documented formula", async () => {
  const size = { hiddenSize: 128, intermediateSize: 512, vocabSize: 4096, numHiddenLayers: 2 };
  const shape = { sequences: 1, sequenceLength: 8, dtype: "f32" as const };
  const allocations = vi.spyOn(Tensor, "zeros");
  const frees = vi.spyOn(Tensor.prototype, "unload");
  const allocated = async (work: () => Promise<unknown>) => {
    allocations.mockClear();
    await work();
    return allocations.mock.results.reduce((sum, { value }) => sum + value.bytes, 0);
  };
  const { model } = tinyModel({}, { ...size, initializerRange: 0.1 });
  const names = model.languageWeightNames;
  const parameters = names.reduce((sum, name) => sum + model.weight(name).elements, 0);
  const weights = names.reduce((sum, name) => sum + model.weight(name).bytes, 0);
  const largest = Math.max(...names.map((name) => model.weight(name).bytes));
  const arenas = new Map<string, number>();
  const measured = async (world: World, sharding: Sharding) => {
    let step: TrainStep<never> | undefined;
    frees.mockClear();
    const bytes = await allocated(async () => {
      step = await TrainStep.create(model, languageModeling as never, shape, { world, sharding });
      await step.weights?.divide();
    });
    arenas.set(sharding, step!.arenaBytes);
    step!.dispose();
    const freed = frees.mock.contexts as Tensor[];
    for (const tensor of freed) await tensor.reload();
    return weights + bytes - freed.reduce((sum, tensor) => sum + tensor.bytes, 0);
  };
  for (const ranks of [2, 4])
    for (const world of worlds(ranks)) {
      expect(await measured(world, "none")).toBe(16 * parameters);
      const joined = { ...world, joinDevice: async () => {} };
      for (const [sharding, each] of [
        ["optimizer", 8 + 8 / ranks],
        ["gradients", 4 + 12 / ranks],
        ["parameters", 16 / ranks],
      ] as const) {
        const ratio = (await measured(joined, sharding)) / (each * parameters);
        expect(Math.abs(ratio - 1), `${sharding}: rank ${world.rank} of ${ranks}`).toBeLessThan(0.1);
      }
      // Few whole weights exist at a time.
      const more = arenas.get("parameters")! - arenas.get("gradients")!;
      expect(more).toBeGreaterThanOrEqual(largest);
      expect(more).toBeLessThanOrEqual(3 * largest);
    }
  allocations.mockRestore();
  frees.mockRestore();
});
