// A model folder with fp8 layer weights, in the format of DeepSeek and Qwen.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { quantizeFp8 } from "../../lib/formats/fp8.ts";
import { openSafetensors } from "../../lib/formats/safetensors/safetensors.ts";
import { openDevice } from "../../lib/graph/index.ts";

export interface RawTensor {
  dtype: string;
  shape: readonly number[];
  bytes: Uint8Array;
}

/** Writes a safetensors file with tensors of any stored type. */
export function rawSafetensors(tensors: ReadonlyMap<string, RawTensor>): Uint8Array {
  let at = 0;
  const header = Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, bytes }]) => {
      const begin = at;
      at += bytes.length;
      return [name, { dtype, shape, data_offsets: [begin, at] }];
    }),
  );
  const text = Buffer.from(JSON.stringify(header).padEnd(8 * Math.ceil(JSON.stringify(header).length / 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...[...tensors.values()].map(({ bytes }) => bytes)]);
}

/**
 * Rewrites a folder's f32 model.safetensors: `…_proj.weight` becomes F8_E4M3 with `…_scale_inv`. Scales are powers of two, so that bf16
 * represents the dequantized values exactly.
 */
export async function makeFp8(
  folder: string,
  change: (tensors: Map<string, RawTensor>) => void = () => {},
): Promise<void> {
  const path = join(folder, "model.safetensors");
  const { file, entries } = openSafetensors(path);
  const tensors = new Map<string, RawTensor>();
  for (const [name, { storedDtype, shape, offset, bytes }] of entries) {
    const stored = new Uint8Array(file.bytes(offset, bytes)).slice();
    if (!name.endsWith("_proj.weight")) {
      tensors.set(name, { dtype: storedDtype, shape, bytes: stored });
      continue;
    }
    const [rows, columns] = shape as [number, number];
    const made = await quantizeFp8(openDevice({ device: "cpu" }), new Float32Array(stored.buffer), rows, columns);
    const scales = new Float32Array(made.scales.buffer).map((s) => 2 ** Math.round(Math.log2(s)));
    tensors.set(name, { dtype: "F8_E4M3", shape, bytes: made.bytes });
    tensors.set(`${name}_scale_inv`, {
      dtype: "F32",
      shape: [Math.ceil(rows / 128), Math.ceil(columns / 128)],
      bytes: new Uint8Array(scales.buffer),
    });
  }
  file.close();
  change(tensors);
  writeFileSync(path, rawSafetensors(tensors));
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  config.quantization_config = {
    quant_method: "fp8",
    fmt: "e4m3",
    activation_scheme: "dynamic",
    weight_block_size: [128, 128],
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
}
