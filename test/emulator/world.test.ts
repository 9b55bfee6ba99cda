// Two ranks on two emulated devices with a fake NCCL library. Checks that heddle finds its functions and calls them in the right order with
// the right memory. The real NCCL would need several GPUs.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { allReduce, assign, compile, input, openDevice, scale, Tensor, tensor, toBf16 } from "../../lib/graph/index.ts";
import { pretrain } from "../../lib/train/stages/pretrain.ts";
import { openNcclWorld } from "../../lib/train/world/nccl-world.ts";
import { openWorld } from "../../lib/train/world/open-world.ts";
import type { World } from "../../lib/train/world/world.ts";
import { sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-nccl-"));
  process.env.HEDDLE_EMULATE_CUDA = "2";
  await writeFile(join(folder, "train.txt"), sentences.slice(0, 60).join("\n\n"));
});
afterAll(() => {
  delete process.env.HEDDLE_RANK_BATCH_BYTES;
  return rm(folder, { recursive: true, force: true });
});

const open = (rank: number, more: object = {}) =>
  openNcclWorld({ rank, size: 2, device: `cuda:${rank}`, rendezvous: join(folder, "rendezvous"), ...more });

test("reports that NCCL is not installed", async () => {
  process.env.HEDDLE_NCCL = join(folder, "libnone.so");
  await expect(open(0)).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(/^nccl: expected NCCL to be installed \(or named by HEDDLE_NCCL\), got .*libnone/),
  });
});

test("reports a library that is not NCCL", async () => {
  process.env.HEDDLE_NCCL = "libm.so.6";
  await expect(open(0)).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringContaining("ncclGetUniqueId"),
  });
});

test("ranks synchronize, reduce, and train as one process does", async () => {
  const library = join(folder, "libnccl.so");
  const source = fileURLToPath(new URL("fake_nccl.cc", import.meta.url));
  const built = spawnSync("c++", ["-std=c++17", "-O1", "-shared", "-fPIC", "-pthread", "-o", library, source], {
    encoding: "utf8",
  });
  expect(built.stderr).toBe("");
  process.env.HEDDLE_NCCL = library;

  await expect(open(1, { timeoutSeconds: 0.1 })).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(open(2)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^rank: /) });
  await expect(open(0, { device: "cpu" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await writeFile(join(folder, "stale"), "left behind");
  await expect(open(0, { rendezvous: join(folder, "stale") })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(open(1, { rendezvous: join(folder, "stale") })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "id: expected 128 bytes, got 11",
  });

  // CUDA ranks overlap their sums unless the option says otherwise.
  for (const overlap of [undefined, false]) {
    const rendezvous = join(folder, `overlap-${overlap}`);
    const opened = await Promise.all(
      [0, 1].map((rank) => openWorld({ rank, size: 2, device: `cuda:${rank}`, rendezvous, overlap })),
    );
    expect(opened.map((world) => world.overlap)).toEqual([overlap ?? true, overlap ?? true]);
  }

  const all = await Promise.all([open(0), open(1)]);
  const sums = await Promise.all(all.map((world, rank) => world.sum([rank + 1, 2 ** 40 + rank, 1e-9])));
  expect(sums).toEqual([
    [3, 2 ** 41 + 1, 2e-9],
    [3, 2 ** 41 + 1, 2e-9],
  ]);
  const tensors = await Promise.all(
    all.map((_, rank) =>
      Tensor.from(openDevice({ device: `cuda:${rank}` }), "f32", [3], Float32Array.of(1, 10 * rank, -rank)),
    ),
  );
  await Promise.all(all.map((world, rank) => world.allReduce([tensors[rank]!])));
  for (const t of tensors) expect(await t.toFloat32()).toEqual(Float32Array.of(2, 10, -1));
  await expect(all[0]!.allReduce([tensors[1]!])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });

  const devices = all.map((_, rank) => openDevice({ device: `cuda:${rank}` }));
  for (const dtype of ["f32", "bf16"] as const) {
    const typed = (values: Float32Array) => (dtype === "bf16" ? toBf16(values) : values);
    const whole = await Promise.all(
      devices.map((device, rank) => Tensor.from(device, dtype, [5], typed(Float32Array.of(1, 2, 3, 4 * rank, 5)))),
    );
    const parts = whole.map((t) => [[t.part(0, 2)], [t.part(2, 3)]]);
    await Promise.all(all.map((world, rank) => world.reduceScatter!(parts[rank]!)));
    expect([...(await whole[0]!.toFloat32())]).toEqual([2, 4, 3, 0, 5]);
    expect([...(await whole[1]!.toFloat32())]).toEqual([1, 2, 6, 4, 10]);
    await Promise.all(all.map((world, rank) => world.allGather!(parts[rank]!)));
    for (const t of whole) expect([...(await t.toFloat32())]).toEqual([2, 4, 6, 4, 10]);
    await whole[1]!.write(typed(Float32Array.of(9, 8)), 2);
    await Promise.all(all.map((world, rank) => world.broadcast!([whole[rank]!], 1)));
    expect([...(await whole[0]!.toFloat32())]).toEqual([2, 4, 9, 8, 10]);
  }
  const texts = ["a text of rank 0", ""].map((text) => new TextEncoder().encode(text));
  const gathered = await Promise.all(all.map((world, rank) => world.gatherBytes!(texts[rank]!)));
  expect(gathered).toEqual([texts, texts]);
  await Promise.all(all.map((world) => world.barrier()));
  await expect(all[0]!.reduceScatter!([[tensors[0]!]])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });

  // Programs sum in place, in several batches.
  process.env.HEDDLE_RANK_BATCH_BYTES = "16";
  for (const dtype of ["f32", "bf16"] as const) {
    const typed = (values: Float32Array) => (dtype === "bf16" ? toBf16(values) : values);
    const states = await Promise.all(
      devices.map(async (device, rank) => {
        const values = [1, 2, 3, 4 * rank, 5];
        const make = (name: string) =>
          Tensor.from(device, dtype, [5], typed(Float32Array.from(values))).then((t) => [name, t] as const);
        return new Map(await Promise.all(["whole", "parts", "last"].map(make)));
      }),
    );
    const program = compile(() => {
      for (const name of ["whole", "parts", "last"])
        assign(tensor(name, dtype, [5]), scale(tensor(name, dtype, [5]), 2));
      allReduce(tensor("whole", dtype, [5]));
      allReduce(tensor("parts", dtype, [5]), { ends: [2, 5] });
      allReduce(tensor("last", dtype, [5]), { first: 1, ends: [5] });
      return { after: scale(input("x", "f32", [1]), 2) };
    });
    const bound = states.map((state, rank) => program.bind(devices[rank]!, state));
    const outputs = await Promise.all(bound.map((one) => one.run({ x: Float32Array.of(3) })));
    expect(outputs.map(({ after }) => [...after])).toEqual([[6], [6]]);
    const found = await Promise.all(
      states.map(async (state) => Promise.all([...state.values()].map(async (t) => [...(await t.toFloat32())]))),
    );
    expect(found).toEqual([
      [
        [4, 8, 12, 8, 20],
        [4, 8, 6, 0, 10],
        [2, 4, 6, 0, 10],
      ],
      [
        [4, 8, 12, 8, 20],
        [2, 4, 12, 8, 20],
        [4, 8, 12, 8, 20],
      ],
    ]);
    for (const { waitedSeconds } of bound) expect(waitedSeconds).toBeGreaterThanOrEqual(0);
  }

  // The driver copies between devices.
  await tensors[1]!.write(Float32Array.of(7, 8, 9));
  await tensors[0]!.copyFrom(tensors[1]!);
  expect(await tensors[0]!.toFloat32()).toEqual(Float32Array.of(7, 8, 9));
  const elsewhere = Tensor.zeros(openDevice({ device: "cpu" }), "f32", [3]);
  await expect(elsewhere.copyFrom(tensors[0]!)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(tensors[0]!.copyFrom(Tensor.zeros(openDevice({ device: "cuda:0" }), "f32", [4]))).rejects.toMatchObject({
    code: "SHAPE_MISMATCH",
  });

  const losses = async (device: string, world: World | undefined, gradientAccumulationSteps: number, more = {}) => {
    const { size = {}, ...others } = more as { size?: object };
    await using base = tinyModel({ tokenizer: await tinyTokenizer(), device }, { initializerRange: 0.05, ...size });
    const options = {
      maxSteps: 4,
      perDeviceTrainBatchSize: 2,
      maxSeqLength: 24,
      learningRate: 3e-3,
      seed: 4,
      world,
      gradientAccumulationSteps,
      ...others,
    };
    const found: number[] = [];
    for await (const event of pretrain(base, { ...options, data: join(folder, "train.txt") }))
      if ("loss" in event) found.push(event.loss);
    return found;
  };
  const [first, second] = await Promise.all(all.map((world, rank) => losses(`cuda:${rank}`, world, 1)));
  expect(first).toHaveLength(4);
  expect(second).toEqual(first);
  const alone = await losses("cpu", undefined, 2);
  for (const [i, loss] of alone.entries()) expect(Math.abs(first![i]! / loss - 1)).toBeLessThan(1e-4);

  // The program of a step's last micro-batch sums the gradients, or the world does it after the pass. Both have the same bits.
  process.env.HEDDLE_RANK_BATCH_BYTES = "20000";
  const refuse = async () => {
    throw new Error("the gradients are summed after the backward pass");
  };
  for (const accumulate of [1, 2])
    for (const sharding of ["none", "optimizer"] as const) {
      const run = (more: Partial<World>) =>
        Promise.all(all.map((world, rank) => losses(`cuda:${rank}`, { ...world, ...more }, accumulate, { sharding })));
      const expected = await run({ overlap: false });
      expect(expected[0]).toHaveLength(4);
      expect(await run({ allReduce: refuse, reduceScatter: refuse })).toEqual(expected);
    }

  // With sharding `gradients`, the program of every micro-batch sums its gradients over the ranks. That of a second micro-batch adds its sums to
  // those of the first.
  for (const accumulate of [1, 2]) {
    const whole = await losses("cpu", undefined, 2 * accumulate);
    const divided = await Promise.all(
      all.map((world, rank) => losses(`cuda:${rank}`, world, accumulate, { sharding: "gradients" })),
    );
    expect(divided[1]).toEqual(divided[0]);
    for (const [i, loss] of whole.entries()) expect(Math.abs(divided[0]![i]! / loss - 1)).toBeLessThan(1e-4);
  }

  // With sharding `parameters`, every rank has only its part of the large weights. A step's programs also collect these weights, in the dtype
  // of the steps.
  const size = { hiddenSize: 64, intermediateSize: 272, numHiddenLayers: 2 };
  for (const dtype of ["f32", "bf16"]) {
    const run = (sharding: string) =>
      Promise.all(all.map((world, rank) => losses(`cuda:${rank}`, world, 1, { sharding, dtype, size, maxSteps: 2 })));
    const [gradients, parameters] = [await run("gradients"), await run("parameters")];
    expect(parameters[0]).toHaveLength(2);
    expect(parameters).toEqual(gradients);
  }
});
