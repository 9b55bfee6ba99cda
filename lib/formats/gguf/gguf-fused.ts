// Splits fused q, k and v matrices (`attn_qkv`) for families whose models have three separate matrices. The parts are
// ranges of the file, without a copy.
import { HeddleError } from "../../core/errors.ts";
import type { ModelConfig } from "../config/config.ts";
import type { StoredTensor, TensorInfo, WeightSource } from "../weights.ts";
import { huggingFaceName } from "./gguf-names.ts";

const PARTS = ["q", "k", "v"] as const;

interface Part {
  whole: string;
  /** First row in the fused matrix. */
  from: number;
  rows: number;
}

/** Presents `blk.N.attn_qkv` as `blk.N.attn_q`, `attn_k` and `attn_v`. @throws HeddleError INVALID_FILE */
export function splitFused(weights: WeightSource, config: ModelConfig): WeightSource {
  const { modelType, numAttentionHeads, numKeyValueHeads, headDim } = config;
  if (huggingFaceName("blk.0.attn_qkv.weight", modelType) !== undefined) return weights;
  const parts = new Map<string, Part>();
  const names = weights.names().flatMap((whole) => {
    const match = /^(blk\.[0-9]{1,4}\.attn_)qkv(\.(?:weight|bias))$/.exec(whole);
    if (!match) return [whole];
    const rows = [numAttentionHeads, numKeyValueHeads, numKeyValueHeads].map((heads) => heads * headDim);
    const all = rows.reduce((a, b) => a + b, 0);
    const [got] = weights.info(whole).shape;
    if (got !== all)
      throw new HeddleError(
        "INVALID_FILE",
        `${weights.path}: tensor ${JSON.stringify(whole)}: expected ${all} rows by the configuration, got ${got}`,
      );
    let from = 0;
    return PARTS.map((part, i) => {
      const name = `${match[1]}${part}${match[2]}`;
      if (weights.has(name))
        throw new HeddleError("INVALID_FILE", `${weights.path}: expected ${whole} or ${name}, got both`);
      parts.set(name, { whole, from, rows: rows[i]! });
      from += rows[i]!;
      return name;
    });
  });
  if (parts.size === 0) return weights;
  const partOf = <T extends TensorInfo>(name: string, { from, rows }: Part, stored: T): T & { before: number } => {
    const [all, ...inner] = stored.shape as [number, ...number[]];
    const row = stored.bytes / all;
    return { ...stored, name, shape: [rows, ...inner], bytes: rows * row, before: from * row };
  };
  return {
    ...weights,
    names: () => names,
    has: (name) => parts.has(name) || (weights.has(name) && !isWhole(name)),
    info(name) {
      const part = parts.get(name);
      if (!part) return weights.info(name);
      const { before: _, ...info } = partOf(name, part, weights.info(part.whole));
      return info;
    },
    tensor(name): StoredTensor {
      const part = parts.get(name);
      if (!part) return weights.tensor(name);
      const { before, ...stored } = partOf(name, part, weights.tensor(part.whole));
      return { ...stored, offset: stored.offset + before };
    },
  };
}

function isWhole(name: string): boolean {
  return /^blk\.[0-9]{1,4}\.attn_qkv\./.test(name);
}
