/** A page to copy into another page, which the slot may then write. */
export interface PageCopy {
  from: number;
  to: number;
}

/**
 * Maps positions of slots to pages of a cache (Kwon et al. 2023, "PagedAttention"). Pages are reference-counted by slots and freed when
 * unused. Only whole pages of a prefix are shared, so a shared page is never written.
 */
export class PagePool {
  /** Number of positions per page. */
  readonly size: number;
  /** Number of slots that hold each page. */
  private readonly readers: number[] = [];
  private readonly free: number[] = [];
  /** Pages of each slot, in order of positions. */
  private readonly held: number[][];

  constructor(size: number, slots: number, count: number) {
    this.size = size;
    this.held = Array.from({ length: slots }, () => []);
    this.grow(count);
  }

  /** Total number of pages. */
  get count(): number {
    return this.readers.length;
  }
  get available(): number {
    return this.free.length;
  }

  /** Adds pages until there are `count`. */
  grow(count: number): void {
    const before = this.count;
    for (let page = before; page < count; page++) this.readers.push(0);
    for (let page = count - 1; page >= before; page--) this.free.push(page);
  }

  /** Returns the number of pages that a slot lacks for `length` positions. */
  missing(slot: number, length: number): number {
    return Math.max(0, Math.ceil(length / this.size) - this.held[slot]!.length);
  }

  /** Takes the pages that a slot lacks for `length` positions. Enough free pages must exist. */
  extend(slot: number, length: number): void {
    for (let n = this.missing(slot, length); n > 0; n--) this.held[slot]!.push(this.take());
  }

  /**
   * Returns the length of the longest prefix, of at most `length` positions, after which a slot may write. A shared page is kept as a
   * whole or not at all.
   */
  cut(slot: number, length: number): number {
    const last = this.held[slot]![Math.floor(length / this.size)];
    if (length % this.size === 0 || last === undefined || this.readers[last] === 1) return length;
    return length - (length % this.size);
  }

  /** Releases the pages after a slot's first `length` positions. */
  truncate(slot: number, length: number): void {
    for (const page of this.held[slot]!.splice(Math.ceil(length / this.size))) this.drop(page);
  }

  /**
   * Makes the empty slot `to` read the first `length` positions of slot `from`. Whole pages are shared.
   * @returns the page to copy if `length` ends within a page, else undefined
   */
  share(from: number, to: number, length: number): PageCopy | undefined {
    const whole = Math.floor(length / this.size);
    for (const page of this.held[from]!.slice(0, whole)) {
      this.readers[page]!++;
      this.held[to]!.push(page);
    }
    if (length % this.size === 0) return undefined;
    const page = this.take();
    this.held[to]!.push(page);
    return { from: this.held[from]![whole]!, to: page };
  }

  /** Returns the page table, (slots, entries), that the program reads. An entry without a page is -1. */
  table(entries: number): Int32Array {
    const table = new Int32Array(this.held.length * entries).fill(-1);
    for (const [slot, pages] of this.held.entries()) table.set(pages.slice(0, entries), slot * entries);
    return table;
  }

  private take(): number {
    const page = this.free.pop()!;
    this.readers[page] = 1;
    return page;
  }

  private drop(page: number): void {
    if (--this.readers[page]! === 0) this.free.push(page);
  }
}
