import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { raceAbort } from "../../core/race-abort.ts";
import type { AbortFlag } from "../../graph/compile.ts";
import type { Inputs, Outputs, Results, Tensor } from "../../graph/index.ts";
import {
  type CacheDType,
  type CacheLayout,
  type CacheShape,
  defaultCacheDtype,
  layerCache,
  MAX_SEGMENT_ROWS,
} from "../../models/cache-shape.ts";
import type { ModelView } from "../../models/model-view.ts";
import { keysKeepLength, ropeRegime, turnsByLength } from "../../models/rope-frequencies.ts";
import { BoundModel, type ProgramMaker, type RunShape } from "../bound-model.ts";
import { rowData, type Segment } from "../row-data.ts";
import { CacheStore, type SpareStore } from "./cache-store.ts";
import { PagePool } from "./page-pool.ts";
import { Slots } from "./slots.ts";

/** Rows of one prefill run: enough to amortise reading the weights, few enough to keep the arena small. */
export const PREFILL_ROWS = MAX_SEGMENT_ROWS;
/** Minimum capacity of a cache, in positions. */
const SMALLEST_CAPACITY = 256;
/** Number of positions that a slot of a paged cache starts with. */
const SMALLEST_PART = 64;

/**
 * Returns the capacity for sequences of `length`. It is a power of two, or the context length if that is smaller, so that few
 * programs serve all lengths.
 */
export function cacheCapacity(length: number, contextLength: number): number {
  let capacity = SMALLEST_CAPACITY;
  while (capacity < length) capacity *= 2;
  return Math.min(capacity, contextLength);
}

/** The content of one slot of a cache. */
export interface CacheState {
  ids: readonly number[];
  /** Length of the sequence that the rows were computed for. */
  length: number;
  /** Number of positions written since the slot was empty. */
  written: number;
  contextLength: number;
  dtype: CacheDType;
  adapters: readonly string[];
  store: CacheStore;
}

/**
 * Keys and values of several sequences (slots) on the device, and their ids. Memory is committed as it is written. The capacity doubles as
 * sequences grow, up to the context length. Sliding layers hold only their window and the rows of one run. With a page size, slots take
 * pages from a shared store. Short sequences then take no more than they need, and common prefixes are stored once.
 */
export class KvCache {
  private readonly bound: BoundModel;
  readonly slots: number;
  /** Maximum number of tokens per sequence. */
  readonly contextLength: number;
  readonly dtype: CacheDType;
  private store: CacheStore;
  private readonly sequences: Slots;
  private readonly pool: PagePool | undefined;
  private readonly spare: SpareStore | undefined;
  private live = true;
  /** Whether a run has failed with an error other than an abort. */
  private failed = false;

  constructor(
    model: ModelView,
    options: {
      slots: number;
      contextLength: number;
      /** Default: the model's (defaultCacheDtype). */
      dtype?: CacheDType;
      capacity?: number | undefined;
      /** Default: the model's active ones. */
      adapters?: readonly string[] | undefined;
      /** Positions per page. Default: separate rows for each slot. Paged caches cannot be forked or saved. */
      pageSize?: number | undefined;
      /** Memory to reuse, if any. The cache's memory is returned to it on disposal, unless a run has failed. */
      spare?: SpareStore | undefined;
    },
  ) {
    this.bound = new BoundModel(model, options.adapters);
    this.slots = options.slots;
    this.contextLength = options.contextLength;
    this.dtype = options.dtype ?? defaultCacheDtype(model);
    const capacity = cacheCapacity(options.capacity ?? 0, this.contextLength);
    const size = options.pageSize;
    if (size !== undefined) this.pool = new PagePool(size, this.slots, this.slots * Math.ceil(SMALLEST_PART / size));
    this.spare = options.spare;
    const layout = this.layout(capacity);
    this.store = (this.pool ? undefined : this.spare?.take(model, layout)) ?? CacheStore.allocate(model, layout);
    this.sequences = new Slots(this.slots);
  }

  /** The model's state that runs use, from when the cache was made or last renewed. */
  get model(): ModelView {
    return this.bound.model;
  }

  /** Names of the adapters that runs use. */
  get adapters(): readonly string[] {
    return this.bound.adapters;
  }

  /** Whether `model` would now compute the same content with these adapters. Default: the active adapters. */
  isOf(model: ModelView, adapters?: readonly string[]): boolean {
    return this.bound.isOf(model, adapters);
  }

  /**
   * Switches to the current state of a model and drops everything computed with other weights or adapters. No run may be pending.
   * @throws HeddleError NOT_FOUND for an adapter that was removed, DISPOSED. The cache does not change in that case.
   */
  renew(model: ModelView, adapters?: readonly string[]): void {
    this.assertLive();
    const stays = this.bound.isOf(model, adapters);
    this.bound.renew(model, adapters);
    if (!stays) for (let slot = 0; slot < this.slots; slot++) this.keep(slot, 0);
  }

  /** Number of tokens that each slot has memory for. */
  get capacity(): number {
    return this.store.capacity;
  }

  get shape(): CacheShape {
    return { ...this.layout(this.store.capacity), adapters: this.adapters };
  }

  get tensors(): ReadonlyMap<string, Tensor> {
    return this.store.tensors;
  }

  private layout(capacity: number, count = this.pool?.count ?? 0): CacheLayout {
    const { slots, dtype, contextLength: context, pool } = this;
    return { slots, capacity, dtype, context, pages: pool && { size: pool.size, count } };
  }

  /** Returns the ids whose keys and values a slot holds. */
  ids(slot: number): readonly number[] {
    return this.sequences.at(slot).ids;
  }

  /**
   * Drops a slot's content after its first `length` ids. If `length` lies within a shared page, it drops the whole
   * page. If a sliding layer no longer has the window before `length`, it drops everything.
   */
  truncate(slot: number, length: number): void {
    if (length >= this.ids(slot).length) return;
    const kept = this.pool?.cut(slot, length) ?? length;
    this.keep(slot, this.holdsWindow(slot, kept) ? kept : 0);
  }

  /** Drops the content of all slots. */
  clear(): void {
    for (let slot = 0; slot < this.slots; slot++) this.truncate(slot, 0);
  }

  /**
   * Drops a slot's content if it is only the beginning of a longer sequence and RoPE scaling is dynamic. The keys were rotated for the
   * longer sequence's length, so no other sequence can use them.
   */
  dropBeginning(slot: number): void {
    const { ids, length } = this.sequences.at(slot);
    if (keysKeepLength(this.model.config) && ids.length < length) this.keep(slot, 0);
  }

  private keep(slot: number, length: number): void {
    this.sequences.keep(slot, length);
    this.pool?.truncate(slot, length);
  }

  /** Whether every sliding layer has the keys that a query at position `length` sees. */
  private holdsWindow(slot: number, length: number): boolean {
    const { config } = this.model;
    const { written } = this.sequences.at(slot);
    return config.layerTypes.every((_, layer) => {
      const { rows, ring } = layerCache(config, layer, this.layout(this.store.capacity));
      // The last `rows` positions written still exist. A query at position `length` sees the keys from length - ring + 1 on.
      return ring === 0 || Math.max(0, length - ring + 1) >= written - rows;
    });
  }

  /**
   * Prepares a slot for a sequence of `length`. Clears the slot if RoPE's frequencies differ at the new length
   * (longrope), because they no longer match the cached keys.
   */
  fit(slot: number, length: number): void {
    const { config } = this.model;
    const sequence = this.sequences.at(slot);
    if (sequence.ids.length > 0 && ropeRegime(config, length) !== ropeRegime(config, sequence.length))
      this.keep(slot, 0);
    sequence.length = length;
  }

  /** Returns the longest prefix of `ids` that can follow `length` tokens without a change of RoPE's frequencies: see `fit`. */
  sameRotation(length: number, ids: readonly number[]): number[] {
    const { config } = this.model;
    let count = ids.length;
    while (count > 0 && ropeRegime(config, length + count) !== ropeRegime(config, length)) count--;
    return ids.slice(0, count);
  }

  /** Size of the tensors at their present capacity in bytes. The system commits memory as it is written. */
  get bytes(): number {
    return this.store.bytes;
  }

  /** Makes room for `length` tokens in each slot. @throws CONTEXT_OVERFLOW beyond the context length */
  async reserve(length: number): Promise<void> {
    this.assertLive();
    if (length > this.contextLength)
      throw new HeddleError(
        "CONTEXT_OVERFLOW",
        `context: expected at most ${this.contextLength} tokens, got ${length}`,
      );
    if (length <= this.store.capacity) return;
    await this.grow(cacheCapacity(Math.max(length, 2 * this.store.capacity), this.contextLength));
  }

  /**
   * Whether a part of a prompt may be queued while another part runs. Paged caches do not allow it, because pages may have to be
   * allocated. Sliding layers do not allow it: they store a window and the rows of one run, so aborting two runs could lose rows of the
   * window.
   */
  get takesRunsAhead(): boolean {
    const { config } = this.model;
    const layout = this.layout(this.store.capacity);
    return !this.pool && config.layerTypes.every((_, layer) => layerCache(config, layer, layout).ring === 0);
  }

  private async grow(capacity: number, pages?: number): Promise<void> {
    if (this.sequences.isBusy) throw new HeddleError("INTERNAL", "cache: expected no pending run while it grows");
    this.bound.unbind();
    this.store = await this.store.grown(this.model, this.layout(capacity, pages), this.sequences.lengths);
  }

  /** Reserves pages in addition to those that every slot may need for its next token. No run may be pending. */
  private async reservePages(count: number): Promise<void> {
    const { pool } = this;
    if (!pool || pool.available >= count + this.slots) return;
    const pages = Math.max(2 * pool.count, pool.count - pool.available + count + this.slots);
    await this.grow(this.store.capacity, pages);
    pool.grow(pages); // grows only after memory for the pages exists
  }

  /** Number of pages that slots hold, for a paged cache. */
  get pagesInUse(): number {
    return this.pool ? this.pool.count - this.pool.available : 0;
  }

  /** A lower bound of the number of tokens that every slot can take before new pages must be allocated. */
  get pagesAhead(): number {
    if (!this.pool) return Number.POSITIVE_INFINITY;
    return this.pool.available >= this.slots ? this.pool.size : 0;
  }

  /**
   * Copies the first `length` ids of a slot, with their keys and values, to another slot.
   * @returns false, and changes nothing, if a sliding layer no longer has the window before `length`
   */
  async copySlot(from: number, to: number, length: number): Promise<boolean> {
    this.assertLive();
    if (!this.holdsWindow(from, length)) return false;
    this.keep(to, 0);
    await this.reservePages(1);
    const copy = this.pool?.share(from, to, length);
    if (copy) await this.store.copyPage(copy);
    await this.store.copySlot(this.store, { from, to, length });
    const source = this.sequences.at(from);
    this.sequences.take(to, { ...source, ids: source.ids.slice(0, length) });
    return true;
  }

  /** The content of slot 0, for saving. */
  get state(): CacheState {
    this.assertUnpaged();
    const { contextLength, dtype, adapters, store } = this;
    const { ids, length, written } = this.sequences.at(0);
    return { ids, length, written, contextLength, dtype, adapters, store };
  }

  /** Restores a cache with one slot from a file's state. @param fill writes the slot's rows */
  static async restore(
    model: ModelView,
    state: Omit<CacheState, "store">,
    capacity: number,
    fill: (store: CacheStore) => Promise<void>,
  ): Promise<KvCache> {
    const { contextLength, dtype, adapters } = state;
    const cache = new KvCache(model, { slots: 1, contextLength, dtype, adapters, capacity });
    try {
      await fill(cache.store);
    } catch (error) {
      cache.dispose();
      throw error;
    }
    cache.sequences.take(0, state);
    return cache;
  }

  /** Returns a cache with one slot that holds the content of `slot`. */
  async fork(slot = 0): Promise<KvCache> {
    this.assertLive();
    this.assertUnpaged();
    const { ids, ...sequence } = this.sequences.at(slot);
    const held = [...ids];
    const { model, contextLength, dtype, adapters } = this;
    const copy = new KvCache(model, { slots: 1, contextLength, dtype, capacity: this.store.capacity, adapters });
    try {
      await this.store.copySlot(copy.store, { from: slot, to: 0, length: held.length });
    } catch (error) {
      copy.dispose();
      this.assertLive(); // if the cache was disposed during the copy, throws DISPOSED instead
      throw error;
    }
    copy.sequences.take(0, { ...sequence, ids: held });
    return copy;
  }

  /**
   * Runs `program` over new rows of some sequences. On success, the slots' content grows by the segments' ids. After an
   * error or an abort, it is unchanged.
   */
  async run(
    program: ProgramMaker,
    segments: readonly Segment[],
    options: { shape: RunShape; inputs?: Inputs; signal?: AbortSignal | undefined },
  ): Promise<Outputs<Results>> {
    throwIfAborted(options.signal);
    const { pool } = this;
    if (pool) await this.reservePages(segments.reduce((n, s) => n + pool.missing(s.slot, this.end(s)), 0));
    const { outputs, done } = this.start(program, segments, options);
    await done;
    return outputs;
  }

  /**
   * Like `run`, but does not wait. The next run may be started before this one ends, and may take this run's outputs as inputs.
   * @param options.flag aborts the run, so that `done` rejects with ABORTED
   * @param options.late names of the inputs that are outputs of an earlier run, which may be pending
   * @param options.series makes `runs` consecutive runs, in which each segment has one id. Every run but the first takes the previous run's
   * output `token` as its ids. The inputs named in `each`, and the outputs, hold the data of all runs, end to end.
   */
  start(
    program: ProgramMaker,
    segments: readonly Segment[],
    options: {
      shape: RunShape;
      inputs?: Inputs;
      signal?: AbortSignal | undefined;
      flag?: AbortFlag;
      late?: readonly string[];
      series?: { runs: number; each: readonly string[] } | undefined;
    },
  ): { outputs: Outputs<Results>; done: Promise<void> } {
    this.assertLive();
    this.model.assertLive();
    const { shape, inputs = {}, signal, flag, late, series } = options;
    const runs = series?.runs ?? 1;
    for (const s of segments) this.pool?.extend(s.slot, this.end(s) + runs - 1);
    const executable = this.bound.executable(program, shape, this);
    const rows = this.rowData(segments, runs);
    // A family without attention has no cache, and so no pages.
    const pages = executable.program.inputNames.has("pages") ? this.pageInputs() : {};
    const given = { ids: rows.ids, ...rows.each, ...pages, ...inputs };
    const begins = segments.map(({ slot }) => this.planned(slot));
    const { outputs, done } = executable.start(given, {
      ...{ signal, flag, late },
      series: series && { count: runs, each: [...Object.keys(rows.each), ...series.each], feed: { ids: "token" } },
    });
    this.sequences.begin(segments, runs);
    return { outputs, done: this.settled(raceAbort(done, signal), segments, begins, runs, outputs) };
  }

  private async settled(
    done: Promise<void>,
    segments: readonly Segment[],
    begins: readonly number[],
    runs: number,
    { token }: Outputs<Results>,
  ): Promise<void> {
    try {
      await done;
      this.sequences.hold(segments, begins, { runs, tokens: token });
    } catch (error) {
      if (!(error instanceof HeddleError && error.code === "ABORTED")) this.failed = true;
      throw error;
    } finally {
      this.sequences.end(segments, runs);
    }
  }

  /** Runs a program that reads no cache and chooses from given logits. */
  async runChoice(
    program: ProgramMaker,
    inputs: Inputs,
    shape: RunShape,
    signal?: AbortSignal,
  ): Promise<Outputs<Results>> {
    this.assertLive();
    const executable = this.bound.executable(program, shape, this);
    return raceAbort(executable.run(inputs, { signal }), signal);
  }

  /** Returns the number of tokens in a slot after pending runs have ended. */
  planned(slot: number): number {
    return this.sequences.planned(slot);
  }

  /** Returns the number of tokens in a slot after a segment. */
  private end({ slot, ids }: Segment): number {
    return this.planned(slot) + ids.length;
  }

  private rowData(segments: readonly Segment[], runs: number) {
    const turns = turnsByLength(this.model.config);
    return rowData(segments, (slot) => this.planned(slot), { turns, runs });
  }

  private pageInputs(): Inputs {
    const { pool, store } = this;
    return pool && store.hasPages ? { pages: pool.table(Math.ceil(store.capacity / pool.size)) } : {};
  }

  private assertUnpaged(): void {
    if (this.pool) throw new HeddleError("INTERNAL", "cache: expected an unpaged cache, got a paged one");
  }

  assertLive(): void {
    if (!this.live) throw new HeddleError("DISPOSED", "session: used after dispose()");
  }

  /**
   * @param whole whether the caller ended without an error. If, in addition, no run has failed, the rows hold no NaN, and the next cache
   * may reuse the memory.
   */
  dispose(whole = false): void {
    if (!this.live) return;
    this.live = false;
    this.bound.release();
    if (whole && !this.failed && this.spare && !this.pool) this.spare.leave(this.store);
    else this.store.dispose();
  }
}
