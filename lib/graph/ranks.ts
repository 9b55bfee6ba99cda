// The ranks that MPI connects, for training on the CPUs of several processes. `lib/train/world/mpi-world.ts` uses them.
import { isMainThread } from "node:worker_threads";
import { binding } from "../binding/index.ts";
import type { NativeRanksHandle } from "../binding/ranks.ts";
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { checkDevice, type Device } from "./device.ts";
import { checkTensor, type Tensor } from "./tensor.ts";

/** The ranks of an MPI job, of which this process is one. One native thread makes all MPI calls. @experimental */
export class Ranks {
  /** Rank of this process, from 0. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** The MPI library's description of itself. */
  readonly library: string;
  private readonly native: NativeRanksHandle;
  private left = false;

  private constructor(native: NativeRanksHandle, found: { rank: number; size: number; library: string }) {
    this.native = native;
    this.rank = found.rank;
    this.size = found.size;
    this.library = found.library;
  }

  /**
   * Opens an MPI library and connects to the other ranks. A process can do this once.
   * @param libraries names of libraries to try in turn
   * @param silenceSeconds time after which a rank that does not answer is lost
   * @param onLost called when a rank is lost, ten seconds before all ranks end
   * @throws HeddleError UNSUPPORTED in a worker thread, or if no library is a known MPI; IO if MPI fails
   */
  static async join(
    libraries: readonly string[],
    silenceSeconds: number,
    onLost: (why: string) => void = () => {},
  ): Promise<Ranks> {
    if (!isMainThread)
      throw new HeddleError(
        "UNSUPPORTED",
        "world: expected the main thread, because MPI lasts as long as the process, got a worker",
      );
    const native = new binding.NativeRanks(libraries, silenceSeconds, onLost);
    return new Ranks(native, await native.join());
  }

  /**
   * Sums tensors over all ranks, in place and in rank order, so that all ranks get the same bits. f32 rounds after every addition. bf16 is
   * added in f32 and rounded once.
   */
  async allReduce(tensors: readonly Tensor[]): Promise<void> {
    checkTensors(tensors, ["f32", "bf16"]);
    for (const [type, dtype] of (["f32", "bf16"] as const).entries()) {
      const own = tensors.filter((t) => t.dtype === dtype).map((t) => t.native);
      if (own.length > 0) await this.native.allReduce(own, type as 0 | 1);
    }
  }

  /**
   * Sums tensors over all ranks, in rank order as `allReduce` does. Rank r receives the sums of `parts[r]`, in place, and its other tensors
   * stay unchanged.
   */
  async reduceScatter(parts: readonly (readonly Tensor[])[]): Promise<void> {
    checkParts(parts, ["f32", "bf16"]);
    for (const [type, dtype] of (["f32", "bf16"] as const).entries()) {
      const own = parts.map((tensors) => tensors.filter((t) => t.dtype === dtype).map((t) => t.native));
      if (own.some((tensors) => tensors.length > 0)) await this.native.reduceScatter(own, type as 0 | 1);
    }
  }

  /** Overwrites the tensors of `parts[r]` on all ranks with those of rank r. */
  async allGather(parts: readonly (readonly Tensor[])[]): Promise<void> {
    checkParts(parts);
    await this.native.allGather(parts.map((tensors) => tensors.map((t) => t.native)));
  }

  /**
   * Lets programs of a CPU device sum over all ranks while they run (`reduceScatter` in the graph).
   * @throws HeddleError INVALID_ARGUMENT unless the device is the CPU
   */
  async joinDevice(device: Device): Promise<void> {
    checkDevice(device);
    if (device.kind !== "cpu") throw invalidArgument("device", "the CPU", device.name);
    await device.lane.joinRanks(this.native);
  }

  /** Returns the sum over all ranks of each number, in double precision and in rank order. */
  async sum(values: readonly number[]): Promise<number[]> {
    return [...new Float64Array(await this.native.sum(Float64Array.from(values)))];
  }

  /** Overwrites the tensors of all ranks with those of `root`. */
  async broadcast(tensors: readonly Tensor[], root = 0): Promise<void> {
    checkTensors(tensors);
    await this.native.broadcast(
      tensors.map((t) => t.native),
      root,
    );
  }

  /** Returns the bytes of all ranks, in rank order. */
  async gather(bytes: Uint8Array): Promise<Uint8Array[]> {
    const found = await this.native.gather(bytes);
    let at = 0;
    return found.lengths.map((length) => {
      at += length;
      return new Uint8Array(found.bytes, at - length, length);
    });
  }

  /** Resolves when all ranks have called it. */
  async barrier(): Promise<void> {
    await this.native.barrier();
  }

  /** The CPUs that this process may run on. Empty if unknown. */
  cpus(): number[] {
    return this.native.cpus();
  }

  /**
   * Leaves the ranks after the operations so far. It waits for nobody, so that a rank which fails alone can leave. The others then fail in
   * their next operation, with an error that names this rank.
   */
  leave(): void {
    this.left = true;
    this.native.leave();
  }

  /**
   * Shuts MPI down when the process exits. If `code` is 0 or this rank has left, it blocks until all ranks have left: at most an hour for
   * code 0, else ten minutes. After this time, and in all other cases, it ends all ranks.
   * @param isCrash whether an uncaught error ends the process. All ranks then end, even if this one has left
   */
  exit(code: number, isCrash = false): void {
    if (code === 0) this.native.end(0, 3600);
    else if (this.left && !isCrash) this.native.end(0, 600);
    else this.native.end(code, 5);
  }
}

function checkParts(parts: readonly (readonly Tensor[])[], dtypes?: readonly string[]): void {
  if (!Array.isArray(parts)) throw invalidArgument("parts", "an array of the tensors of each rank", parts);
  for (const tensors of parts) checkTensors(tensors, dtypes);
}

function checkTensors(tensors: readonly Tensor[], dtypes?: readonly string[]): void {
  if (!Array.isArray(tensors)) throw invalidArgument("tensors", "an array of tensors", tensors);
  for (const tensor of tensors) {
    checkTensor("tensors", tensor);
    if (tensor.device.kind !== "cpu" || (dtypes && !dtypes.includes(tensor.dtype)))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `tensors: expected tensors on cpu${dtypes ? ` in ${dtypes.join(" or ")}` : ""}, got ${tensor.dtype} on ${tensor.device.name}`,
      );
  }
}
