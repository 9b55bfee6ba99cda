import { Tensor } from "../../graph/index.ts";
import { sameShape } from "../../graph/value.ts";
import { type CacheLayout, cacheTensors } from "../../models/cache-shape.ts";
import type { ModelView } from "../../models/model-view.ts";
import type { PageCopy } from "./page-pool.ts";

/** The tensors of a KV cache at one capacity. */
export class CacheStore {
  readonly capacity: number;
  /**
   * Tensors by name. Each is (slots, heads, rows, width), or (pages, heads, page size, width) if paged. Sliding layers
   * may have fewer rows than the capacity.
   */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Names of the paged tensors. */
  private readonly paged: ReadonlySet<string>;

  private constructor(capacity: number, tensors: ReadonlyMap<string, Tensor>, paged: ReadonlySet<string>) {
    this.capacity = capacity;
    this.tensors = tensors;
    this.paged = paged;
  }

  static allocate(model: ModelView, layout: CacheLayout): CacheStore {
    const tensors = cacheTensors(model, layout);
    return new CacheStore(
      layout.capacity,
      new Map(tensors.map(({ name, dtype, shape }) => [name, Tensor.zeros(model.device, dtype, shape)])),
      new Set(tensors.filter(({ paged }) => paged).map(({ name }) => name)),
    );
  }

  /**
   * Whether the store is large enough for a layout, and has the tensors that `allocate` would make for the layout at
   * the store's capacity.
   */
  fits(model: ModelView, layout: CacheLayout): boolean {
    const tensors = cacheTensors(model, { ...layout, capacity: this.capacity });
    return (
      this.capacity >= layout.capacity &&
      tensors.length === this.tensors.size &&
      tensors.every(({ name, dtype, shape }) => {
        const own = this.tensors.get(name);
        return own?.dtype === dtype && sameShape(own.shape, shape);
      })
    );
  }

  /** Whether any layer is paged. */
  get hasPages(): boolean {
    return this.paged.size > 0;
  }

  get bytes(): number {
    let n = 0;
    for (const t of this.tensors.values()) n += t.bytes;
    return n;
  }

  /**
   * Returns a larger store with the same content. It takes over tensors whose shape stays the same, and frees the others.
   * @param lengths number of tokens in each slot
   */
  async grown(model: ModelView, layout: CacheLayout, lengths: readonly number[]): Promise<CacheStore> {
    const tensors = new Map<string, Tensor>();
    for (const { name, dtype, shape: dims } of cacheTensors(model, layout)) {
      const before = this.tensors.get(name)!;
      const same = sameShape(before.shape, dims);
      tensors.set(name, same ? before : Tensor.zeros(model.device, dtype, dims));
    }
    for (const [name, to] of tensors) {
      const from = this.tensors.get(name)!;
      if (from === to) continue;
      if (this.paged.has(name)) await to.writeOwn(await from.read(0, from.elements), 0);
      else for (const [slot, length] of lengths.entries()) await copyRows(from, to, { from: slot, to: slot, length });
      from.dispose();
    }
    return new CacheStore(layout.capacity, tensors, this.paged);
  }

  /**
   * Copies the rows of a slot's first `length` tokens to a slot of `to`, except in paged layers. Sliding layers of `to` must have the same
   * number of rows, and other layers enough rows.
   */
  async copySlot(to: CacheStore, slots: { from: number; to: number; length: number }): Promise<void> {
    for (const [name, t] of this.tensors) if (!this.paged.has(name)) await copyRows(t, to.tensors.get(name)!, slots);
  }

  async copyPage({ from, to }: PageCopy): Promise<void> {
    for (const name of this.paged) {
      const t = this.tensors.get(name)!;
      const elements = t.elements / t.shape[0]!;
      await t.writeOwn(await t.read(from * elements, elements), to * elements);
    }
  }

  /** Returns the number of rows per head that hold `length` tokens. */
  rowsOf(name: string, length: number): number {
    return Math.min(length, this.tensors.get(name)!.shape[2]!);
  }

  /** Reads a slot's rows of one tensor, (heads, rows, width), one head at a time. */
  async *readSlot(name: string, slot: number, length: number): AsyncGenerator<Uint8Array> {
    const { tensor, heads, headBytes, bytes } = this.extent(name, length);
    for (let head = 0; head < heads; head++) yield tensor.readBytes((slot * heads + head) * headBytes, bytes);
  }

  /**
   * Writes rows in the order of `readSlot`.
   * @param read returns bytes at an offset into the (heads, rows, width) data
   */
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

/** Maximum size of a store that is kept for the next cache. */
const MAX_SPARE_BYTES = 64 * 2 ** 20;

/**
 * Keeps the memory of a finished cache for the next one of the same shape, because new memory must be cleared by the system. Stale rows
 * are harmless: no run reads rows that were not written since the cache was empty.
 */
export class SpareStore {
  private store: CacheStore | undefined;
  private closed = false;

  /** Returns the kept store if it fits a layout, and frees it otherwise. */
  take(model: ModelView, layout: CacheLayout): CacheStore | undefined {
    const { store } = this;
    this.store = undefined;
    if (store?.fits(model, layout)) return store;
    store?.dispose();
    return undefined;
  }

  /** Keeps a store for the next cache. Frees it if it is paged or too large, or after disposal. */
  leave(store: CacheStore): void {
    const kept = !this.closed && !store.hasPages && store.bytes <= MAX_SPARE_BYTES;
    (kept ? this.store : store)?.dispose();
    if (kept) this.store = store;
  }

  dispose(): void {
    this.closed = true;
    this.store?.dispose();
    this.store = undefined;
  }
}

/** Copies the rows of every head that hold the first `length` positions. In a full ring buffer, these are all rows. */
async function copyRows(from: Tensor, to: Tensor, slots: { from: number; to: number; length: number }): Promise<void> {
  const [, heads, rows, width] = from.shape as [number, number, number, number];
  const count = Math.min(slots.length, rows) * width;
  if (count === 0) return;
  for (let head = 0; head < heads; head++) {
    const data = await from.read((slots.from * heads + head) * rows * width, count);
    await to.write(data, (slots.to * heads + head) * to.shape[2]! * width);
  }
}
