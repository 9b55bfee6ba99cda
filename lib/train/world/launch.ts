import { checkObject, HeddleError } from "../../core/errors.ts";
import { expandHostlist } from "./hostlist.ts";

/** Programs that start one process for each rank, and pass the rank in environment variables. @experimental */
export type Launcher = "torchrun" | "openmpi" | "mpich" | "pmix" | "slurm";

/** A launcher's description of this process. @experimental */
export interface Launch {
  /** The program that started this process. */
  launcher: Launcher;
  /** Rank of this process, from 0. */
  rank: number;
  /** Number of ranks. Undefined if only the launcher's library knows it (PMIx). */
  size?: number | undefined;
  /** Rank among the processes on this machine. 0 if the launcher does not set it. */
  localRank: number;
  /** Number of ranks on this machine, if known. */
  localSize?: number | undefined;
  /** Address of rank 0, if the environment has it. In a step of srun, the default port is derived from the job's id. */
  master?: { address: string; port?: number | undefined } | undefined;
  /** Name of the run, the same on all ranks. */
  runId?: string | undefined;
  /** Whether a store of torchrun's agent listens at `master`. */
  agentStore: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A number, and the variable that holds it. */
interface Found {
  name: string;
  value: number;
}

/** Names of environment variables. From each list, the first variable that has a value is used. */
interface Variables {
  launcher: Launcher;
  rank: readonly string[];
  size: readonly string[];
  localRank: readonly string[];
  localSize: readonly string[];
}

const TORCH: Variables = {
  launcher: "torchrun",
  rank: ["RANK"],
  size: ["WORLD_SIZE"],
  localRank: ["LOCAL_RANK"],
  localSize: ["LOCAL_WORLD_SIZE"],
};
/** A pod of Kubeflow Trainer's torch policy. The variables are meant for torchrun. Without it, each pod is a rank. */
const POD: Variables = {
  launcher: "torchrun",
  rank: ["PET_NODE_RANK"],
  size: ["PET_NNODES"],
  localRank: [],
  localSize: [],
};
const OPEN_MPI: Variables = {
  launcher: "openmpi",
  rank: ["OMPI_COMM_WORLD_RANK"],
  size: ["OMPI_COMM_WORLD_SIZE"],
  localRank: ["OMPI_COMM_WORLD_LOCAL_RANK"],
  localSize: ["OMPI_COMM_WORLD_LOCAL_SIZE"],
};
const MPICH: Variables = {
  launcher: "mpich",
  rank: ["PMI_RANK"],
  size: ["PMI_SIZE"],
  localRank: ["MPI_LOCALRANKID", "PMI_LOCAL_RANK"],
  localSize: ["MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"],
};
const SLURM: Variables = {
  launcher: "slurm",
  rank: ["SLURM_PROCID"],
  size: ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
  localRank: ["SLURM_LOCALID"],
  localSize: [],
};

/**
 * Reads the variables that a launcher sets for this process: torchrun, mpirun of Open MPI or MPICH, another PMIx
 * launcher, srun, or the torch policy of Kubeflow Trainer. Returns undefined without a launcher. Variables of Slurm
 * are used only in a step of srun, and only if no other launcher runs inside it.
 * @throws HeddleError INVALID_ARGUMENT if variables contradict each other; the message names both
 * @experimental
 */
export function describeLaunch(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Launch | undefined {
  checkObject("environment", environment);
  const torch = read(environment, TORCH);
  // torchrun starts this process even if another launcher started torchrun. So its variables describe this process.
  if (torch && environment.TORCHELASTIC_RUN_ID !== undefined) return torch;
  const slurm = stepOf(environment) === undefined ? undefined : read(environment, SLURM);
  const mpi = readMpi(environment, slurm);
  if (torch && mpi) {
    needSame(environment, TORCH, mpiNames(mpi), "unset one of them");
    torch.launcher = mpi.launcher; // mpirun has started the process
    torch.localSize ??= mpi.localSize;
  }
  const found = torch ?? mpi ?? slurm ?? readPmix(environment) ?? readPod(environment);
  if (found && slurm && isSameRank(found, slurm)) completeFromStep(environment, found, slurm);
  return found;
}

const isSameRank = (one: Launch, other: Launch) => one.rank === other.rank && one.size === other.size;

const mpiNames = ({ launcher }: Launch) => (launcher === "openmpi" ? OPEN_MPI : MPICH);

/**
 * Reads the variables of mpirun.
 * @param slurm the description of the Slurm step in which this process runs
 * @throws HeddleError INVALID_ARGUMENT if two launchers describe this process, differ, and either may be the inner one
 */
function readMpi(environment: Environment, slurm: Launch | undefined): Launch | undefined {
  // Slurm itself has started this process. So an mpirun can only have started the program that called srun.
  if (slurm && environment.SLURM_TASK_PID === String(process.pid)) return undefined;
  const advice = "unset the variables of the launcher that has not started this process";
  const openMpi = read(environment, OPEN_MPI);
  const hasMpich = first(environment, MPICH.rank) && first(environment, MPICH.size);
  const mpich = openMpi && !hasMpich ? undefined : read(environment, MPICH);
  // `srun --mpi=pmi2` sets MPICH's variables too, for the program that called Open MPI's mpirun.
  if (openMpi && mpich && !(slurm && isSameRank(mpich, slurm))) needSame(environment, MPICH, OPEN_MPI, advice);
  const mpi = openMpi ?? mpich;
  // mpirun usually runs inside the step, for several ranks. But variables of a single rank may come from the program that called srun.
  if (mpi?.size === 1 && slurm) needSame(environment, mpiNames(mpi), SLURM, advice);
  return mpi;
}

/** Completes a launcher's description with that of the Slurm step it runs in. srun must have given this process the same rank. */
function completeFromStep(environment: Environment, found: Launch, slurm: Launch): void {
  if (!setsLocalRank(environment, found)) found.localRank = slurm.localRank;
  found.localSize ??= slurmLocalSize(environment);
  if (found.launcher === "mpich") {
    // `srun --mpi=pmi2` sets MPICH's variables for every MPI library.
    found.launcher = "slurm";
    found.runId = slurm.runId;
  }
  if (found.master) found.master.port ??= slurmPort(environment);
}

/** Whether the launcher itself sets the rank on this machine. */
function setsLocalRank(environment: Environment, { launcher }: Launch): boolean {
  const names = [TORCH, OPEN_MPI, MPICH, SLURM].find((one) => one.launcher === launcher);
  return names !== undefined && first(environment, names.localRank) !== undefined;
}

function read(environment: Environment, names: Variables): Launch | undefined {
  const rank = first(environment, names.rank);
  const size = first(environment, names.size);
  if (!rank && !size) return undefined;
  if (!rank || !size) {
    // One variable alone is harmless if it describes a single process.
    const [given, missing] = rank ? [rank, names.size[0]!] : [size!, names.rank[0]!];
    if (given.value <= (rank ? 0 : 1)) return undefined;
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${missing}: expected a value, because ${given.name} is ${given.value}, got none`,
    );
  }
  needBelow(rank, size);
  const localRank = first(environment, names.localRank);
  const localSize = first(environment, names.localSize);
  if (localRank) needBelow(localRank, localSize ?? size);
  if (localSize && localSize.value > size.value)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${localSize.name}: expected at most ${size.name}, which is ${size.value}, got ${localSize.value}`,
    );
  return {
    launcher: names.launcher,
    rank: rank.value,
    size: size.value,
    localRank: localRank?.value ?? 0,
    localSize: localSize?.value,
    master: masterOf(environment),
    runId: runIdOf(environment, names.launcher),
    agentStore: names.launcher === "torchrun" && environment.TORCHELASTIC_USE_AGENT_STORE === "True",
  };
}

/** Reads the variables of a launcher that sets the rank but not the size, such as prun. */
function readPmix(environment: Environment): Launch | undefined {
  const rank = first(environment, ["PMIX_RANK"]);
  if (!rank || environment.PMIX_NAMESPACE === undefined) return undefined;
  return {
    launcher: "pmix",
    rank: rank.value,
    localRank: first(environment, ["PMIX_LOCAL_RANK"])?.value ?? 0,
    master: masterOf(environment),
    runId: environment.PMIX_NAMESPACE,
    agentStore: false,
  };
}

/** Reads the variables of a pod in a job of several pods. */
function readPod(environment: Environment): Launch | undefined {
  const found = read(environment, POD);
  if (!found || found.size === 1) return undefined;
  const { PET_NPROC_PER_NODE: processes, PET_MASTER_ADDR, PET_MASTER_PORT } = environment;
  if (processes !== "1")
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `PET_NPROC_PER_NODE: expected 1, because a pod without torchrun has one process (numProcPerNode: 1), got ${processes ?? "none"}`,
    );
  const master = masterOf({ ...environment, MASTER_ADDR: PET_MASTER_ADDR, MASTER_PORT: PET_MASTER_PORT });
  return { ...found, localSize: 1, master };
}

function masterOf(environment: Environment): Launch["master"] {
  const address = environment.MASTER_ADDR || slurmMaster(environment);
  if (!address) return undefined;
  const port = first(environment, ["MASTER_PORT"]);
  if (port && (port.value < 1 || port.value > 65_535))
    throw new HeddleError("INVALID_ARGUMENT", `MASTER_PORT: expected a port of 1 to 65535, got ${port.value}`);
  return { address, port: port?.value };
}

/** Returns the first node of the step, on which Slurm places rank 0. */
function slurmMaster(environment: Environment): string | undefined {
  const list = environment.SLURM_STEP_NODELIST || environment.SLURM_JOB_NODELIST;
  return list ? expandHostlist(list)[0] : undefined;
}

/** Returns 15000 plus the last four digits of the job's id, as PyTorch Lightning does. Steps of one job have the same port. */
function slurmPort({ SLURM_JOB_ID = "" }: Environment): number | undefined {
  const digits = /\d{1,4}$/.exec(SLURM_JOB_ID)?.[0];
  return digits === undefined ? undefined : 15_000 + Number(digits);
}

const stepOf = (environment: Environment) => environment.SLURM_STEP_ID ?? environment.SLURM_STEPID;

/**
 * Reads this node's number of tasks from a list such as `2(x3),1`: two tasks on each of three nodes, and one on the
 * fourth.
 */
function slurmLocalSize(environment: Environment): number | undefined {
  const list = environment.SLURM_STEP_TASKS_PER_NODE ?? environment.SLURM_TASKS_PER_NODE;
  const node = first(environment, ["SLURM_NODEID"]);
  if (!list || !node) return undefined;
  let before = 0;
  for (const part of list.split(",")) {
    const [, tasks, nodes = "1"] = /^(\d{1,9})(?:\(x(\d{1,9})\))?$/.exec(part) ?? [];
    if (tasks === undefined) return undefined;
    before += Number(nodes);
    if (node.value < before) return Number(tasks);
  }
  return undefined;
}

function runIdOf(environment: Environment, launcher: Launcher): string | undefined {
  if (launcher === "torchrun") return environment.TORCHELASTIC_RUN_ID;
  if (launcher === "slurm") return environment.SLURM_JOB_ID && `${environment.SLURM_JOB_ID}.${stepOf(environment)}`;
  return environment.PMIX_NAMESPACE;
}

function first(environment: Environment, names: readonly string[]): Found | undefined {
  const name = names.find((one) => environment[one] !== undefined && environment[one] !== "");
  if (name === undefined) return undefined;
  const text = environment[name]!;
  if (!/^\d{1,9}$/.test(text))
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected a whole number, got ${JSON.stringify(text)}`);
  return { name, value: Number(text) };
}

function needBelow(rank: Found, size: Found): void {
  if (rank.value >= size.value)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${rank.name}: expected a number below ${size.name}, which is ${size.value}, got ${rank.value}`,
    );
}

/** Checks that the variables of two launchers describe the same rank. @param advice how to mend them, for the error */
function needSame(environment: Environment, names: Variables, others: Variables, advice: string): void {
  for (const key of ["rank", "size", "localRank"] as const) {
    const [own, other] = [first(environment, names[key]), first(environment, others[key])];
    if (own && other && own.value !== other.value)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${own.name}: expected ${other.value}, which is ${other.name}, got ${own.value}; ${advice}`,
      );
  }
}
