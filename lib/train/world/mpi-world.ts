import { hostname } from "node:os";
import { HeddleError } from "../../core/errors.ts";
import { Ranks } from "../../graph/index.ts";
import type { Launch, Launcher } from "./launch.ts";
import { atProcessEnd } from "./process-end.ts";

/**
 * Names of MPI libraries for a launcher, in the order in which they are tried. A rank must use its launcher's own library. srun works with
 * several, so all are tried.
 * @param options.named the only library to try
 * @param options.pmi whether srun offers PMI, which MPICH uses, rather than PMIx
 */
export function mpiLibraries(
  launcher: Launcher,
  platform: string,
  { named, pmi = false }: { named?: string | undefined; pmi?: boolean } = {},
): readonly string[] {
  if (named) return [named];
  const openMpi = platform === "darwin" ? ["libmpi.40.dylib"] : ["libmpi.so.40"];
  const mpich = platform === "darwin" ? ["libmpi.12.dylib"] : ["libmpi.so.12", "libmpich.so.12"];
  const standard = platform === "darwin" ? ["libmpi_abi.0.dylib"] : ["libmpi_abi.so.0"];
  const plain = platform === "darwin" ? ["libmpi.dylib"] : ["libmpi.so"];
  if (launcher === "openmpi") return [...openMpi, ...standard, ...plain];
  if (launcher === "mpich") return [...mpich, ...standard, ...plain];
  return [...(pmi ? [...mpich, ...openMpi] : [...openMpi, ...mpich]), ...standard, ...plain];
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Whether the launcher tells MPI how to connect the ranks. srun does so only with a plugin, such as `srun --mpi=pmix`. Without it, every rank
 * is alone in its MPI world, and some libraries end the process.
 */
export function offersMpi(launcher: Launcher, environment: Environment = process.env): boolean {
  if (launcher === "torchrun") return false;
  return launcher !== "slurm" || environment.PMIX_RANK !== undefined || environment.PMI_RANK !== undefined;
}

/**
 * Connects this process to the ranks of its MPI job.
 * @param silenceSeconds time after which a rank that does not answer counts as lost
 * @throws HeddleError UNSUPPORTED without a library, INVALID_ARGUMENT if MPI and the launcher disagree, IO
 */
export async function joinMpi(launch: Launch, silenceSeconds: number): Promise<Ranks> {
  leaveProcessAlone();
  const { launcher, rank } = launch;
  const { HEDDLE_MPI: named, PMI_RANK, PMIX_RANK } = process.env;
  const pmi = PMI_RANK !== undefined && PMIX_RANK === undefined;
  const libraries = mpiLibraries(launcher, process.platform, { named, pmi });
  const ranks = await Ranks.join(libraries, silenceSeconds, (why) => reportLoss(rank, why));
  const { size = ranks.size } = launch;
  if (ranks.size === size && ranks.rank === rank) {
    // The other ranks would wait forever for a process that exits with an error.
    atProcessEnd(ranks, (code, isCrash) => ranks.exit(code, isCrash));
    if (launcher === "mpich") await listProcesses(ranks);
    return ranks;
  }
  ranks.leave();
  process.once("exit", (code) => ranks.exit(code)); // the library shuts down before the process ends
  const advice =
    launcher === "slurm" ? "start with srun --mpi=pmix or --mpi=pmi2, whichever the library supports; " : "";
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `mpi: expected rank ${rank} of ${size}, as the launcher (${launcher}) says, got rank ${ranks.rank} of ${ranks.size} from ${ranks.library}, the first that opens of these libraries: ${libraries.join(", ")}; ${advice}set HEDDLE_MPI to the launcher's own library`,
  );
}

/**
 * Prints the process of every rank. If a rank dies, MPICH's mpirun reports only the process and the host, and ends the other ranks before
 * they notice.
 */
async function listProcesses(ranks: Ranks): Promise<void> {
  const all = await ranks.gather(new TextEncoder().encode(`PID ${process.pid} on ${hostname()}`));
  if (ranks.rank > 0) return;
  const lines = all.map((mine, rank) => `rank ${rank} of ${all.length} is ${new TextDecoder().decode(mine)}\n`);
  process.stderr.write(lines.join(""));
}

/**
 * Keeps UCX, which MPI libraries use, from patching the system's memory functions and replacing signal handlers.
 * Patching is not safe while other threads run, and Node has several. Without the patches, UCX keeps no cache of
 * registered memory.
 */
function leaveProcessAlone(): void {
  process.env.UCX_MEM_EVENTS ??= "n";
  process.env.UCX_MEM_MMAP_HOOK_MODE ??= "none";
  process.env.UCX_ERROR_SIGNALS ??= "";
}

/**
 * Reports a lost rank after 7 seconds. All ranks end 10 seconds after the loss (`grace` in rank_thread.cc). If a
 * pending operation fails first and ends this process, its error is the only report.
 */
function reportLoss(rank: number, why: string): void {
  const report = () => process.stderr.write(`heddle: rank ${rank}: ${why}; all ranks end\n`);
  setTimeout(report, 7000).unref();
}
