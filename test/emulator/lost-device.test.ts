// Tests how models, servers, training runs and ranks fail on a lost device. Needs an addon that was built with --emulator.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { openDevice, Tensor } from "../../lib/graph/index.ts";
import { pretrain } from "../../lib/train/stages/pretrain.ts";
import { openNcclWorld } from "../../lib/train/world/nccl-world.ts";
import { sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { withServer } from "../serve/helpers.ts";
import { ILLEGAL_ADDRESS, lossOf, nextDevice, plant } from "./plant.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-lost-device-"));
  await writeFile(join(folder, "train.txt"), sentences.slice(0, 60).join("\n\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => void vi.stubEnv("HEDDLE_EMULATE_CUDA", "20"));
afterEach(() => void vi.unstubAllEnvs());

const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

/** Loses the device at its next kernel or copy. */
const lose = (index: number) => plant(`${index}:work:1:${ILLEGAL_ADDRESS}:lost`);

// This test is the first, because the server's health checks look at all devices of the process.
test("a server answers 503 with device_lost, and its health checks ask for a restart", async () => {
  const index = nextDevice();
  await using model = tinyModel({ tokenizer: await tinyTokenizer(), device: `cuda:${index}` });
  await withServer(model, {}, async ({ ask, post }) => {
    const request = { prompt: "The cat", max_tokens: 3, ignore_eos: true };
    expect((await post("/v1/completions", request)).status).toBe(200);
    expect((await ask("/ready")).status).toBe(200);
    lose(index);
    const answers = await Promise.all(Array.from({ length: 4 }, () => post("/v1/completions", request)));
    for (const { status, headers, body } of [...answers, await post("/v1/completions", request)]) {
      expect([status, body.error.code, body.error.message]).toEqual([503, "device_lost", "server: its GPU has failed"]);
      expect(headers.get("retry-after")).toBeNull();
    }
    for (const path of ["/ready", "/live", "/health"]) expect((await ask(path)).status, path).toBe(503);
    expect((await ask("/v1/models")).status).toBe(200);
  });
});

test("a session on a lost device fails, and the model is disposed of without an error", async () => {
  const index = nextDevice();
  const model = tinyModel({ device: `cuda:${index}` });
  const session = model.session();
  await session.complete([1, 2, 3], { maxTokens: 2, ignoreEos: true });
  lose(index);
  for (let i = 0; i < 2; i++)
    expect(await errorOf(session.complete([4, 5], { maxTokens: 4, ignoreEos: true }))).toEqual(lossOf(index, "\\w+"));
  session.dispose();
  await model.dispose();
  await using onCpu = tinyModel({ device: "cpu" });
  expect((await onCpu.complete([1, 2, 3], { maxTokens: 2, ignoreEos: true })).tokens).toHaveLength(2);
});

test("a batcher fails its running and waiting sequences with the loss, and closes", async () => {
  const index = nextDevice();
  await using model = tinyModel({ device: `cuda:${index}` });
  const batcher = model.batcher({ slots: 2 });
  await batcher.complete([1, 2, 3], { maxTokens: 2, ignoreEos: true });
  lose(index);
  const all = [1, 2, 3, 4, 5].map((id) => errorOf(batcher.complete([id, 2, 3], { maxTokens: 8, ignoreEos: true })));
  for (const error of await Promise.all(all)) expect(error).toEqual(lossOf(index, "\\w+"));
  await batcher.dispose();
});

test("training stops with the loss, and continues from its last checkpoint on another device", async () => {
  const index = nextDevice();
  const outputDir = join(folder, "run");
  const tokenizer = await tinyTokenizer();
  const options = { data: join(folder, "train.txt"), maxSteps: 6, saveSteps: 2, maxSeqLength: 16, outputDir, seed: 3 };
  const run = async (device: string, more: object) => {
    await using base = tinyModel({ tokenizer, device }, { initializerRange: 0.05 });
    const steps: number[] = [];
    for await (const event of pretrain(base, { ...options, perDeviceTrainBatchSize: 1, ...more })) {
      if ("loss" in event) steps.push(event.step);
      if (event.step === 5 && device !== "cpu") lose(index);
    }
    return steps;
  };
  expect(await errorOf(run(`cuda:${index}`, {}))).toEqual(lossOf(index, "\\w+"));
  expect(await readdir(outputDir)).toContain("checkpoint-4");
  plant();
  expect(await run("cpu", { resume: true })).toEqual([5, 6]);
});

test("a rank whose device is lost fails its sums, and NCCL's own errors have codes", async () => {
  const library = join(folder, "libnccl.so");
  const source = fileURLToPath(new URL("fake_nccl.cc", import.meta.url));
  const built = spawnSync("c++", ["-std=c++17", "-O1", "-shared", "-fPIC", "-pthread", "-o", library, source], {
    encoding: "utf8",
  });
  expect(built.stderr).toBe("");
  vi.stubEnv("HEDDLE_NCCL", library);
  const index = nextDevice();
  const device = openDevice({ device: `cuda:${index}` });
  const world = await openNcclWorld({ rank: 0, size: 1, device, rendezvous: join(folder, "rendezvous") });
  const tensor = await Tensor.from(device, "f32", [2], Float32Array.of(1, 2));
  await world.allReduce([tensor]);
  for (const [status, code] of [
    [2, "IO"], // the network or another rank
    [6, "IO"],
    [1, "INTERNAL"], // an error of CUDA, but the device works
    [3, "INTERNAL"],
  ] as const) {
    vi.stubEnv("FAKE_NCCL_STATUS", String(status));
    expect(await errorOf(world.allReduce([tensor]))).toMatchObject({ code });
  }
  // NCCL reports an error of CUDA, and the device is lost.
  vi.stubEnv("FAKE_NCCL_STATUS", "1");
  plant(`${index}:cudaStreamQuery:1:719:lost`);
  expect(await errorOf(world.allReduce([tensor]))).toEqual(lossOf(index, "ncclAllReduce"));
  vi.stubEnv("FAKE_NCCL_STATUS", "");
  expect(await errorOf(world.allReduce([tensor]))).toEqual(lossOf(index, "ncclAllReduce"));
  expect(await errorOf(world.sum([1]))).toEqual(lossOf(index, "ncclAllReduce"));
  tensor.dispose();
});
