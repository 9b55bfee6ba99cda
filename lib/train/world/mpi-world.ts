import { HeddleError } from "../../core/errors.ts";
import { Ranks } from "../../graph/index.ts";
import type { Launch, Launcher } from "./launch.ts";
import { atProcessEnd } from "./process-end.ts";

/** Names of MPI libraries for a launcher, in the order in which they are tried. A rank must use its launcher's own library. */
export function mpiLibraries(launcher: Launcher, platform: string, named?: string): readonly string[] {
  if (named) return [named];
  const openMpi = platform === "darwin" ? ["libmpi.40.dylib"] : ["libmpi.so.40"];
  const mpich = platform === "darwin" ? ["libmpi.12.dylib"] : ["libmpi.so.12", "libmpich.so.12"];
  const standard = platform === "darwin" ? ["libmpi_abi.0.dylib"] : ["libmpi_abi.so.0"];
  const plain = platform === "darwin" ? ["libmpi.dylib"] : ["libmpi.so"];
  if (launcher === "openmpi") return [...openMpi, ...standard, ...plain];
  if (launcher === "mpich") return [...mpich, ...standard, ...plain];
  return [...openMpi, ...mpich, ...standard, ...plain];
}

/**
 * Connects this process to the ranks of its MPI job.
 * @param silenceSeconds time after which a rank that does not answer counts as lost
 * @throws HeddleError UNSUPPORTED without a library, INVALID_ARGUMENT if MPI and the launcher disagree, IO
 */
export async function joinMpi(launch: Launch, silenceSeconds: number): Promise<Ranks> {
  leaveProcessAlone();
  const ranks = await Ranks.join(
    mpiLibraries(launch.launcher, process.platform, process.env.HEDDLE_MPI),
    silenceSeconds,
    (why) => reportLoss(launch.rank, why),
  );
  // The other ranks would wait forever for a process that exits with an error.
  atProcessEnd(ranks, (code, isCrash) => ranks.exit(code, isCrash));
  const { size = ranks.size, rank } = launch;
  if (ranks.size !== size || ranks.rank !== rank)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `mpi: expected rank ${rank} of ${size}, as the launcher (${launch.launcher}) says, got rank ${ranks.rank} of ${ranks.size} from ${ranks.library}; HEDDLE_MPI names the launcher's own library`,
    );
  return ranks;
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
