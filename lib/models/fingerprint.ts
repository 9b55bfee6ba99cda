import { createHash } from "node:crypto";
import type { Tensor } from "../graph/index.ts";
import { adapterTensors } from "./adapters.ts";
import type { ModelView } from "./model-view.ts";

/** How much of each tensor is read: pieces spread over it, since a step of training changes nearly every weight. */
const PIECES = 4;
const PIECE_BYTES = 256;

/**
 * SHA-256 over what keys and values depend on: the trunk's configuration, a sample of every weight's bytes, the adapters and
 * how activations meet quantised weights. Two models with the same fingerprint can use each other's KV caches.
 */
export async function fingerprintOf(model: ModelView, adapters: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  const { architectures: _a, classifier: _c, valueHead: _v, embedding: _e, dtype: _d, ...trunk } = model.config;
  const taken = model.adaptersOf(adapters);
  const scales = taken.map(({ layers }) => [...layers].map(([name, { scale }]) => [name, scale]));
  hash.update(JSON.stringify([Object.entries(trunk).sort(byName), model.quantizedActivations, scales]));
  for (const name of [...model.languageWeightNames, ...taken.flatMap(adapterTensors)]) {
    const tensor = model.asStored(name);
    hash.update(JSON.stringify([name, tensor.dtype, tensor.shape]));
    const length = Math.min(PIECE_BYTES, tensor.bytes);
    for (let i = 0; i < PIECES; i++) {
      const at = Math.floor(((tensor.bytes - length) * i) / (PIECES - 1));
      for (const piece of inOrder(tensor, at, length)) hash.update(await tensor.readBytes(...piece));
    }
  }
  return hash.digest("hex");
}

/** Where the bytes [at, at + length) of a tensor lie whose rows may lie in another order. */
function* inOrder(
  { bytes, shape, rowOrder }: Tensor,
  at: number,
  length: number,
): Iterable<[at: number, length: number]> {
  if (!rowOrder) return yield [at, length];
  const rowBytes = bytes / shape[0]!;
  for (let done = 0; done < length; ) {
    const [row, within] = [Math.floor((at + done) / rowBytes), (at + done) % rowBytes];
    const block = row - (row % rowOrder.length);
    const count = Math.min(length - done, rowBytes - within);
    yield [(block + rowOrder[row - block]!) * rowBytes + within, count];
    done += count;
  }
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
