// Tensors to be written to a file.
import { invalidArgument, throwIfAborted } from "../core/errors.ts";
import { isWhole } from "../core/is-whole.ts";
import { nextTurn } from "../core/slices.ts";
import type { FileSink } from "../io/atomic-files.ts";
import { WEIGHT_DTYPES, type WeightDType, weightBytes } from "./weight-dtype.ts";

type Chunks = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * A tensor to be written. If `bytes` is a function, it is called when the tensor's turn comes, so that memory holds one
 * tensor at a time.
 */
export interface TensorData {
  name: string;
  dtype: WeightDType;
  /** Name of the type in safetensors, if it is not the upper-case `dtype`. */
  stored?: string;
  /** Whether the tensor is written after all others of a safetensors file, if alignment allows. */
  late?: boolean;
  /** Row-major: the last dimension is contiguous. */
  shape: readonly number[];
  /** The elements in little endian. */
  bytes: Chunks | (() => Chunks | Promise<Chunks>);
}

/** Returns the tensor's size in bytes. Errors: INVALID_ARGUMENT for a bad name, dtype or shape. */
export function tensorBytes({ name, dtype, shape }: Omit<TensorData, "bytes">): number {
  if (typeof name !== "string" || name === "" || name === "__metadata__") {
    throw invalidArgument("tensor name", 'a string other than "" and "__metadata__"', name);
  }
  if (!WEIGHT_DTYPES.includes(dtype)) {
    throw invalidArgument(`tensor ${name}: dtype`, `one of ${WEIGHT_DTYPES.join(", ")}`, dtype);
  }
  const bytes = weightBytes(dtype, shape);
  if (!Number.isSafeInteger(bytes) || !shape.every((size) => isWhole(size))) {
    throw invalidArgument(`tensor ${name}: shape`, `whole numbers, and rows of whole ${dtype} blocks`, shape);
  }
  return bytes;
}

/** Options for writing weights. */
export interface WriteOptions {
  /** Stops the writing, which then throws ABORTED. */
  signal?: AbortSignal | undefined;
  /** Called after every tensor. */
  onProgress?: ((progress: WriteProgress) => void) | undefined;
}

/** Progress of writing a model's weights, reported after each tensor. */
export interface WriteProgress {
  /** Name of the tensor that was written last. */
  tensor: string;
  /** Number of tensors written so far, including this one. */
  tensors: number;
  /** Number of tensors to write. */
  totalTensors: number;
  /** Bytes written so far. */
  bytes: number;
  /** Number of bytes to write. */
  totalBytes: number;
}

/** Reports progress over the tensors of one or more files. */
export class ProgressCounter {
  private tensors = 0;
  private bytes = 0;
  private readonly totalTensors: number;
  private readonly totalBytes: number;
  constructor(
    tensors: readonly TensorData[],
    private readonly options: WriteOptions,
  ) {
    this.totalTensors = tensors.length;
    this.totalBytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  }

  done(tensor: TensorData): void {
    const { totalTensors, totalBytes } = this;
    this.tensors += 1;
    this.bytes += tensorBytes(tensor);
    this.options.onProgress?.({
      tensor: tensor.name,
      tensors: this.tensors,
      totalTensors,
      bytes: this.bytes,
      totalBytes,
    });
  }
}

/** Streams one tensor's bytes. Errors: INVALID_ARGUMENT if their number does not match the shape, ABORTED, IO. */
export async function writeTensor(sink: FileSink, tensor: TensorData, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal, "write");
  const expected = tensorBytes(tensor);
  const chunks = typeof tensor.bytes === "function" ? await tensor.bytes() : tensor.bytes;
  let written = 0;
  for await (const chunk of chunks instanceof Uint8Array ? [chunks] : chunks) {
    throwIfAborted(signal, "write");
    written += chunk.length;
    if (written > expected) break;
    await sink.write(chunk);
  }
  if (written !== expected) throw invalidArgument(`tensor ${tensor.name}: bytes`, `${expected} bytes`, written);
}

/** Collects all bytes of one tensor, or of several in order. */
export async function collect(...tensors: readonly TensorData[]): Promise<Uint8Array> {
  const given = await Promise.all(tensors.map(({ bytes }) => (typeof bytes === "function" ? bytes() : bytes)));
  if (given.length === 1 && given[0] instanceof Uint8Array) return given[0];
  const out = new Uint8Array(tensors.reduce((sum, { dtype, shape }) => sum + weightBytes(dtype, shape), 0));
  let at = 0;
  while (given.length > 0) {
    const chunks = given.shift()!; // removes the reference, so that copied bytes can be freed
    for await (const chunk of chunks instanceof Uint8Array ? inTurns(chunks) : chunks) {
      out.set(chunk, at);
      at += chunk.length;
    }
  }
  return out;
}

/** Number of bytes to copy per turn of the event loop. Such a copy takes a millisecond or two. */
const TURN = 1 << 22;

/** Yields the bytes in parts, one per turn of the event loop. */
async function* inTurns(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += TURN) {
    if (at > 0) await nextTurn();
    yield bytes.subarray(at, at + TURN);
  }
}
