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
