import { createHash, type Hash } from "node:crypto";

/** Maximum number of examples to hash, evenly spread: enough to distinguish data sets, few enough to be fast. */
const MAX_EXAMPLES = 4096;
/** Maximum depth of nested values to hash. */
const MAX_DEPTH = 8;

/**
 * Returns a short fingerprint of examples, their number and the seed of their order. A function or symbol contributes
 * only its type. An instance of a class contributes the class name and its enumerable properties.
 */
export function exampleFingerprint(examples: readonly unknown[], seed: number): string {
  const hash = createHash("sha256");
  const step = Math.max(1, Math.ceil(examples.length / MAX_EXAMPLES));
  for (let i = 0; i < examples.length; i += step) add(hash, examples[i], 0);
  return `${examples.length} rows ${hash.digest("hex").slice(0, 16)}, seed ${seed}`;
}

function add(hash: Hash, value: unknown, depth: number): void {
  if (ArrayBuffer.isView(value)) {
    hash.update(`${value.constructor.name} ${value.byteLength};`);
    hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  } else if (typeof value !== "object" || value === null) {
    hash.update(
      typeof value === "function" || typeof value === "symbol" ? `${typeof value};` : `${typeof value} ${value};`,
    );
  } else if (depth === MAX_DEPTH) {
    hash.update("…;");
  } else if (Array.isArray(value)) {
    hash.update(`[${value.length};`);
    for (const item of value) add(hash, item, depth + 1);
  } else {
    const entries =
      value instanceof Map ? [...value] : value instanceof Set ? [...value].entries() : Object.entries(value);
    hash.update(`${value.constructor?.name ?? ""}{`);
    for (const [key, item] of entries) {
      add(hash, key, depth + 1);
      add(hash, item, depth + 1);
    }
    hash.update("}");
  }
}
