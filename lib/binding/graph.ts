// Types of native tensors, lanes and programs (native/binding/{tensor.cc,lane,program}). lib/graph uses them.
import type { NativeMappedFile } from "./files.ts";
import type { NativeRanksHandle } from "./ranks.ts";

/** A tensor's memory in native code. */
export interface NativeTensorHandle {
  readonly bytes: number;
  dispose(): void;
}

/** A flag that aborts the runs it was given to. */
export interface AbortFlagHandle {
  abort(): void;
}

/** A traced graph in the form that native code takes (native/binding/program/program.cc decodes it). */
export interface ProgramDescription {
  /** Upper bounds of the symbolic dimensions. In `values`, a dimension of -(i + 1) means symbol i. */
  symbols: readonly number[];
  /** dtype, rank and dimensions of each value, one after another. */
  values: readonly number[];
  nodes: readonly {
    op: string;
    inputs: readonly number[];
    outputs: readonly number[];
    /** Alternating names and values: name, value, name, value, … */
    attributes: readonly (string | number)[];
    origin: string;
  }[];
  /** Indices, in `values`, of the tensors that the program is bound to. */
  bound: readonly number[];
  /** Indices of the inputs of a run. */
  inputs: readonly number[];
  /** Indices of the results of a run. */
  outputs: readonly number[];
}

/** A compiled native program. Its intermediate values take `arenaBytes` bytes. */
export interface NativeProgramHandle {
  readonly arenaBytes: number;
}

/** A native program that is bound to tensors. */
export interface NativeExecutableHandle {
  /** Device time of the last run, in seconds; 0 on the CPU. */
  readonly deviceSeconds: number;
  /** Seconds that the last run waited for other ranks; 0 on CUDA, where the stream waits. */
  readonly waitedSeconds: number;
  /** Number of recorded CUDA graphs: one per combination of symbol values that the device replays with a single launch. */
  readonly recordings: number;
  dispose(): void;
}

/**
 * How the source elements of a cast are read: through a strided view, as 8-bit floats with scales, or as blocks of MXFP4
 * (native/binding/lane/cast_call.h).
 */
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

/** The lane of a device: one native thread that executes the device's work in first-in first-out order. */
export interface NativeLaneHandle {
  /** Size in bytes of the memory for intermediate values (the arena), which the lane keeps between runs. */
  readonly arenaBytes: number;
  /** Whether the device has failed for good. Every call then fails with DEVICE_LOST. */
  readonly isLost: boolean;
  read(tensor: NativeTensorHandle, offset: number, bytes: number): Promise<ArrayBuffer>;
  /** Writes all of `bytes`. Copies them first unless `lent` is true. Other code must not use lent bytes until the promise settles. */
  write(tensor: NativeTensorHandle, offset: number, bytes: ArrayBufferView, lent?: boolean): Promise<void>;
  /**
   * Copies all of `from` to the beginning of `to`, a tensor of this lane, `times` times. Resolves with the elapsed seconds, as one
   * double.
   */
  copy(from: NativeTensorHandle, to: NativeTensorHandle, times: number): Promise<ArrayBuffer>;
  /**
   * Converts `count` elements of type `from` at byte `offset` to type `to` at byte `at` of `target`, on the lane's threads. Types are indices
   * into DTYPES. Until the promise settles, the caller must not use arrays that it passed. Resolves with two doubles: the number of finite
   * values that became infinite, and the number of source values that are not finite. If `how` is given, the source elements are `count`
   * elements of the view that it describes, from `how.first` on.
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
  /**
   * Quantizes to FP8 in blocks of 128 × 128: one e4m3 byte per number, and one f32 scale per block. Until the promise settles, the caller
   * must not use `numbers`.
   */
  quantizeFp8(
    numbers: Float32Array,
    rows: number,
    columns: number,
  ): Promise<{ bytes: ArrayBuffer; scales: ArrayBuffer }>;
  /**
   * Continues a CRC-32C: `before` is the checksum of the preceding bytes, 0 at the start. Arrays are processed on the lane's thread, and
   * files on all of its threads. Until the promise settles, the caller must not use an array that it passed. Resolves with one Uint32.
   */
  crc32c(source: NativeMappedFile | Uint8Array, offset: number, bytes: number, before: number): Promise<ArrayBuffer>;
  /** Resolves when the device has completed all work that this lane queued. */
  settle(): Promise<void>;
  /** Frees a tensor's memory after the work that was queued before. Until `reload`, every use of the tensor fails with the message `why`. */
  unload(tensor: NativeTensorHandle, why: string): Promise<void>;
  /** Allocates the memory of an unloaded tensor again, with zeros. */
  reload(tensor: NativeTensorHandle): Promise<void>;
  /**
   * Returns the kernel variants of this device for a matrix product, its default first; none on the CPU. `a`, `b` and `c` are indices
   * into DTYPES.
   */
  variants(
    m: number,
    n: number,
    k: number,
    a: number,
    b: number,
    c: number,
    layout: "NN" | "NT" | "TN",
  ): { key: string; names: string[] };
  /** Sets the kernel variant for each product, replacing earlier choices. */
  choose(choices: readonly (readonly [key: string, name: string])[]): void;
  /** Joins a group of `size` ranks. Resolves when all ranks have joined. */
  join(id: Uint8Array, rank: number, size: number): Promise<void>;
  /** Lets programs of this CPU lane sum over the ranks that MPI connects. */
  joinRanks(ranks: NativeRanksHandle): Promise<void>;
  /** Sums f32 tensors of this lane, or a few numbers, over all ranks, in place. */
  allReduce(what: readonly NativeTensorHandle[] | Float64Array): Promise<unknown>;
  /**
   * Sums tensors over all ranks. Rank r receives the sums of `byRank[r]`, in place, and its other tensors stay unchanged.
   * `type`: 0 for f32, 1 for bf16.
   */
  reduceScatter(byRank: readonly (readonly NativeTensorHandle[])[], type: 0 | 1): Promise<unknown>;
  /** Copies the tensors of `byRank[r]` from rank r to all other ranks. */
  allGather(byRank: readonly (readonly NativeTensorHandle[])[]): Promise<unknown>;
  run(
    executable: NativeExecutableHandle,
    symbols: Int32Array,
    inputs: readonly ArrayBufferView[],
    outputs: readonly ArrayBuffer[],
    flag: AbortFlagHandle | undefined,
    /** Indices of inputs that are read when the run begins, not at this call. Runs queued before it on the lane may still write them. */
    late?: readonly number[],
    /**
     * Number of runs in a series. The inputs in `each`, and all outputs, hold the data of all runs one after another.
     * `feed` holds pairs: an input, and the output of the previous run that becomes its value. All are indices.
     */
    count?: number,
    each?: readonly number[],
    feed?: readonly number[],
  ): Promise<unknown>;
}

/** A reordering of rows in blocks of `order.length` rows: row r of a block of the tensor is row order[r] of that block of the file. */
interface NativeRowOrder {
  rowBytes: number;
  order: Int32Array;
}

/**
 * The total of all runs of one operation on operands of the same types and shapes, which are described as in `ProgramDescription.values`.
 */
export interface NativeProfileRow {
  op: string;
  /** The kernel's name; empty for work that is not an operation. */
  kernel: string;
  inputs: readonly number[];
  outputs: readonly number[];
  calls: number;
  seconds: number;
}

/** The processor features that decide which kernels run. */
export interface CpuInfo {
  /** The instruction set in use, such as `avx512bf16`: the best supported one, or that of HEDDLE_ISA. */
  isa: string;
  /** The instruction sets that both this processor and the addon support, from the most basic on. */
  supported: string[];
  /** Number of threads that this process can use (native/core/cpus.h). */
  threads: number;
}

/** The addon's functions for tensors, devices and programs. */
export interface GraphBinding {
  NativeTensor: {
    /** Allocates a tensor on the lane's device, or on the CPU without a lane. */
    new (bytes: number, lane?: NativeLaneHandle): NativeTensorHandle;
    /** Makes a tensor of a mapped file's bytes: a view of the mapping on the CPU, a copy on other devices and if rows are reordered. */
    new (
      file: NativeMappedFile,
      offset: number,
      bytes: number,
      lane?: NativeLaneHandle,
      rows?: NativeRowOrder,
    ): NativeTensorHandle;
    /** Copies a mapped tensor with its rows reordered. */
    new (mapped: NativeTensorHandle, lane: NativeLaneHandle, rows: NativeRowOrder): NativeTensorHandle;
    /** Makes a view of a part of a tensor's bytes. */
    new (tensor: NativeTensorHandle, offset: number, bytes: number): NativeTensorHandle;
  };
  /** A lane on a CUDA device, or on the CPU without `cudaDevice`. */
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
    /** The lane that the executable runs on. Default: any lane of the CPU. */
    lane?: NativeLaneHandle,
  ) => NativeExecutableHandle;
  opNames(): string[];
  /** Starts timing the native runs of all threads of the process. Throws if timing has been started already. */
  startProfile(): void;
  stopProfile(): NativeProfileRow[];
  /** Returns the names of the CUDA kernels of every op in this build; null for a view, which needs no kernel. */
  cudaKernels(): Record<string, string[] | null>;
  cpuInfo(): CpuInfo;
  /**
   * Returns how many bytes the system and the process's control groups can still allocate. The page cache counts as free. Infinity if
   * neither reports a limit.
   */
  availableMemory(): number;
}
