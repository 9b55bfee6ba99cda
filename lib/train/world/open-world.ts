import { hostname } from "node:os";
import { checkObject, HeddleError, invalidArgument } from "../../core/errors.ts";
import { checkFlag, checkWhole } from "../../core/option-values.ts";
import { type Device, deviceInfo, openDevice, type Ranks } from "../../graph/index.ts";
import { rejectUnknownNames } from "../../language-model/index.ts";
import { describeLaunch, type Launch } from "./launch.ts";
import { shareByPort } from "./master-port.ts";
import { joinMpi, offersMpi } from "./mpi-world.ts";
import { joinNccl } from "./nccl-world.ts";
import { type StoreAddress, shareByStore } from "./torch-store.ts";
import { joinWatched } from "./watched-world.ts";
import { gather, soloWorld, type World } from "./world.ts";

/** Options of `openWorld`. All of them have defaults from the launcher's environment. @experimental */
export interface WorldOptions {
  /**
   * The device of this rank, as in `openDevice`. `cuda` selects the CUDA device whose number is the rank on this
   * machine, or the only device that this process sees. Default: HEDDLE_DEVICE, or the CPU.
   */
  device?: string | Device | undefined;
  /** Number of CPU threads. Default: the CPUs of this process, divided among the ranks that have the same CPUs. */
  threads?: number | undefined;
  /** Rank of this process. Default: the launcher's. */
  rank?: number | undefined;
  /** Number of ranks. Default: the launcher's. */
  size?: number | undefined;
  /** Rank of this process on its machine. Default: the launcher's. */
  localRank?: number | undefined;
  /** For CUDA devices: a path that all ranks see, as in `openNcclWorld`. Default: MPI, the store of torchrun's agent, or MASTER_PORT carries
   * the connection data. */
  rendezvous?: string | undefined;
  /** How long CUDA ranks wait for rank 0 at the `rendezvous` or at MASTER_PORT. Default 120. */
  timeoutSeconds?: number | undefined;
  /** All ranks end if one does not answer for this long. Ranks that meet at a `rendezvous` do not detect a silent rank. Default 15. */
  silenceSeconds?: number | undefined;
  /**
   * Whether ranks sum their gradients while the backward pass goes on (`World.overlap`). It must be the same on all ranks. Default:
   * HEDDLE_OVERLAP (1 or 0), or else true for CUDA ranks and for CPU ranks on several hosts.
   */
  overlap?: boolean | undefined;
}

/** A world that `openWorld` has connected. @experimental */
export interface OpenWorld extends World, AsyncDisposable {
  /** The device of this rank. A model that trains in the world must be on it. */
  readonly device: Device;
  /** Rank of this process on its machine. */
  readonly localRank: number;
  /** The launcher's description of this process. Undefined without a launcher. */
  readonly launch: Launch | undefined;
  /**
   * Leaves the world. Every rank must call it in the end. The call does not wait for other ranks, but the process exits
   * only when all ranks have left, if MPI connects them. If a rank leaves early, because it has failed alone, the others fail in their next
   * operation.
   */
  close(): Promise<void>;
}

/** Two weeks. Timers count milliseconds in 31 bits. */
const MAX_TIMEOUT_SECONDS = 14 * 86_400;

const NAMES = [
  "device",
  "threads",
  "rank",
  "size",
  "localRank",
  "rendezvous",
  "timeoutSeconds",
  "silenceSeconds",
  "overlap",
];

/**
 * Connects this process to the others that its launcher has started: torchrun, mpirun of Open MPI or MPICH, srun. CPU
 * ranks use the launcher's MPI library, CUDA ranks NCCL. Without a launcher it returns a world of one process, and
 * loads no library.
 * @throws HeddleError INVALID_ARGUMENT for options or variables that contradict each other, UNSUPPORTED without MPI or
 * NCCL, IO
 * @example
 * // mpirun -n 4 node train.js
 * await using world = await openWorld();
 * const base = await LanguageModel.load("model", { device: world.device });
 * await sft(base, { data: "rows.jsonl", world });
 * @experimental
 */
export async function openWorld(options: WorldOptions = {}): Promise<OpenWorld> {
  checkObject("options", options);
  rejectUnknownNames(options, NAMES);
  const overlap = overlapOf(options);
  const launch = resolveLaunch(options, describeLaunch());
  const named = options.device ?? (process.env.HEDDLE_DEVICE || "cpu");
  const isCuda = typeof named === "string" ? named.startsWith("cuda") : named.kind === "cuda";
  if (launch.size === 1 || launch.launcher === "none") {
    // One process has all devices and threads, as without a world.
    const { device, threads } = options;
    return opened(soloWorld, openDevice({ device, threads }), launch, () => {});
  }
  return isCuda ? openCuda(named, launch, { ...options, overlap }) : openCpu(named, launch, { ...options, overlap });
}

/** The launcher's description of this process, with the options applied. `none`: the process is alone. */
type Resolved = Omit<Launch, "launcher"> & { launcher: Launch["launcher"] | "none" };

/** Combines the launcher's description with explicit options, which take precedence. */
export function resolveLaunch(options: WorldOptions, launch: Launch | undefined): Resolved {
  const { rank = launch?.rank ?? 0, size = launch ? launch.size : 1, localRank = launch?.localRank ?? rank } = options;
  if (size !== undefined) checkWhole("size", size, 1, 65_536);
  checkWhole("rank", rank, 0);
  if (size !== undefined && rank >= size)
    throw invalidArgument("rank", `a number below the size, which is ${size}`, rank);
  checkWhole("localRank", localRank, 0, 65_535);
  const given = options.size !== undefined && options.size > 1;
  // Ranks that only the options describe are connected like those of Open MPI.
  if (!launch) return { launcher: given ? "openmpi" : "none", rank, size, localRank, agentStore: false };
  return { ...launch, rank, size, localRank };
}

async function openCpu(named: string | Device, launch: Resolved, options: WorldOptions): Promise<OpenWorld> {
  if (launch.launcher === "torchrun")
    throw new HeddleError(
      "UNSUPPORTED",
      "world: expected mpirun or srun for ranks on CPUs, which MPI connects, got torchrun (with device cuda, NCCL connects its ranks)",
    );
  const ranks = await joinMpi(launch as Launch, silenceOf(options));
  const world = mpiWorld(ranks);
  const { share, hosts } = await placesOf(world, ranks); // a collective operation, so every rank must take part
  const threads = options.threads ?? (process.env.HEDDLE_THREADS ? undefined : share); // openDevice reads the variable
  const device = typeof named === "string" ? openDevice({ device: named, threads }) : named;
  // On one host, MPI's copies and additions take the cores and the memory bandwidth that the backward pass needs.
  const { overlap = hosts > 1 } = options;
  return opened({ ...world, overlap }, device, launch, () => ranks.leave());
}

async function openCuda(named: string | Device, launch: Resolved, options: WorldOptions): Promise<OpenWorld> {
  const device = openDevice({ device: named === "cuda" ? cudaDeviceOf(launch.localRank) : named });
  const { rendezvous, timeoutSeconds, overlap = true } = options;
  const join = async (of: Omit<Parameters<typeof joinNccl>[0], "device">): Promise<World> => {
    return { ...(await joinNccl({ ...of, device })), overlap };
  };
  if (rendezvous !== undefined) {
    const world = await join({ ...rankAndSize(launch), meet: { rendezvous, timeoutSeconds } });
    return opened(world, device, launch, () => {});
  }
  const ranks = await joinUsableMpi(launch, silenceOf(options));
  if (!ranks) {
    const { world, leave } = await joinWatched({
      ...rankAndSize(launch),
      ...watchAtMaster(launch, timeoutSeconds),
      silenceSeconds: silenceOf(options),
      share: meetAtMaster(rankAndSize(launch), launch, timeoutSeconds),
      join: (exchange) => join({ ...rankAndSize(launch), meet: { exchange } }),
    });
    return opened(world, device, launch, leave);
  }
  const { rank, size } = ranks;
  const world = await join({ rank, size, meet: { exchange: async (id) => (await ranks.gather(id))[0]! } });
  // MPI needs no device memory for the bytes of all ranks.
  const gatherBytes = (bytes: Uint8Array) => ranks.gather(bytes);
  return opened({ ...world, gatherBytes }, device, launch, () => ranks.leave());
}

/** Returns the name of a rank's CUDA device. Launchers such as `srun --gpus-per-task=1` let every rank see one device, which is number 0. */
function cudaDeviceOf(localRank: number): string {
  return `cuda:${deviceInfo().cuda.devices.length === 1 ? 0 : localRank}`;
}

/**
 * Connects CUDA ranks by the launcher's MPI. Returns undefined if they have to meet at MASTER_PORT, because MPI is missing or does not
 * connect them.
 * @throws HeddleError as `joinMpi`, if the environment has no MASTER_PORT
 */
async function joinUsableMpi(launch: Resolved, silenceSeconds: number): Promise<Ranks | undefined> {
  const { launcher, size, master } = launch as Launch;
  const hasPort = master?.port !== undefined && size !== undefined;
  if (launcher === "torchrun" || (hasPort && !offersMpi(launcher))) return undefined;
  try {
    return await joinMpi(launch as Launch, silenceSeconds);
  } catch (error) {
    if (hasPort && error instanceof HeddleError && ["UNSUPPORTED", "INVALID_ARGUMENT"].includes(error.code))
      return undefined;
    throw error;
  }
}

/**
 * Returns the rank and the number of ranks.
 * @throws HeddleError INVALID_ARGUMENT if the launcher does not set the number (PMIx)
 */
function rankAndSize({ rank, size }: Resolved): { rank: number; size: number } {
  if (size === undefined) throw invalidArgument("size", "the number of ranks, which the launcher does not say", size);
  return { rank, size };
}

/**
 * Returns a function that gives rank 0's bytes to all ranks: through the store of torchrun's agent, which listens on MASTER_PORT, or else
 * through MASTER_PORT itself, on which rank 0 then listens.
 */
export function meetAtMaster({ rank, size }: { rank: number; size: number }, launch: AtMaster, timeoutSeconds = 120) {
  const { at, key } = masterOf(launch, timeoutSeconds);
  return (id: Uint8Array) =>
    launch.agentStore
      ? shareByStore(at, `${key}/nccl`, rank === 0 ? id : undefined)
      : shareByPort(at, { rank, size, key: `${key}/nccl` }, id);
}

/**
 * Returns where ranks that meet at MASTER_PORT watch each other. If the store of torchrun's agent occupies this port, the ranks use another
 * port, whose number rank 0 puts into the store.
 */
export function watchAtMaster(launch: AtMaster, timeoutSeconds = 120) {
  const { at, key } = masterOf(launch, timeoutSeconds);
  const sharePort = async (port: number | undefined) => {
    const mine = port === undefined ? undefined : Uint8Array.from(Buffer.from(String(port)));
    return Number(Buffer.from(await shareByStore(at, `${key}/watch`, mine)));
  };
  return { at, ...(launch.agentStore && { sharePort }) };
}

type AtMaster = Pick<Resolved, "master" | "agentStore" | "runId">;

/** Returns MASTER_PORT's address, and a name that is the same on all ranks of an attempt. */
function masterOf({ master, runId = "" }: AtMaster, timeoutSeconds: number): { at: StoreAddress; key: string } {
  if (master?.port === undefined)
    throw new HeddleError(
      "UNSUPPORTED",
      "rendezvous: expected a path that all ranks see, because MASTER_ADDR and MASTER_PORT are not set, got none",
    );
  if (typeof timeoutSeconds !== "number" || !(timeoutSeconds > 0 && timeoutSeconds <= MAX_TIMEOUT_SECONDS))
    throw invalidArgument("timeoutSeconds", `a number above 0, at most ${MAX_TIMEOUT_SECONDS}`, timeoutSeconds);
  const at = { address: master.address, port: master.port, timeoutSeconds };
  // Every attempt has a new NCCL id, so it needs a new key: the agent's store may outlive an attempt.
  return { at, key: `heddle/${runId}/${process.env.TORCHELASTIC_RESTART_COUNT ?? "0"}` };
}

/** Returns the option `overlap`, or HEDDLE_OVERLAP. Undefined without both. */
export function overlapOf(
  { overlap }: Pick<WorldOptions, "overlap">,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): boolean | undefined {
  checkFlag("overlap", overlap);
  if (overlap !== undefined) return overlap;
  const { HEDDLE_OVERLAP: text = "" } = environment;
  if (!["", "0", "1"].includes(text)) throw invalidArgument("HEDDLE_OVERLAP", "0 or 1", text);
  return text === "" ? undefined : text === "1";
}

function silenceOf({ silenceSeconds = 15 }: WorldOptions): number {
  if (typeof silenceSeconds !== "number" || !(silenceSeconds >= 2 && silenceSeconds <= 86_400))
    throw invalidArgument("silenceSeconds", "a number of 2 to 86400", silenceSeconds);
  return silenceSeconds;
}

function mpiWorld(ranks: Ranks): World {
  return {
    rank: ranks.rank,
    size: ranks.size,
    allReduce: (tensors) => ranks.allReduce(tensors),
    reduceScatter: (parts) => ranks.reduceScatter(parts),
    allGather: (parts) => ranks.allGather(parts),
    joinDevice: (device) => ranks.joinDevice(device),
    broadcast: (tensors, root) => ranks.broadcast(tensors, root),
    sum: (values) => ranks.sum(values),
    barrier: () => ranks.barrier(),
    gatherBytes: (bytes) => ranks.gather(bytes),
  };
}

/**
 * Divides the CPUs of this process among the ranks that may run on the same CPUs. Most launchers bind each rank to
 * separate CPUs.
 * @returns this rank's number of CPUs, and the number of hosts of all ranks
 */
async function placesOf(world: World, ranks: Ranks): Promise<{ share: number; hosts: number }> {
  const mine = { host: hostname(), cpus: ranks.cpus().join() };
  const all = await gather(world, mine);
  const sharing = all.filter(({ host, cpus }) => host === mine.host && cpus === mine.cpus).length;
  const share = Math.max(1, Math.floor(deviceInfo().cpu.threads / sharing));
  return { share, hosts: new Set(all.map(({ host }) => host)).size };
}

function opened(world: World, device: Device, launch: Resolved, leave: () => void): OpenWorld {
  let isOpen = true;
  const close = async () => {
    if (isOpen) leave();
    isOpen = false;
  };
  const { launcher, localRank } = launch;
  return {
    ...world,
    device,
    localRank,
    launch: launcher === "none" ? undefined : { ...launch, launcher },
    close,
    [Symbol.asyncDispose]: close,
  };
}
