// CUDA ranks of launchers on emulated devices, with a fake NCCL library: which device they open, and how they get NCCL's id.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { type OpenWorld, openWorld } from "../../lib/train/world/open-world.ts";
import { entry, node } from "../process/helpers.ts";
import { rankTest } from "../process/mpirun.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-cuda-launchers-"));
  const library = join(folder, "libnccl.so");
  const source = fileURLToPath(new URL("fake_nccl.cc", import.meta.url));
  const built = spawnSync("c++", ["-std=c++17", "-O1", "-shared", "-fPIC", "-pthread", "-o", library, source], {
    encoding: "utf8",
  });
  expect(built.stderr).toBe("");
  Object.assign(process.env, { HEDDLE_NCCL: library, HEDDLE_EMULATE_CUDA: "2" });
});
afterEach(() => void vi.unstubAllEnvs());
afterAll(() => rm(folder, { recursive: true, force: true }));

async function freePort(from = 0): Promise<number> {
  for (let port = from; ; port++) {
    const server = createServer().listen(port);
    const found = await once(server, "listening").then(
      () => (server.address() as AddressInfo).port,
      () => undefined, // in use
    );
    await new Promise((done) => server.close(done));
    if (found !== undefined) return found;
  }
}

/** Opens the world of a rank with a launcher's variables, which `openWorld` reads before it first waits. */
function openWith(variables: Record<string, string>): Promise<OpenWorld> {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  try {
    return openWorld({ device: "cuda", timeoutSeconds: 20 });
  } finally {
    vi.unstubAllEnvs();
  }
}

const torch = (rank: number, port: number) => ({
  RANK: `${rank}`,
  LOCAL_RANK: `${rank}`,
  WORLD_SIZE: "2",
  MASTER_ADDR: "127.0.0.1",
  MASTER_PORT: `${port}`,
});
const srun = (rank: number, job: string) => ({
  SLURM_JOB_ID: job,
  SLURM_STEP_ID: "3",
  SLURM_PROCID: `${rank}`,
  SLURM_LOCALID: `${rank}`,
  SLURM_NTASKS: "2",
  SLURM_JOB_NODELIST: "localhost",
});
const openMpi = (rank: number, port: number) => ({
  OMPI_COMM_WORLD_RANK: `${rank}`,
  OMPI_COMM_WORLD_LOCAL_RANK: `${rank}`,
  OMPI_COMM_WORLD_SIZE: "2",
  MASTER_ADDR: "127.0.0.1",
  MASTER_PORT: `${port}`,
});

async function expectTwoRanks(opening: Promise<OpenWorld>[]): Promise<void> {
  const worlds = await Promise.all(opening);
  expect(worlds.map(({ device }) => device.name)).toEqual(["cuda:0", "cuda:1"]);
  expect(worlds.map(({ localRank }) => localRank)).toEqual([0, 1]);
  expect(await Promise.all(worlds.map((world) => world.sum([world.rank + 1])))).toEqual([[3], [3]]);
  for (const world of worlds) await world.close();
}

test("LOCAL_RANK selects one of two devices, and NCCL's id goes over MASTER_PORT", async () => {
  const port = await freePort();
  await expectTwoRanks([0, 1].map((rank) => openWith(torch(rank, port))));
});

test("ranks of srun without a plugin for MPI connect over the job's default port, and do not load MPI", async () => {
  const port = await freePort(15_000);
  const job = `88${String(port - 15_000).padStart(4, "0")}`;
  await expectTwoRanks([0, 1].map((rank) => openWith(srun(rank, job))));
  expect(readFileSync("/proc/self/maps", "utf8")).not.toMatch(/\/libmpi/);
});

test("a rank that sees only one device uses it, whatever its local rank", async () => {
  const port = await freePort();
  // Rank 0 sees both devices, because all ranks of this process share them.
  const second = openWith({ ...torch(1, port), HEDDLE_EMULATE_CUDA: "1" });
  const first = openWith({ ...torch(0, port), LOCAL_RANK: "1" });
  const worlds = await Promise.all([first, second]);
  expect(worlds.map(({ rank, localRank, device }) => [rank, localRank, device.name])).toEqual([
    [0, 1, "cuda:1"],
    [1, 1, "cuda:0"],
  ]);
  expect(await Promise.all(worlds.map((world) => world.sum([world.rank + 1])))).toEqual([[3], [3]]);
  for (const world of worlds) await world.close();
});

test("ranks of mpirun without its MPI library and MASTER_PORT are an error", async () => {
  const { MASTER_PORT: _, ...others } = openMpi(1, 0);
  await expect(openWith({ ...others, HEDDLE_MPI: join(folder, "none.so") })).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(/^mpi: expected an MPI library .*; tried .*none\.so/),
  });
});

rankTest.each([
  ["are alone in their MPI worlds", {}, true],
  ["have no MPI library", { HEDDLE_MPI: "/none.so" }, false],
])("ranks of mpirun that %s connect over MASTER_PORT", async (_, variables, mpi) => {
  const port = await freePort();
  const file = join(folder, "alone.mjs");
  await writeFile(
    file,
    `import { readFileSync } from "node:fs";
     Object.assign(process.env, JSON.parse(process.argv[2]));
     const { openWorld } = await import(${JSON.stringify(entry)});
     const world = await openWorld({ device: "cuda", timeoutSeconds: 60 });
     const { rank, size, device } = world;
     const mpi = /\\/libmpi\\.so/.test(readFileSync("/proc/self/maps", "utf8"));
     console.log(JSON.stringify({ rank, size, device: device.name, mpi }));
     await world.close();`,
  );
  const ended = await Promise.all(
    [0, 1].map((rank) => node([file, JSON.stringify({ ...openMpi(rank, port), ...variables, FAKE_NCCL_ALONE: "1" })])),
  );
  for (const [rank, { code, stdout, stderr }] of ended.entries()) {
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ rank, size: 2, device: `cuda:${rank}`, mpi });
  }
});
