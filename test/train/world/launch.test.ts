import { expect, test } from "vitest";
import { describeLaunch } from "../../../lib/train/world/launch.ts";
import { mpiLibraries, offersMpi } from "../../../lib/train/world/mpi-world.ts";
import { openWorld, overlapOf, resolveLaunch } from "../../../lib/train/world/open-world.ts";

const torchrun = {
  RANK: "5",
  LOCAL_RANK: "1",
  WORLD_SIZE: "8",
  LOCAL_WORLD_SIZE: "4",
  MASTER_ADDR: "10.0.0.1",
  MASTER_PORT: "29500",
  TORCHELASTIC_RUN_ID: "run",
  TORCHELASTIC_USE_AGENT_STORE: "True",
};
const openMpi = {
  OMPI_COMM_WORLD_RANK: "2",
  OMPI_COMM_WORLD_SIZE: "4",
  OMPI_COMM_WORLD_LOCAL_RANK: "0",
  OMPI_COMM_WORLD_LOCAL_SIZE: "2",
  PMIX_RANK: "2",
  PMIX_NAMESPACE: "prterun-host-7@1",
};
const mpich = { PMI_RANK: "1", PMI_SIZE: "2", MPI_LOCALRANKID: "1", MPI_LOCALNRANKS: "2" };
const srun = {
  SLURM_JOB_ID: "77",
  SLURM_STEP_ID: "0",
  SLURM_PROCID: "3",
  SLURM_NTASKS: "5",
  SLURM_LOCALID: "1",
  SLURM_NODEID: "1",
  SLURM_STEP_TASKS_PER_NODE: "2(x2),1",
  SLURM_JOB_NODELIST: "node[07-09]",
};
const pod = {
  PET_NNODES: "2",
  PET_NPROC_PER_NODE: "1",
  PET_NODE_RANK: "1",
  PET_MASTER_ADDR: "job-node-0-0.job",
  PET_MASTER_PORT: "29500",
};

test.each([
  ["an empty environment as no launch", {}, undefined],
  ["a single process with torch's variables as no launch", { WORLD_SIZE: "1" }, undefined],
  [
    "torchrun",
    torchrun,
    {
      launcher: "torchrun",
      rank: 5,
      size: 8,
      localRank: 1,
      localSize: 4,
      master: { address: "10.0.0.1", port: 29500 },
      runId: "run",
      agentStore: true,
    },
  ],
  [
    "torchrun inside mpirun inside a Slurm step",
    { ...srun, ...openMpi, ...torchrun, TORCHELASTIC_USE_AGENT_STORE: "False" },
    { launcher: "torchrun", rank: 5, size: 8, localRank: 1, agentStore: false },
  ],
  [
    "Open MPI",
    openMpi,
    { launcher: "openmpi", rank: 2, size: 4, localRank: 0, localSize: 2, runId: "prterun-host-7@1" },
  ],
  [
    "Open MPI in a Slurm allocation, where Slurm's variables describe the MPI daemons",
    { ...srun, SLURM_PROCID: "0", SLURM_NTASKS: "2", ...openMpi },
    { launcher: "openmpi", rank: 2, size: 4, localRank: 0, master: { address: "node07", port: undefined } },
  ],
  ["MPICH", mpich, { launcher: "mpich", rank: 1, size: 2, localRank: 1, localSize: 2 }],
  [
    "mpirun with matching torch variables",
    { ...openMpi, RANK: "2", WORLD_SIZE: "4", MASTER_ADDR: "h" },
    { launcher: "openmpi", rank: 2, size: 4, localSize: 2, master: { address: "h", port: undefined } },
  ],
  [
    "srun",
    srun,
    {
      launcher: "slurm",
      rank: 3,
      size: 5,
      localRank: 1,
      localSize: 2,
      master: { address: "node07", port: 15077 },
      runId: "77.0",
    },
  ],
  [
    "srun with MASTER_ADDR and MASTER_PORT",
    { ...srun, MASTER_ADDR: "10.0.0.7", MASTER_PORT: "29500" },
    { launcher: "slurm", rank: 3, master: { address: "10.0.0.7", port: 29500 } },
  ],
  [
    "a job whose id has more than four digits, of which the last four set the port",
    { ...srun, SLURM_JOB_ID: "4210321" },
    { master: { address: "node07", port: 15321 }, runId: "4210321.0" },
  ],
  [
    "a script in srun that sets torchrun's variables but no port",
    { ...srun, RANK: "3", WORLD_SIZE: "5" },
    { launcher: "torchrun", rank: 3, localRank: 1, master: { address: "node07", port: 15077 }, agentStore: false },
  ],
  [
    "the last node of srun",
    { ...srun, SLURM_PROCID: "4", SLURM_LOCALID: "0", SLURM_NODEID: "2" },
    { rank: 4, localSize: 1 },
  ],
  [
    "srun with PMI-2, which every MPI library may use, and which names no local rank",
    { ...srun, PMI_RANK: "3", PMI_SIZE: "5" },
    { launcher: "slurm", rank: 3, size: 5, localRank: 1, localSize: 2, runId: "77.0", master: { port: 15077 } },
  ],
  [
    "Open MPI in a shell of Slurm that srun has started with PMI-2",
    { ...srun, SLURM_PROCID: "0", SLURM_NTASKS: "1", SLURM_LOCALID: "0", PMI_RANK: "0", PMI_SIZE: "1", ...openMpi },
    { launcher: "openmpi", rank: 2, size: 4 },
  ],
  [
    "MPICH in a Slurm allocation, where Slurm's variables describe the MPI daemons",
    { ...srun, SLURM_PROCID: "0", SLURM_NTASKS: "3", ...mpich, SLURM_TASK_PID: String(process.ppid) },
    { launcher: "mpich", rank: 1, size: 2, master: { address: "node07", port: undefined } },
  ],
  [
    "srun inside mpirun, where Slurm has started this very process",
    { ...openMpi, ...mpich, ...srun, SLURM_TASK_PID: String(process.pid) },
    { launcher: "slurm", rank: 3, size: 5, localRank: 1, runId: "77.0" },
  ],
  [
    "Open MPI and MPICH with the same ranks",
    { ...openMpi, PMI_RANK: "2", PMI_SIZE: "4" },
    { launcher: "openmpi", rank: 2, size: 4 },
  ],
  ["Open MPI with a single variable of MPICH", { ...openMpi, PMI_RANK: "1" }, { launcher: "openmpi", rank: 2 }],
  ["a Slurm batch script, which is not a step, as no launch", { ...srun, SLURM_STEP_ID: undefined }, undefined],
  [
    "prun, which does not say how many ranks there are",
    { PMIX_RANK: "1", PMIX_NAMESPACE: "n", PMIX_LOCAL_RANK: "1" },
    { launcher: "pmix", rank: 1, localRank: 1 },
  ],
  [
    "a pod of Kubeflow Trainer's torch policy",
    pod,
    {
      launcher: "torchrun",
      rank: 1,
      size: 2,
      localRank: 0,
      localSize: 1,
      master: { address: "job-node-0-0.job", port: 29500 },
      agentStore: false,
    },
  ],
  [
    "a job of one pod as no launch",
    { ...pod, PET_NNODES: "1", PET_NODE_RANK: "0", PET_NPROC_PER_NODE: "auto" },
    undefined,
  ],
  [
    "torchrun in a pod",
    { ...pod, ...torchrun, PET_NPROC_PER_NODE: "4" },
    { launcher: "torchrun", rank: 5, size: 8, master: { address: "10.0.0.1", port: 29500 } },
  ],
  ["mpirun in a pod", { ...pod, ...openMpi, PET_NPROC_PER_NODE: "2" }, { launcher: "openmpi", rank: 2, size: 4 }],
])("describes %s", (_, environment, launch) => {
  const found = describeLaunch(environment);
  if (launch) expect(found).toMatchObject(launch);
  else expect(found).toBeUndefined();
});

test.each([
  [{ RANK: "4", WORLD_SIZE: "4" }, "RANK: expected a number below WORLD_SIZE, which is 4, got 4"],
  [{ RANK: "1" }, "WORLD_SIZE: expected a value, because RANK is 1, got none"],
  [{ WORLD_SIZE: "2" }, "RANK: expected a value, because WORLD_SIZE is 2, got none"],
  [{ ...openMpi, OMPI_COMM_WORLD_SIZE: undefined }, /^OMPI_COMM_WORLD_SIZE: .* OMPI_COMM_WORLD_RANK is 2/],
  [{ ...torchrun, LOCAL_RANK: "4" }, "LOCAL_RANK: expected a number below LOCAL_WORLD_SIZE, which is 4, got 4"],
  [{ ...torchrun, LOCAL_WORLD_SIZE: "9" }, "LOCAL_WORLD_SIZE: expected at most WORLD_SIZE, which is 8, got 9"],
  [{ ...pod, PET_NODE_RANK: "2" }, "PET_NODE_RANK: expected a number below PET_NNODES, which is 2, got 2"],
  [{ ...pod, PET_NNODES: "1:4" }, 'PET_NNODES: expected a whole number, got "1:4"'],
  [{ ...pod, PET_NPROC_PER_NODE: "auto" }, /^PET_NPROC_PER_NODE: expected 1, .* got auto$/],
  [{ ...pod, PET_NPROC_PER_NODE: undefined }, /^PET_NPROC_PER_NODE: expected 1, .* got none$/],
  [{ ...torchrun, RANK: "x" }, 'RANK: expected a whole number, got "x"'],
  [{ ...torchrun, MASTER_PORT: "70000" }, "MASTER_PORT: expected a port of 1 to 65535, got 70000"],
  [
    { ...openMpi, RANK: "1", WORLD_SIZE: "4" },
    "RANK: expected 2, which is OMPI_COMM_WORLD_RANK, got 1; unset one of them",
  ],
  [{ ...mpich, RANK: "1", WORLD_SIZE: "3" }, "WORLD_SIZE: expected 2, which is PMI_SIZE, got 3; unset one of them"],
  [
    { ...mpich, RANK: "1", WORLD_SIZE: "2", LOCAL_RANK: "0" },
    /^LOCAL_RANK: expected 1, which is MPI_LOCALRANKID, got 0/,
  ],
  [
    { ...openMpi, ...mpich },
    "PMI_RANK: expected 2, which is OMPI_COMM_WORLD_RANK, got 1; unset the variables of the launcher that has not started this process",
  ],
  [
    { ...openMpi, PMI_RANK: "2", PMI_SIZE: "3" },
    /^PMI_SIZE: expected 4, which is OMPI_COMM_WORLD_SIZE, got 3; unset the variables/,
  ],
  [
    { ...srun, PMI_RANK: "0", PMI_SIZE: "1" },
    /^PMI_RANK: expected 3, which is SLURM_PROCID, got 0; unset the variables/,
  ],
  [
    { ...srun, SLURM_PROCID: "0", PMI_RANK: "0", PMI_SIZE: "1" },
    /^PMI_SIZE: expected 5, which is SLURM_NTASKS, got 1; unset the variables/,
  ],
])("rejects missing, invalid and contradictory variables: %j", (environment, message) => {
  expect(() => describeLaunch(environment)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => describeLaunch(environment)).toThrow(message);
});

test("explicit options win over the environment", () => {
  const launch = describeLaunch(torchrun);
  expect(resolveLaunch({ rank: 0, size: 2 }, launch)).toMatchObject({
    launcher: "torchrun",
    rank: 0,
    size: 2,
    localRank: 1,
  });
  expect(resolveLaunch({ localRank: 3 }, launch)).toMatchObject({ rank: 5, size: 8, localRank: 3 });
  expect(resolveLaunch({}, undefined)).toMatchObject({ launcher: "none", rank: 0, size: 1 });
  expect(() => resolveLaunch({ rank: 8 }, launch)).toThrow("rank: expected a number below the size, which is 8, got 8");
  expect(() => resolveLaunch({ size: 0 }, undefined)).toThrow(/^size: /);
});

test("the option overlap takes precedence over HEDDLE_OVERLAP, which is 0 or 1", async () => {
  expect(overlapOf({}, {})).toBeUndefined();
  expect(overlapOf({}, { HEDDLE_OVERLAP: "" })).toBeUndefined();
  expect(overlapOf({}, { HEDDLE_OVERLAP: "1" })).toBe(true);
  expect(overlapOf({}, { HEDDLE_OVERLAP: "0" })).toBe(false);
  expect(overlapOf({ overlap: false }, { HEDDLE_OVERLAP: "1" })).toBe(false);
  expect(overlapOf({ overlap: true }, { HEDDLE_OVERLAP: "0" })).toBe(true);
  expect(() => overlapOf({}, { HEDDLE_OVERLAP: "yes" })).toThrow('HEDDLE_OVERLAP: expected 0 or 1, got "yes"');
  await expect(openWorld({ overlap: 1 as never })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "overlap: expected true or false, got 1",
  });
});

test("a launcher's own MPI library is tried first, and a library given by path is the only one tried", () => {
  expect(mpiLibraries("openmpi", "linux")[0]).toBe("libmpi.so.40");
  expect(mpiLibraries("mpich", "linux").slice(0, 2)).toEqual(["libmpi.so.12", "libmpich.so.12"]);
  expect(mpiLibraries("openmpi", "darwin").every((name) => name.endsWith(".dylib"))).toBe(true);
  expect(mpiLibraries("mpich", "linux", { named: "/opt/libmpi.so" })).toEqual(["/opt/libmpi.so"]);
});

test("under srun all libraries are tried, MPICH's first if Slurm offers only PMI", () => {
  const all = ["libmpi.so.40", "libmpi.so.12", "libmpich.so.12", "libmpi_abi.so.0", "libmpi.so"];
  expect(mpiLibraries("slurm", "linux")).toEqual(all);
  const byPmi = mpiLibraries("slurm", "linux", { pmi: true });
  expect(byPmi.slice(0, 3)).toEqual(["libmpi.so.12", "libmpich.so.12", "libmpi.so.40"]);
  expect([...byPmi].sort()).toEqual([...all].sort());
});

test("srun offers MPI only with a plugin, mpirun always, and torchrun never", () => {
  expect(offersMpi("slurm", srun)).toBe(false);
  expect(offersMpi("slurm", { ...srun, PMIX_RANK: "3" })).toBe(true);
  expect(offersMpi("slurm", { ...srun, PMI_RANK: "3" })).toBe(true);
  for (const launcher of ["openmpi", "mpich", "pmix"] as const) expect(offersMpi(launcher, {})).toBe(true);
  expect(offersMpi("torchrun", { ...torchrun, ...openMpi })).toBe(false);
});

test("without a launcher the world is this process alone", async () => {
  await using world = await openWorld();
  expect(world).toMatchObject({ rank: 0, size: 1, localRank: 0, launch: undefined });
  expect(await world.sum([1, 2])).toEqual([1, 2]);
  expect(world.device.kind).toBe("cpu");
  await expect(openWorld({ ranks: 2 } as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});
