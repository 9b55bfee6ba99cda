import { createHash } from "node:crypto";
import { adapterTensors } from "./adapters.ts";
import type { Model } from "./model.ts";

/** How much of each tensor is read: pieces spread over it, since a step of training changes nearly every weight. */
const PIECES = 4;
const PIECE_BYTES = 256;

/**
 * SHA-256 over what keys and values depend on: the trunk's configuration, a sample of every weight's bytes, the adapters and
 * how activations meet quantised weights. Two models with the same fingerprint can use each other's KV caches.
 */
export async function fingerprintOf(model: Model, adapters: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  const { architectures: _a, classifier: _c, valueHead: _v, embedding: _e, dtype: _d, ...trunk } = model.config;
  const taken = model.adaptersOf(adapters);
  const scales = taken.map(({ layers }) => [...layers].map(([name, { scale }]) => [name, scale]));
  hash.update(JSON.stringify([Object.entries(trunk).sort(byName), model.quantizedActivations, scales]));
  for (const name of [...model.languageWeightNames, ...taken.flatMap(adapterTensors)]) {
    const tensor = model.weight(name);
    hash.update(JSON.stringify([name, tensor.dtype, tensor.shape]));
    const length = Math.min(PIECE_BYTES, tensor.bytes);
    for (let i = 0; i < PIECES; i++) {
      const at = Math.floor(((tensor.bytes - length) * i) / (PIECES - 1));
      hash.update(await tensor.readBytes(at, length));
    }
  }
  return hash.digest("hex");
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
