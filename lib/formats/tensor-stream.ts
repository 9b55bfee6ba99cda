// A stored tensor as a stream of chunks in another element type and the other format's layout, some MB at a time.
import { HeddleError } from "../errors.ts";
import { isQuantised } from "../graph/dtype.ts";
import type { Device } from "../graph/index.ts";
import type { ElementSource } from "../graph/lane-cast.ts";
import { castElements, newRoom } from "./cast.ts";
import { isNumberDtype, type NumberDtype, pieceOf, type WeightDtype } from "./dtype.ts";
import { halfSplitRow, type LayoutChange, neighbourRow } from "./gguf-names.ts";
import type { StoredTensor } from "./weights.ts";

/** Elements of a chunk: enough for a device's threads to share, little beside a tensor. */
const CHUNK = 1 << 19;

/** Memory for chunks, kept from one stream to the next: new memory costs more than what is written into it. */
export class ChunkRooms {
  private readonly free: ArrayBuffer[] = [];

  /** At least so many bytes; nobody else's until `give`. */
  take(bytes: number): ArrayBuffer {
    const found = this.free.findIndex((room) => room.byteLength >= bytes);
    if (found >= 0) return this.free.splice(found, 1)[0]!;
    this.free.length = 0; // what is too small would only be kept
    return newRoom(bytes);
  }

  give(room: ArrayBuffer): void {
    this.free.push(room);
  }
}

export interface StreamOptions {
  /** Whose threads convert. */
  device: Device;
  dtype: NumberDtype;
  change: LayoutChange;
  /** The direction of `change`. */
  to: "safetensors" | "gguf";
  /** Refuse numbers that are not finite. */
  finite?: boolean;
  /** Where chunks are made, of several streams; their own where not given. */
  rooms?: ChunkRooms;
}

/**
 * Yields the tensor's bytes; nothing but the chunk at hand and the next, which is made meanwhile, is held (a transposed matrix is read whole). A chunk is
 * the caller's until the next is asked for.
 * @throws HeddleError NUMERICAL where a value does not fit the type, or with `finite` is none
 */
export async function* streamTensor(tensor: StoredTensor, options: StreamOptions): AsyncGenerator<Uint8Array> {
  const { rooms = new ChunkRooms() } = options;
  const mine: ArrayBuffer[] = [];
  let next: Promise<Uint8Array> | undefined;
  let turn = 0;
  const roomFor = (bytes: number) => {
    const at = turn++ % 2; // in turns: the other's chunk is with the caller
    if (!(mine[at] && mine[at].byteLength >= bytes)) mine[at] = rooms.take(bytes);
    return mine[at];
  };
  try {
    for await (const part of parts(tensor, options)) {
      const made = next;
      next = converted(tensor, part, options, roomFor);
      next.catch(() => {}); // said when its turn comes, if it comes
      if (made) yield await made;
    }
    if (next) yield await next;
  } finally {
    await next?.catch(() => {}); // a caller that goes away leaves one under way
    for (const room of mine) if (room) rooms.give(room);
  }
}

/** The type that the parts are of: blocks cannot be transposed, those come as f32. */
function typeOfParts({ dtype, name }: StoredTensor, { change }: StreamOptions): NumberDtype {
  if (!isNumberDtype(dtype))
    throw new HeddleError("UNSUPPORTED", `tensor ${name}: expected a floating or quantised type, got ${dtype}`);
  return change.kind === "transpose" && isQuantised(dtype) ? "f32" : dtype;
}

async function converted(
  tensor: StoredTensor,
  part: ElementSource,
  options: StreamOptions,
  roomFor: (bytes: number) => ArrayBuffer,
): Promise<Uint8Array> {
  const { device, dtype, change, to, finite = false } = options;
  const from = typeOfParts(tensor, options);
  const addend = change.kind === "norm" ? (to === "gguf" ? 1 : -1) : 0;
  if (from === dtype && addend === 0 && !finite && part instanceof Uint8Array) return part;
  return castElements(device, part, { name: tensor.name, from, to: dtype, addend, finite }, roomFor);
}

/** What is to be converted, in pieces of whole rows' blocks. */
async function* parts(tensor: StoredTensor, options: StreamOptions): AsyncGenerator<ElementSource> {
  const most = chunkBytes(typeOfParts(tensor, options));
  for await (const part of rearranged(tensor, options)) {
    if (!(part instanceof Uint8Array)) yield part;
    else for (let at = 0; at < part.length; at += most) yield part.subarray(at, Math.min(at + most, part.length));
  }
}

/** Chunks of whole rows' blocks, of the stored type and of `dtype`. */
async function* rearranged(tensor: StoredTensor, { device, change, to }: StreamOptions): AsyncGenerator<ElementSource> {
  const { file, offset, bytes, shape } = tensor;
  switch (change.kind) {
    case "none":
    case "norm": {
      if (tensor.made) {
        yield* tensor.made();
        return;
      }
      const step = chunkBytes(tensor.dtype);
      for (let at = 0; at < bytes; at += step) {
        yield { file, offset: offset + at, bytes: Math.min(step, bytes - at) };
      }
      return;
    }
    case "rope": {
      const width = headWidth(tensor, change.heads);
      const rowBytes = bytes / shape[0]!;
      const source = to === "gguf" ? halfSplitRow : neighbourRow;
      for (let head = 0; head < change.heads; head++) {
        const from = new Uint8Array(file.bytes(offset + head * width * rowBytes, width * rowBytes));
        const out = new Uint8Array(from.length);
        for (let row = 0; row < width; row++) {
          const start = source(row, width) * rowBytes;
          out.set(from.subarray(start, start + rowBytes), row * rowBytes);
        }
        yield out;
      }
      return;
    }
    case "transpose": {
      yield* transposed(tensor, device);
    }
  }
}

/** Rows of each of the heads that a matrix's rows are. @throws INVALID_FILE where they are not an even number each */
export function headWidth({ name, shape }: Pick<StoredTensor, "name" | "shape">, heads: number): number {
  const rows = shape[0]!;
  const width = rows / heads;
  if (!Number.isInteger(width) || width % 2 !== 0)
    throw new HeddleError("INVALID_FILE", `${name}: expected ${heads} heads of an even width, got ${rows} rows`);
  return width;
}

/** The bytes of a chunk: whole blocks of every type. */
function chunkBytes(dtype: WeightDtype): number {
  const { elements, bytes } = pieceOf(dtype);
  return (CHUNK / elements) * bytes;
}

async function* transposed(
  { file, offset, bytes, shape, dtype, name }: StoredTensor,
  device: Device,
): AsyncGenerator<Uint8Array> {
  const [rows, columns] = shape as [number, number];
  const stored = new Uint8Array(file.bytes(offset, bytes));
  const numbers = isQuantised(dtype) ? await castElements(device, stored, { name, from: dtype, to: "f32" }) : stored;
  const Elements = numbers.byteLength === rows * columns * 4 ? Uint32Array : Uint16Array;
  const from = new Elements(numbers.buffer);
  const step = Math.max(1, Math.floor(CHUNK / rows));
  for (let first = 0; first < columns; first += step) {
    const count = Math.min(step, columns - first);
    const out = new Elements(count * rows);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < count; column++) out[column * rows + row] = from[row * columns + first + column]!;
    }
    yield new Uint8Array(out.buffer);
  }
}
