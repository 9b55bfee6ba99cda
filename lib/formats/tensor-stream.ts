// Streams a stored tensor in chunks of a few MB, converted to an element type and to the layout of a file format.
import { HeddleError } from "../core/errors.ts";
import { isNumber, type NumberDType } from "../graph/dtype.ts";
import type { Device } from "../graph/index.ts";
import { countOf } from "../graph/lane-cast.ts";
import { inOrderOf } from "./element-sources.ts";
import type { LayoutChange } from "./gguf/gguf-names.ts";
import { castElements, newRoom } from "./native-cast.ts";
import type { StoredTensor } from "./weights.ts";

/**
 * Number of elements per chunk. It is a multiple of every type's block, enough work for all threads, and small compared
 * with a tensor.
 */
const CHUNK = 1 << 19;

/** Buffers for chunks. Streams reuse them, because allocating memory costs more than writing into it. */
export class ChunkRooms {
  private readonly free: ArrayBuffer[] = [];

  /** Returns a buffer of at least `bytes` bytes. It is the caller's until the caller returns it by `give`. */
  take(bytes: number): ArrayBuffer {
    const found = this.free.findIndex((room) => room.byteLength >= bytes);
    if (found >= 0) return this.free.splice(found, 1)[0]!;
    this.free.length = 0; // buffers that are too small are dropped
    return newRoom(bytes);
  }

  give(room: ArrayBuffer): void {
    this.free.push(room);
  }
}

interface StreamOptions {
  /** The device whose threads convert elements. */
  device: Device;
  dtype: NumberDType;
  change: LayoutChange;
  /** The direction of `change`. */
  to: "safetensors" | "gguf";
  /** Whether to refuse numbers that are not finite. */
  finite?: boolean;
  /** Memory for chunks, shared by several streams. Default: separate memory. */
  rooms?: ChunkRooms;
}

/**
 * Yields the tensor's bytes. Memory holds the current chunk and the next one, which is converted while the caller reads
 * the current one. Only a transposed quantized matrix is held whole. A chunk is valid until the next one is requested.
 * @throws HeddleError UNSUPPORTED for a tensor of integers; NUMERICAL for a value that does not fit the type, or, with
 * `finite`, for NaN and infinity; IO
 */
export async function* streamTensor(tensor: StoredTensor, options: StreamOptions): AsyncGenerator<Uint8Array> {
  const { device, dtype, change, to, finite = false, rooms = new ChunkRooms() } = options;
  const { name } = tensor;
  if (!isNumber(tensor.dtype))
    throw new HeddleError("UNSUPPORTED", `tensor ${name}: expected a floating or quantized type, got ${tensor.dtype}`);
  const { sources, from } = await inOrderOf(device, tensor, change, to);
  const addend = change.kind === "norm" ? (to === "gguf" ? 1 : -1) : 0;
  const mine: ArrayBuffer[] = [];
  let next: Promise<Uint8Array> | undefined;
  let turn = 0;
  const roomFor = (bytes: number) => {
    const at = turn++ % 2; // alternates, because the caller still reads the other chunk
    if (!(mine[at] && mine[at].byteLength >= bytes)) mine[at] = rooms.take(bytes);
    return mine[at];
  };
  try {
    for (const source of sources) {
      const all = countOf(source, from);
      for (let first = 0; first < all; first += CHUNK) {
        const made = next;
        const range = { first, count: Math.min(CHUNK, all - first) };
        next = castElements(device, source, { name, from, to: dtype, addend, finite, range }, roomFor);
        next.catch(() => {}); // reported when it is awaited, if ever
        if (made) yield await made;
      }
    }
    if (next) yield await next;
  } finally {
    // If the caller stops early, wait for the pending chunk.
    await next?.catch(() => {});
    for (const room of mine) if (room) rooms.give(room);
  }
}
