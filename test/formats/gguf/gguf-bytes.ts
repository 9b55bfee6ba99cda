// Builds valid and invalid GGUF files from parts.
import { text, u32, u64 } from "../helpers.ts";

export interface Parts {
  magic?: string;
  version?: number;
  tensorCount?: bigint | number;
  keyCount?: bigint | number;
  keys?: Buffer[];
  tensors?: Buffer[];
  data?: Buffer;
}

/** Builds a GGUF file. Counts match the parts unless given. */
export function gguf({ magic = "GGUF", version = 3, keys = [], tensors = [], data, ...counts }: Parts = {}): Buffer {
  const head = Buffer.concat([
    Buffer.from(magic),
    u32(version),
    u64(counts.tensorCount ?? tensors.length),
    u64(counts.keyCount ?? keys.length),
    ...keys,
    ...tensors,
  ]);
  if (data === undefined) return head;
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), data]);
}

export const key = (name: string, type: number, ...body: Buffer[]) => Buffer.concat([text(name), u32(type), ...body]);
export const tensor = (name: string, dims: (bigint | number)[], type = 0, offset: bigint | number = 0) =>
  Buffer.concat([text(name), u32(dims.length), ...dims.map((d) => u64(d)), u32(type), u64(offset)]);
export const array = (of: number, length: bigint | number, ...body: Buffer[]) =>
  Buffer.concat([u32(of), u64(length), ...body]);
