import { createHash, type Hash } from "node:crypto";
import type { Tensor } from "../graph/index.ts";
import { adapterTensors } from "./adapters/adapters.ts";
import type { ModelView } from "./model-view.ts";

/** Maximum total size of the tensors that are read completely, smallest first. From each other tensor, evenly spaced pieces are read. */
const WHOLE_BYTES = 16 << 20;
const PIECES = 64;
const PIECE_BYTES = 1024;
/** Number of bytes that are read and hashed before yielding to the event loop. */
const BATCH_BYTES = 1 << 20;

/** A part of a tensor's stored bytes. */
interface Part {
  tensor: Tensor;
  at: number;
  length: number;
  /** Order of the rows, if they are reordered and the part is whole blocks of rows. */
  rowOrder?: Int32Array | undefined;
}

/**
 * SHA-256 over everything that keys and values depend on: the trunk's configuration, the weights, the adapters, and the rounding of
 * activations. Models with the same fingerprint can use each other's KV caches.
 *
 * The smallest tensors are read whole, up to 16 MB in total. Of each larger tensor, 64 evenly spaced kilobytes are read, including the first
 * and the last. The fingerprint detects every difference in models of up to 16 MB. In larger models it detects a change to nearly all
 * weights, such as training, or to any contiguous range that covers 1/60 of a matrix. It misses small manual edits between the samples.
 */
export async function fingerprintOf(model: ModelView, adapters: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  const { architectures: _a, classifier: _c, valueHead: _v, embedding: _e, dtype: _d, ...trunk } = model.config;
  const taken = model.adaptersOf(adapters);
  const scales = taken.map(({ layers }) => [...layers].map(([name, { scale }]) => [name, scale]));
  hash.update(JSON.stringify([Object.entries(trunk).sort(byName), model.quantizedActivations, scales]));
  await addWeights(hash, model, [...model.languageWeightNames, ...taken.flatMap(adapterTensors)]);
  return hash.digest("hex");
}

/**
 * Returns a short hash that distinguishes the named weights, by names, types, shapes and the bytes that `fingerprintOf`
 * reads.
 */
export async function weightsFingerprint(model: ModelView, names: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  await addWeights(hash, model, names);
  return hash.digest("hex").slice(0, 16);
}

/** Hashes weights in their stored types, including quantized ones, with rows in transformers' order. */
async function addWeights(hash: Hash, model: ModelView, names: readonly string[]): Promise<void> {
  const tensors = names.flatMap((name) => {
    const tensor = model.asStored(name);
    return [{ name, tensor }, ...(tensor.scale ? [{ name: `${name}: scale`, tensor: tensor.scale }] : [])];
  });
  const whole = new Set<Tensor>();
  let room = WHOLE_BYTES;
  for (const { tensor } of [...tensors].sort((a, b) => a.tensor.bytes - b.tensor.bytes)) {
    room -= tensor.bytes;
    if (room < 0) break;
    whole.add(tensor);
  }
  const parts: Part[] = [];
  for (const { name, tensor } of tensors) {
    hash.update(JSON.stringify([name, tensor.dtype, tensor.shape]));
    parts.push(...(whole.has(tensor) ? wholeOf(tensor) : piecesOf(tensor)));
  }
  for (const batch of batches(parts)) {
    const read = await Promise.all(batch.map(({ tensor, at, length }) => tensor.readBytes(at, length)));
    for (const [i, part] of batch.entries()) addTo(hash, part, read[i]!);
  }
}

function addTo(hash: Hash, { tensor: { bytes, shape }, rowOrder }: Part, data: Uint8Array): void {
  if (!rowOrder) return void hash.update(data);
  const rowBytes = bytes / shape[0]!;
  for (let block = 0; block < data.length; block += rowOrder.length * rowBytes)
    for (const row of rowOrder) hash.update(data.subarray(block + row * rowBytes, block + (row + 1) * rowBytes));
}

function* batches(parts: readonly Part[]): Iterable<Part[]> {
  let batch: Part[] = [];
  let bytes = 0;
  for (const part of parts) {
    batch.push(part);
    bytes += part.length;
    if (bytes < BATCH_BYTES) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  yield batch;
}

function* wholeOf(tensor: Tensor): Iterable<Part> {
  const { bytes, shape, rowOrder } = tensor;
  // Reordering a part needs whole blocks of rows.
  const block = rowOrder ? rowOrder.length * (bytes / shape[0]!) : 1;
  const step = Math.max(block, BATCH_BYTES - (BATCH_BYTES % block));
  for (let at = 0; at < bytes; at += step) yield { tensor, at, length: Math.min(step, bytes - at), rowOrder };
}

function* piecesOf(tensor: Tensor): Iterable<Part> {
  const length = Math.min(PIECE_BYTES, tensor.bytes);
  for (let i = 0; i < PIECES; i++)
    yield* inOrder(tensor, Math.floor(((tensor.bytes - length) * i) / (PIECES - 1)), length);
}

/** Yields the bytes [at, at + length) that a tensor would have with its rows in transformers' order. */
function* inOrder(tensor: Tensor, at: number, length: number): Iterable<Part> {
  const { bytes, shape, rowOrder } = tensor;
  if (!rowOrder) return yield { tensor, at, length };
  const rowBytes = bytes / shape[0]!;
  for (let done = 0; done < length; ) {
    const [row, within] = [Math.floor((at + done) / rowBytes), (at + done) % rowBytes];
    const block = row - (row % rowOrder.length);
    const count = Math.min(length - done, rowBytes - within);
    yield { tensor, at: (block + rowOrder[row - block]!) * rowBytes + within, length: count };
    done += count;
  }
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
