import { Tensor } from "../graph/index.ts";
import { type CacheDType, cacheTensors } from "../models/cache-shape.ts";
import type { Model } from "../models/model.ts";

/** The tensors of a KV cache at one capacity. */
export class CacheStore {
  readonly capacity: number;
  /** By name, each (slots, heads, rows, width): a sliding layer's rows are fewer than the capacity. */
  readonly tensors: ReadonlyMap<string, Tensor>;

  private constructor(capacity: number, tensors: ReadonlyMap<string, Tensor>) {
    this.capacity = capacity;
    this.tensors = tensors;
  }

  static allocate(model: Model, shape: { slots: number; capacity: number; dtype: CacheDType }): CacheStore {
    const tensors = cacheTensors(model, shape);
    return new CacheStore(
      shape.capacity,
      new Map(tensors.map(({ name, dtype, shape }) => [name, Tensor.zeros(model.device, dtype, shape)])),
    );
  }

  get bytes(): number {
    let n = 0;
    for (const t of this.tensors.values()) n += t.bytes;
    return n;
  }

  /**
   * A larger one with the same content; layers that need no more rows keep their tensors, the others' are freed.
   * @param lengths what each slot holds
   */
  async grown(
    model: Model,
    shape: { slots: number; capacity: number; dtype: CacheDType },
    lengths: readonly number[],
  ): Promise<CacheStore> {
    const tensors = new Map<string, Tensor>();
    for (const { name, dtype, shape: dims } of cacheTensors(model, shape)) {
      const before = this.tensors.get(name)!;
      const same = before.shape[2] === dims[2];
      tensors.set(name, same ? before : Tensor.zeros(model.device, dtype, dims));
    }
    for (const [name, to] of tensors) {
      const from = this.tensors.get(name)!;
      if (from === to) continue;
      for (const [slot, length] of lengths.entries()) await copyRows(from, to, { from: slot, to: slot, length });
      from.dispose();
    }
    return new CacheStore(shape.capacity, tensors);
  }

  /** Copies what a slot holds of `length` tokens to a slot of `to`, whose layers have as many rows or, of all, enough. */
  async copySlot(to: CacheStore, slots: { from: number; to: number; length: number }): Promise<void> {
    for (const [name, t] of this.tensors) await copyRows(t, to.tensors.get(name)!, slots);
  }

  /** How many rows of a tensor's heads hold `length` tokens. */
  rowsOf(name: string, length: number): number {
    return Math.min(length, this.tensors.get(name)!.shape[2]!);
  }

  /** A slot's rows of one tensor, (heads, rows, width), a head at a time. */
  async *readSlot(name: string, slot: number, length: number): AsyncGenerator<Uint8Array> {
    const { tensor, heads, headBytes, bytes } = this.extent(name, length);
    for (let head = 0; head < heads; head++) yield tensor.readBytes((slot * heads + head) * headBytes, bytes);
  }

  /** The opposite of readSlot. @param read the bytes from an offset in (heads, rows, width) on */
  async writeSlot(
    name: string,
    slot: number,
    length: number,
    read: (offset: number, bytes: number) => Uint8Array,
  ): Promise<void> {
    const { tensor, heads, headBytes, bytes } = this.extent(name, length);
    if (bytes === 0) return;
    for (let head = 0; head < heads; head++)
      await tensor.writeBytes(read(head * bytes, bytes), (slot * heads + head) * headBytes);
  }

  private extent(name: string, length: number) {
    const tensor = this.tensors.get(name)!;
    const [slots, heads, rows] = tensor.shape as [number, number, number, number];
    const headBytes = tensor.bytes / (slots * heads);
    return { tensor, heads, headBytes, bytes: (headBytes / rows) * this.rowsOf(name, length) };
  }

  dispose(): void {
    for (const t of this.tensors.values()) t.dispose();
  }
}

/** Copies the rows of every head that hold the first `length` positions: all rows of a ring that is full. */
async function copyRows(from: Tensor, to: Tensor, slots: { from: number; to: number; length: number }): Promise<void> {
  const [, heads, rows, width] = from.shape as [number, number, number, number];
  const count = Math.min(slots.length, rows) * width;
  if (count === 0) return;
  for (let head = 0; head < heads; head++) {
    const data = await from.read((slots.from * heads + head) * rows * width, count);
    await to.write(data, (slots.to * heads + head) * to.shape[2]! * width);
  }
}
