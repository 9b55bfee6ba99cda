// Loads the native addon and types all of it. Only lib/graph, lib/formats and lib/tokenizer import this file.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HeddleError } from "./errors.ts";

// ---- build and devices (native/binding/info.cc) ------------------------------------------------------------

/** A CUDA device as its driver describes it. */
export interface CudaDeviceInfo {
  index: number;
  name: string;
  /** For example "9.0". */
  computeCapability: string;
  memoryBytes: number;
  multiprocessors: number;
  /** The version of CUDA that the driver speaks. */
  driver: string;
}

/** The addon, and what CUDA devices it finds. */
export interface BuildInfo {
  /** Of the package that the addon was built of. */
  version: string;
  /** The C++ compiler and its version. */
  compiler: string;
  /** `Release` or `Debug`. */
  buildType: string;
  /** `built`: whether the addon has CUDA kernels. `problem`: why a machine with a driver has no devices. */
  cuda: { built: boolean; devices: CudaDeviceInfo[]; problem?: string };
}

/** The processor, as kernels are chosen for it. */
export interface CpuInfo {
  /** The instruction set that kernels are run with, such as `avx512bf16`: the most that there is, or HEDDLE_ISA's. */
  isa: string;
  /** All that this processor has and the addon has kernels for, the least first. */
  supported: string[];
  /** How many this process has room for (native/runtime/cpus.h). */
  threads: number;
}

interface InfoBinding {
  info(): BuildInfo;
  /** By which the ranks of a world find each other; needs NCCL. */
  collectiveId(): ArrayBuffer;
}

// ---- files (native/binding/files.cc); used through lib/formats --------------------------------------------

export interface NativeMappedFile {
  readonly size: number;
  bytes(offset: number, length: number): ArrayBuffer;
  check(): void;
  close(): void;
}

interface FilesBinding {
  MappedFile: new (path: string) => NativeMappedFile;
  /** The quantised types in their order: lib/graph/dtype.ts says the same. */
  blockTypes(): { name: string; elements: number; bytes: number; writable: boolean }[];
  /** from, to: numbers of DTYPES, floating or quantised. `overflows` counts finite values that became infinite. */
  castElements(bytes: Uint8Array, from: number, to: number, addend: number): { bytes: ArrayBuffer; overflows: number };
}

// ---- graph: tensors, lanes, programs (native/binding/{tensor,lane,program}.cc); used through lib/graph ---------

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
  read(tensor: NativeTensorHandle, offset: number, bytes: number): Promise<ArrayBuffer>;
  write(tensor: NativeTensorHandle, offset: number, bytes: ArrayBufferView, lent?: boolean): Promise<void>;
  /** All of `from` to the beginning of `to`, a tensor of this lane, so many times; the seconds it took, as one double. */
  copy(from: NativeTensorHandle, to: NativeTensorHandle, times: number): Promise<ArrayBuffer>;
  /**
   * `count` elements of type `from` at byte `offset` become those of type `to` at byte `at` of `target`, on the lane's threads; types by number. An array is
   * nobody else's until the promise settles. Two doubles: finite numbers that became infinite, numbers of the source that are not finite.
   * With `how`, `count` elements from `first` on of what it makes of the `elements` there.
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
  /** Which variant makes which product from now on, instead of what was said before. */
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
    /** A series of so many runs: indices of inputs that hold the data of each end to end, and pairs of an input and the output of the run before that it is. Outputs hold those of all runs, end to end. */
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
  /** "" for what is no operation. */
  kernel: string;
  inputs: readonly number[];
  outputs: readonly number[];
  calls: number;
  seconds: number;
}

interface GraphBinding {
  NativeTensor: {
    /** In the memory of the lane's device; of the CPU without one. */
    new (bytes: number, lane?: NativeLaneHandle): NativeTensorHandle;
    /** The mapped file itself on the CPU, a copy of it elsewhere and where its rows lie in another order. */
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
}

// ---- tokenizer (native/binding/tokenizer.cc) ---------------------------------------------------------------

export interface NativeAddedToken {
  id: number;
  content: string;
  singleWord: boolean;
  lstrip: boolean;
  rstrip: boolean;
  special: boolean;
  normalized: boolean;
  /** Not matched across a barrier. */
  guarded: boolean;
}

/** A normalizer, pre-tokenizer or decoder: see native/tokenizer/step_spec.h. */
export interface NativeStep {
  type: string;
  pattern?: string;
  isRegex?: boolean;
  content?: string;
  bytes?: Uint8Array;
  left?: boolean;
  right?: boolean;
  clean?: boolean;
  chinese?: boolean;
  accents?: boolean;
  lower?: boolean;
  invert?: boolean;
  each?: boolean;
  prefix?: boolean;
  cuts?: boolean;
  number?: number;
  maxDigits?: number;
  contractions?: boolean;
  longest?: boolean;
}

/**
 * See native/tokenizer/model_builder.h. Texts are joined, with their lengths in UTF-16 units beside; or they are those of a
 * `vocabulary`, and the five are not there.
 */
export interface NativeTokenizerSpec {
  vocabulary?: NativeJsonVocabulary | undefined;
  tokens?: string | undefined;
  tokenLengths?: Uint32Array | undefined;
  tokenIds?: Uint32Array | undefined;
  merges?: string | undefined;
  mergeLengths?: Uint32Array | undefined;
  mergeRanks?: Uint32Array | undefined;
  added: NativeAddedToken[];
  /** Three numbers a stage: kind, maxDigits, contractions. */
  stages: Uint32Array;
  /** What added tokens look like in normalised text; text itself goes through it if `usesNormalizer`. */
  normalizer: NativeStep[];
  usesNormalizer: boolean;
  /** Instead of `stages`, prefix and marks. */
  preTokenizer: NativeStep[];
  /** For decodeKind 2. */
  decoder: NativeStep[];
  /** 0 BPE, 1 WordPiece, 2 Unigram, 3 WordLevel. */
  kind: number;
  subwordPrefix?: string;
  wordSuffix?: string;
  maxWordCharacters?: number;
  /** Of a Unigram model: one a token. */
  scores?: Float64Array;
  /** Their sums are rounded to 32 bits, one by one. */
  singlePrecision?: boolean | undefined;
  /** Ids that no text matches. */
  hidden?: Uint32Array;
  beginIds: Uint32Array;
  endIds: Uint32Array;
  byteLevel: boolean;
  ignoreMerges: boolean;
  byteFallback: boolean;
  fuseUnknown: boolean;
  unknown?: number;
  needsNfc?: boolean;
  spacesToMarks?: boolean;
  stripFirstSpace?: boolean;
  wholeTextIsWord?: boolean;
  prefix?: string;
  /** 0 never, 1 always, 2 unless there already, 3 the same at the start of the text only. */
  prefixRule?: number;
  /** 0 bytes, 1 byte fallback, 2 `decoder`. */
  decodeKind?: number;
}

/** A job away from the JavaScript thread. After cancel() the promise rejects with ABORTED, unless the job was done. */
export interface NativeJob<T> {
  promise: Promise<T>;
  cancel(): void;
}

/** Options of encode that are no flags. */
export interface NativeEncodeExtras {
  /** Ids of special tokens whose text is recognised, where flag 2 does not say all. */
  allowed?: Uint32Array | undefined;
  /** Share of merges left out by chance, below 1, and the seed of that chance. */
  dropout?: number | undefined;
  seed?: number | undefined;
  /** Of a single text: UTF-16 offsets, ascending, that no guarded token may span or end at. */
  barriers?: Uint32Array | undefined;
}

/** `flags`: 1 add special tokens, 2 recognise special tokens' text, 4 offsets, 8 offsets in bytes of UTF-8. */
export interface NativeTokenizer {
  /** Highest id + 1. */
  readonly size: number;
  /** Of the tables behind it, which tokenizers of equal vocabularies share within a process. */
  readonly modelNumber: number;
  readonly output: Uint32Array;
  /** The number of ids put into `output`, or an array of their own where they do not fit there. */
  encode(text: string, flags: number, barriers?: Uint32Array): number | Uint32Array;
  encodeWithOffsets(text: string, flags: number, barriers?: Uint32Array): [Uint32Array, Uint32Array];
  /** All ids, and their counts by text. The ids are in `spare`, at its beginning, where it has room for them. */
  encodeBatch(
    texts: readonly string[],
    flags: number,
    extras?: NativeEncodeExtras,
    spare?: Uint32Array,
  ): NativeJob<[Uint32Array, Uint32Array]>;
  encodeWith(text: string, flags: number, extras?: NativeEncodeExtras): [Uint32Array, Uint32Array];
  /** `counts`: how many of the ids belong to each text. */
  decodeBatch(ids: Uint32Array, counts: Uint32Array, skipSpecial: boolean): NativeJob<string[]>;
  count(text: string, flags: number): number;
  decode(ids: Uint32Array, skipSpecial: boolean): string;
  /** What an id adds to any text, where that is always the same. */
  settledText(id: number): string | undefined;
  tokenBytes(id: number): Uint8Array;
}

export interface NativeDecoder {
  push(id: number): string;
  flush(): string;
  /** Nothing of the ids before changes what those to come add. */
  readonly settled: boolean;
}

export type NativeProgress = (done: number, total: number) => void;

/** One job at a time. */
export interface NativeTrainer {
  feed(texts: string[], threads: number): NativeJob<undefined>;
  /** Left, right and token of each merge; tokens are numbered: the 256 bytes, then as made. */
  trainBytes(tokens: number, minCount: number, progress?: NativeProgress): NativeJob<Uint32Array>;
  /** Over characters: the alphabet, and merges whose tokens are numbered: the alphabet, then as made. */
  trainCharacters(
    options: {
      tokens: number;
      minCount: number;
      coverage?: number | undefined;
      alphabetLimit?: number | undefined;
      subwordPrefix?: string | undefined;
    },
    progress?: NativeProgress,
  ): NativeJob<[string[], Uint32Array]>;
  /** A Unigram model: pieces and their scores, best first. */
  trainPieces(
    options: {
      tokens: number;
      seeds: number;
      maxPieceLength: number;
      shrinkingFactor: number;
      subIterations: number;
      threads: number;
      coverage?: number | undefined;
    },
    progress?: NativeProgress,
  ): NativeJob<[string[], Float64Array]>;
}

/** model.vocab and model.merges of a tokenizer.json, kept by native code; `rest` is the file without them. */
export interface NativeJsonVocabulary {
  readonly rest: string;
  /** The id of a token. */
  find(token: string): number | undefined;
  tokens(): string[];
  /** One a token. */
  ids(): Uint32Array;
  /** Left and right parts in turn. */
  merges(): string[];
  /** The same for readCompiledVocabulary. Undefined where merges leave a prefix out. */
  compile(source: Uint8Array): Uint8Array | undefined;
}

interface TokenizerBinding {
  /** Zeros to read a large file into: memory that the system has back once they are collected, which malloc's it has not. */
  bytesForFile(size: number): Uint8Array;
  /** Undefined for what is not plainly a tokenizer.json with both. */
  readJsonVocabulary(bytes: Uint8Array): NativeJsonVocabulary | undefined;
  /** Undefined for all but what `compile` made of this very source. */
  readCompiledVocabulary(bytes: Uint8Array, source: Uint8Array): NativeJsonVocabulary | undefined;
  NativeTrainer: new (
    /** Three numbers a stage, or steps. */
    rule: Uint32Array | { normalizer: NativeStep[]; preTokenizer: NativeStep[] },
    specialTokens: string[],
  ) => NativeTrainer;
  NativeTokenizer: new (spec: NativeTokenizerSpec) => NativeTokenizer;
  NativeDecoder: new (tokenizer: NativeTokenizer, skipSpecial: boolean, continuing: boolean) => NativeDecoder;
}

// ---- the whole addon ---------------------------------------------------------------------------------------

export interface Binding extends InfoBinding, FilesBinding, GraphBinding, TokenizerBinding {
  /** Native code throws instances of this class from then on, in this environment. */
  setErrorConstructor(errorClass: typeof HeddleError): void;
}

const require = createRequire(import.meta.url);
// Required, not imported: an import reads all that node:fs exports, and so loads every kind of stream, a third of what a start takes.
const { existsSync } = require("node:fs") as typeof import("node:fs");

/** The folder that holds package.json: this file's parent in a checkout, a folder or two up from dist/. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new HeddleError("INTERNAL", "heddle: its package.json was not found above its own files");
    folder = parent;
  }
  return folder;
}

/** Where node-gyp-build, which takes longer to load than the addon, would find it too; none where its variables decide. */
function usualPlaces(root: string): string[] {
  const { platform, arch, env } = process;
  if (env.PREBUILDS_ONLY || env.HEDDLE_PREBUILD || env.LIBC) return [];
  const places = [join(root, "build/Release/heddle.node")];
  if (platform === "linux" && !existsSync("/etc/alpine-release")) {
    places.push(join(root, `prebuilds/linux-${arch}/heddle.glibc.node`));
  }
  return places;
}

function binaryPath(): string {
  // HEDDLE_BINARY names another build of the addon, such as the one with sanitizers.
  if (process.env.HEDDLE_BINARY) return process.env.HEDDLE_BINARY;
  const root = packageRoot();
  const found = usualPlaces(root).find(existsSync);
  if (found) return found;
  const nodeGypBuild = require("node-gyp-build") as { path(folder: string): string };
  return nodeGypBuild.path(root);
}

function load(): Binding {
  // dlopen rather than require: each copy of this module (ESM and CommonJS in one process) then gets an addon
  // instance of its own, and so errors of its own HeddleError class.
  const loaded: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(loaded, binaryPath());
  } catch (cause) {
    const { platform, arch } = process;
    throw new HeddleError(
      "UNSUPPORTED",
      `heddle: no native addon loads on ${platform}-${arch} with Node ${process.versions.node}; to build one, install cmake and a C++17 compiler and run \`npm rebuild heddle --build-from-source\` (${firstLine(cause)})`,
      { cause },
    );
  }
  const binding = loaded.exports as Binding;
  binding.setErrorConstructor(HeddleError);
  return binding;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]!;
}

/** The loaded addon. */
export const binding: Binding = load();
