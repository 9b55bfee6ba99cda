// Types of the ranks that MPI connects (native/binding/ranks/ranks.cc).
import type { NativeTensorHandle } from "./graph.ts";

/** The ranks that MPI connects. Each operation is collective: all ranks must call it, in the same order. */
export interface NativeRanksHandle {
  /** Opens the library and connects. Resolves when all ranks have connected. `library` is the MPI library's version text. */
  join(): Promise<{ rank: number; size: number; library: string }>;
  /** Sums tensors over all ranks, in place. `type`: 0 for f32, 1 for bf16. */
  allReduce(tensors: readonly NativeTensorHandle[], type: 0 | 1): Promise<void>;
  /**
   * Sums tensors over all ranks. Rank r receives the sums of `byRank[r]`, in place, and its other tensors stay unchanged.
   * `type`: 0 for f32, 1 for bf16.
   */
  reduceScatter(byRank: readonly (readonly NativeTensorHandle[])[], type: 0 | 1): Promise<void>;
  /** Copies the tensors of `byRank[r]` from rank r to all other ranks. */
  allGather(byRank: readonly (readonly NativeTensorHandle[])[]): Promise<void>;
  /** Sums each number over all ranks. Resolves with the sums as 64-bit floats. */
  sum(numbers: Float64Array): Promise<ArrayBuffer>;
  /** Overwrites the tensors of all ranks with those of `root`. */
  broadcast(tensors: readonly NativeTensorHandle[], root: number): Promise<void>;
  /** Resolves with the bytes of all ranks, in rank order. */
  gather(bytes: Uint8Array): Promise<{ bytes: ArrayBuffer; lengths: number[] }>;
  /** Resolves when all ranks have called it. */
  barrier(): Promise<void>;
  /** Leaves the group when the pending operations are done. Returns at once. */
  leave(): void;
  /**
   * With code 0, leaves the group and waits until all ranks have left. With any other code, ends all ranks. If this takes longer than
   * `seconds`, ends all ranks, and blocks for at most another 5 seconds.
   */
  end(code: number, seconds: number): void;
  /** The CPUs that this process may run on. Empty if unknown. */
  cpus(): number[];
}

/** The addon's functions for ranks that MPI connects. */
export interface RanksBinding {
  /** Ends this process at once, without its exit handlers. `code`: 0 to 255. */
  endProcess(code: number): void;
  NativeRanks: {
    /**
     * @param libraries names of MPI libraries to try in turn
     * @param silenceSeconds a rank counts as lost after this time without an answer
     * @param onLost called when a rank is lost, ten seconds before all ranks end
     */
    new (libraries: readonly string[], silenceSeconds: number, onLost: (why: string) => void): NativeRanksHandle;
  };
}
