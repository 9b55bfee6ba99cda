// Tensors, lanes, programs (native/binding/{tensor,lane,program,profile}.cc); used through lib/graph.
import type { NativeMappedFile } from "./files.ts";

export interface NativeTensorHandle {
  readonly bytes: number;
  dispose(): void;
}

export interface AbortFlagHandle {
  abort(): void;
}

/** A traced graph as it crosses; decoded in native/binding/program.cc. */
export interface ProgramDescription {
  /** Upper bounds; a dimension of -(i + 1) is symbol i. */
  symbols: readonly number[];
  /** Flat: dtype, rank and dimensions of each value. */
  values: readonly number[];
  nodes: readonly {
    op: string;
    inputs: readonly number[];
    outputs: readonly number[];
    /** name, value, name, value, … */
    attributes: readonly (string | number)[];
    origin: string;
  }[];
  bound: readonly number[];
  inputs: readonly number[];
  outputs: readonly number[];
}

export interface NativeProgramHandle {
  readonly arenaBytes: number;
}

export interface NativeExecutableHandle {
  /** Seconds that the device took for the last run; 0 on the CPU. */
  readonly deviceSeconds: number;
  /** How many kinds of run (by their sizes) the device is given with one call. */
  readonly recordings: number;
  dispose(): void;
}

/** Elements of a source, and what is made of them: a strided view, numbers of 8-bit floats, blocks of MXFP4 (native/binding/cast_call.h). */
export interface NativeCastSource {
  elements: number;
  first: number;
  sizes?: readonly number[];
  strides?: readonly number[];
  start?: number;
  scales?: Float32Array;
  columns?: number;
  scaleSource?: NativeMappedFile | Uint8Array;
  scaleOffset?: number;
}

export interface NativeLaneHandle {
  /** Bytes of the memory for intermediate values that the lane holds between runs. */
  readonly arenaBytes: number;
  read(tensor: NativeTensorHandle, offset: number, bytes: number): Promise<ArrayBuffer>;
  write(tensor: NativeTensorHandle, offset: number, bytes: ArrayBufferView, lent?: boolean): Promise<void>;
  /** Copies all of `from` to the beginning of `to`, a tensor of this lane, `times` times. Resolves with the seconds it took, as one double. */
  copy(from: NativeTensorHandle, to: NativeTensorHandle, times: number): Promise<ArrayBuffer>;
  /**
   * Converts `count` elements of type `from` at byte `offset` to type `to` at byte `at` of `target`, on the lane's threads. Types are numbers.
   * An array must not be used until the promise settles. Resolves with two doubles: the number of finite values that became infinite, and
   * the number of source values that are not finite. `how` describes a view of the source, of which `count` elements from `first` on are made.
   */
  cast(
    source: NativeMappedFile | Uint8Array,
    offset: number,
    from: number,
    to: number,
    addend: number,
    count: number,
    target: NativeTensorHandle | ArrayBuffer,
    at: number,
    how?: NativeCastSource,
  ): Promise<ArrayBuffer>;
  /** Blocks of 128 × 128: a byte (e4m3) a number, and f32 scales. The numbers are nobody else's until the promise settles. */
  quantiseFp8(
    numbers: Float32Array,
    rows: number,
    columns: number,
  ): Promise<{ bytes: ArrayBuffer; scales: ArrayBuffer }>;
  /**
   * CRC-32C of some bytes behind those whose checksum is `before` (0: none), on the lane's thread; of a file on all of its threads. An array is nobody else's
   * until the promise settles. One Uint32.
   */
  crc32c(source: NativeMappedFile | Uint8Array, offset: number, bytes: number, before: number): Promise<ArrayBuffer>;
  /** When the device has done all that this lane queued. */
  settle(): Promise<void>;
  /** The ways in which this device can make a product, its own choice first; none on the CPU. Types by number. */
  variants(
    m: number,
    n: number,
    k: number,
    a: number,
    b: number,
    c: number,
    layout: "NN" | "NT" | "TN",
  ): { key: string; names: string[] };
  /** Sets the variant for each product, replacing earlier choices. */
  choose(choices: readonly (readonly [key: string, name: string])[]): void;
  /** Resolves when all ranks have come. */
  join(id: Uint8Array, rank: number, size: number): Promise<void>;
  /** Sums over all ranks, in place: of f32 tensors of this lane, or of some numbers. */
  allReduce(what: readonly NativeTensorHandle[] | Float64Array): Promise<unknown>;
  run(
    executable: NativeExecutableHandle,
    symbols: Int32Array,
    inputs: readonly ArrayBufferView[],
    outputs: readonly ArrayBuffer[],
    flag: AbortFlagHandle | undefined,
    /** Indices of inputs that are read when the run begins, not now: what runs before it on the lane may write them. */
    late?: readonly number[],
    /**
     * Number of runs in a series. The inputs `each` hold the data of all runs end to end, as the outputs do. `feed`: pairs of an input and
     * the output of the previous run that it receives.
     */
    count?: number,
    each?: readonly number[],
    feed?: readonly number[],
  ): Promise<unknown>;
}

/** Row r of each block of `order.length` rows is the file's row order[r] of that block. */
export interface NativeRowOrder {
  rowBytes: number;
  order: Int32Array;
}

/** Runs of one operation over operands of the same types and sizes; operands as in `ProgramDescription.values`. */
export interface NativeProfileRow {
  op: string;
  /** Empty for work that is not an operation. */
  kernel: string;
  inputs: readonly number[];
  outputs: readonly number[];
  calls: number;
  seconds: number;
}

/** The processor, as kernels are chosen for it. */
export interface CpuInfo {
  /** The instruction set that kernels are run with, such as `avx512bf16`: the most that there is, or HEDDLE_ISA's. */
  isa: string;
  /** All that this processor has and the addon has kernels for, the least first. */
  supported: string[];
  /** How many this process has room for (native/core/cpus.h). */
  threads: number;
}

export interface GraphBinding {
  NativeTensor: {
    /** In the memory of the lane's device; of the CPU without one. */
    new (bytes: number, lane?: NativeLaneHandle): NativeTensorHandle;
    /** On the CPU the mapped file itself. A copy on other devices, and if the rows are reordered. */
    new (
      file: NativeMappedFile,
      offset: number,
      bytes: number,
      lane?: NativeLaneHandle,
      rows?: NativeRowOrder,
    ): NativeTensorHandle;
    /** A copy of a mapped tensor with its rows in order. */
    new (mapped: NativeTensorHandle, lane: NativeLaneHandle, rows: NativeRowOrder): NativeTensorHandle;
  };
  /** Without `cudaDevice` it computes on the CPU. */
  NativeLane: new (
    threads: number,
    cudaDevice?: number,
    allowTf32?: boolean,
  ) => NativeLaneHandle;
  AbortFlag: new () => AbortFlagHandle;
  NativeProgram: new (description: ProgramDescription) => NativeProgramHandle;
  NativeExecutable: new (
    program: NativeProgramHandle,
    tensors: readonly NativeTensorHandle[],
    /** The lane it will run on; any of the CPU without one. */
    lane?: NativeLaneHandle,
  ) => NativeExecutableHandle;
  opNames(): string[];
  /** Native runs are timed from then on, those of all threads of the process; throws where they are already. */
  startProfile(): void;
  stopProfile(): NativeProfileRow[];
  /** Every op and its kernels for CUDA devices in this build; null: a view, which needs none. */
  cudaKernels(): Record<string, string[] | null>;
  cpuInfo(): CpuInfo;
  /** Bytes that the system and the process's control groups can still give, pages of files not counted as used; Infinity where neither says. */
  availableMemory(): number;
}
