// Whole training processes on emulated devices, whose ranks meet at MASTER_PORT or by MPI. A fake NCCL connects the processes, and waits
// forever for a rank that has ended.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { cli } from "../process/helpers.ts";
import { LAUNCHERS, mpirun, processOf, rankTest } from "../process/mpirun.ts";

let folder: string;
let library: string;
const config = {
  data: ["numbers.txt"],
  tokenizer: "tokenizer",
  model: {
    modelType: "llama",
    hiddenSize: 16,
    intermediateSize: 32,
    numHiddenLayers: 1,
    numAttentionHeads: 2,
    numKeyValueHeads: 1,
    maxPositionEmbeddings: 32,
  },
  perDeviceTrainBatchSize: 1,
  gradientAccumulationSteps: 1,
  maxSeqLength: 16,
  loggingSteps: 1,
  seed: 5,
};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-lost-"));
  library = join(folder, "libnccl.so");
  const source = fileURLToPath(new URL("process_nccl.cc", import.meta.url));
  const built = spawnSync("c++", ["-std=c++17", "-O1", "-shared", "-fPIC", "-o", library, source], {
    encoding: "utf8",
  });
  expect(built.stderr).toBe("");
  const text = Array.from({ length: 300 }, (_, i) => `The number ${i} is ${i % 2 ? "odd" : "even"}.`).join("\n\n");
  await writeFile(join(folder, "numbers.txt"), text);
  await (await Tokenizer.train([text], { vocabSize: 280 })).save(join(folder, "tokenizer"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Rank {
  process: ChildProcess;
  stdout: string;
  stderr: string;
  ended: Promise<unknown>;
}

async function start(size: number, name: string, more: object): Promise<Rank[]> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  const file = join(folder, `${name}.json`);
  await writeFile(file, JSON.stringify({ ...config, outputDir: join(folder, name), ...more }));
  return Array.from({ length: size }, (_, rank): Rank => {
    const env = {
      ...process.env,
      HEDDLE_EMULATE_CUDA: "1",
      HEDDLE_NCCL: library,
      HEDDLE_THREADS: "1",
      RANK: String(rank),
      WORLD_SIZE: String(size),
      LOCAL_RANK: "0", // every process emulates its own device
      MASTER_ADDR: "127.0.0.1",
      MASTER_PORT: String(port),
    };
    const args = [cli, "train", "pretrain", "--config", file, "--json", "--device", "cuda"];
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const started: Rank = {
      process: child,
      stdout: "",
      stderr: "",
      ended: once(child, "close").then(([code]) => code),
    };
    child.stdout!.setEncoding("utf8").on("data", (part: string) => {
      started.stdout += part;
    });
    child.stderr!.setEncoding("utf8").on("data", (part: string) => {
      started.stderr += part;
    });
    return started;
  });
}

const stepsOf = ({ stdout }: Rank) => stdout.match(/"loss"/g)?.length ?? 0;

test("ranks that meet at MASTER_PORT train together, and end without reporting a lost rank", async () => {
  const ranks = await start(2, "whole", { maxSteps: 3 });
  for (const rank of ranks) expect(await rank.ended, rank.stderr).toBe(0);
  expect(stepsOf(ranks[0]!)).toBe(3);
  for (const { stderr } of ranks) expect(stderr).not.toContain("world:");
});

test.each([0, 1])(
  "if rank %i is killed, the others end within 30 s, each with a message that names it",
  async (lost) => {
    const ranks = await start(3, `lost-${lost}`, { maxSteps: 100_000, saveSteps: 2 });
    const { process: victim } = ranks[lost]!;
    await expect.poll(() => stepsOf(ranks[0]!), { timeout: 300_000 }).toBeGreaterThan(3);
    const since = performance.now();
    victim.kill("SIGKILL");
    const others = ranks.filter((_, rank) => rank !== lost);
    for (const { process: child } of others) child.kill("SIGTERM"); // as torchrun does
    for (const rank of others) {
      expect(await rank.ended, rank.stderr).toBe(1);
      expect(rank.stderr.match(/^.*world: rank.*$/gm), rank.stderr).toEqual([
        expect.stringMatching(
          new RegExp(`^heddle: (rank \\d( of 3)?: )?world: rank ${lost} of 3 has ended or lost its connection`),
        ),
      ]);
    }
    expect(performance.now() - since).toBeLessThan(30_000);
    expect(await readdir(join(folder, `lost-${lost}`))).toContainEqual(expect.stringMatching(/^checkpoint-/));
  },
);

rankTest(
  "with mpirun, a heartbeat over MPI detects a CUDA rank that hangs, and all ranks end although NCCL waits",
  async () => {
    const file = join(folder, "stopped.json");
    await writeFile(file, JSON.stringify({ ...config, outputDir: join(folder, "stopped"), maxSteps: 100_000 }));
    Object.assign(process.env, { HEDDLE_EMULATE_CUDA: "2", HEDDLE_NCCL: library });
    let since = 0;
    const onLine = (line: string, pid?: number) => {
      if (since > 0 || JSON.parse(line).step !== 3) return;
      since = performance.now();
      process.kill(processOf(1, pid!), "SIGSTOP");
    };
    const args = [cli, "train", "pretrain", "--config", file, "--json", "--device", "cuda"];
    const { code, stderr } = await mpirun(2, args, onLine, LAUNCHERS.openMpi);
    expect(code, stderr).not.toBe(0);
    expect(since).toBeGreaterThan(0);
    expect(performance.now() - since).toBeLessThan(30_000);
    expect(stderr.match(/world: rank.*/g), stderr).toEqual([
      expect.stringMatching(/^world: rank 1 of 2 has sent no heartbeat for 15 s/),
    ]);
  },
);
