import { rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { checkPath, HeddleError, invalidArgument } from "../../core/errors.ts";
import { checkWhole } from "../../core/option-values.ts";
import {
  allGatherTensors,
  allReduceNumbers,
  allReduceTensors,
  type Device,
  joinCollective,
  newCollectiveId,
  openDevice,
  reduceScatterTensors,
} from "../../graph/index.ts";
import { writeFileAtomically } from "../../io/atomic-files.ts";
import { readWhole } from "../../io/open-file.ts";
import { rejectUnknownNames } from "../../language-model/index.ts";
import { gatherByTensors } from "./gather-bytes.ts";
import type { World } from "./world.ts";

/** Options of `openNcclWorld`. @experimental */
export interface NcclWorldOptions {
  /** Rank of this process, from 0. */
  rank: number;
  /** Number of ranks. */
  size: number;
  /** The CUDA device of this rank. A model trained in the world must be on it. */
  device: string | Device;
  /**
   * A path that all ranks see, at which no file exists yet. Rank 0 writes the connection data there, and removes the
   * file after the ranks have connected.
   */
  rendezvous: string;
  /** How long the other ranks wait for the file `rendezvous`. Default 120. */
  timeoutSeconds?: number | undefined;
}

/**
 * Connects the ranks of a training run on several GPUs. They exchange gradients and weights by NCCL (libnccl.so.2,
 * which is not part of this package). Resolves when all ranks have connected.
 * @throws HeddleError UNSUPPORTED without NCCL or CUDA, INVALID_ARGUMENT, NOT_FOUND if rank 0 does not connect in time
 * @example
 * const world = await openNcclWorld({ rank, size: 2, device: `cuda:${rank}`, rendezvous: "/shared/run-7" });
 * await pretrain(base, { data, world });
 * @experimental
 */
export async function openNcclWorld(options: NcclWorldOptions): Promise<World> {
  rejectUnknownNames(options, ["rank", "size", "device", "rendezvous", "timeoutSeconds"]);
  const { rank, size, rendezvous, timeoutSeconds } = options;
  checkWhole("size", size, 1, 65_536);
  checkWhole("rank", rank, 0, size - 1);
  const device = openDevice({ device: options.device });
  return joinNccl({ rank, size, device, meet: { rendezvous, timeoutSeconds } });
}

/** How ranks get NCCL's id from rank 0: by a file, or by a function that returns rank 0's bytes on every rank. */
type Meeting =
  | { rendezvous: string; timeoutSeconds?: number | undefined }
  | { exchange(id: Uint8Array): Promise<Uint8Array> };

/** Connects CUDA devices by NCCL. @throws HeddleError as `openNcclWorld` */
export async function joinNccl(options: { rank: number; size: number; device: Device; meet: Meeting }): Promise<World> {
  const { rank, size, device, meet } = options;
  if (device.kind !== "cuda") throw invalidArgument("device", "a CUDA device", device.name);
  await meetRanks(rank, meet, (id) => joinCollective(device, id, rank, size));
  const sum = (values: readonly number[]) => allReduceNumbers(device, values);
  const allGather: World["allGather"] = (parts) => allGatherTensors(device, parts);
  return {
    rank,
    size,
    overlap: true,
    async allReduce(tensors) {
      for (const t of tensors)
        if (t.dtype !== "f32" || t.device !== device)
          throw new HeddleError(
            "INVALID_ARGUMENT",
            `allReduce: expected f32 tensors of ${device.name}, got ${t.dtype} of ${t.device.name}`,
          );
      await allReduceTensors(device, tensors);
    },
    reduceScatter: (parts) => reduceScatterTensors(device, parts),
    allGather,
    // Only checks the device: programs of a device that has joined NCCL can already sum over the ranks.
    async joinDevice(wanted) {
      if (wanted !== device) throw invalidArgument("device", device.name, wanted.name);
    },
    broadcast: (tensors, root) =>
      allGatherTensors(
        device,
        Array.from({ length: size }, (_, of) => (of === root ? tensors : [])),
      ),
    sum,
    barrier: async () => void (await sum([0])),
    gatherBytes: (bytes) => gatherByTensors({ rank, size, sum, allGather }, device, bytes),
  };
}

async function meetRanks(rank: number, meet: Meeting, join: (id: Uint8Array) => Promise<void>): Promise<void> {
  if ("exchange" in meet) return join(await meet.exchange(rank === 0 ? newCollectiveId() : new Uint8Array()));
  const { rendezvous, timeoutSeconds = 120 } = meet;
  checkPath("rendezvous", rendezvous);
  if (typeof timeoutSeconds !== "number" || !(timeoutSeconds >= 0))
    throw invalidArgument("timeoutSeconds", "a number of at least 0", timeoutSeconds);
  const id = rank === 0 ? await invite(rendezvous) : await invitation(rendezvous, timeoutSeconds);
  try {
    await join(id);
  } finally {
    if (rank === 0) await rm(rendezvous, { force: true });
  }
}

async function invite(path: string): Promise<Uint8Array> {
  const id = newCollectiveId();
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  // The file is left from a run that ended early. Other ranks may already have read it, and would wait forever.
  if (isThere) throw invalidArgument("rendezvous", "a path without a file", path);
  await writeFileAtomically(path, (sink) => sink.write(id));
  return id;
}

/** Maximum size of a rendezvous file. An NCCL id has 128 bytes. */
const MAX_ID_BYTES = 1024;

async function invitation(path: string, seconds: number): Promise<Uint8Array> {
  for (const end = Date.now() + seconds * 1000; ; await sleep(20)) {
    try {
      return await readWhole(path, MAX_ID_BYTES);
    } catch (cause) {
      if (cause instanceof HeddleError) throw cause;
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT")
        throw new HeddleError("IO", `rendezvous: expected a file that can be read, got ${path}`, { cause });
      if (Date.now() >= end)
        throw new HeddleError("NOT_FOUND", `rendezvous: timed out after ${seconds} s waiting for rank 0 at ${path}`);
    }
  }
}
