import { getHeapStatistics } from "node:v8";

/** Approximate bytes of memory per character of parsed JSON in the worst case, an array of empty objects (`{},`). */
export const JSON_BYTES = 20;

/** Returns how many characters of JSON may be parsed at once, so that their values take at most half of the heap limit. */
export function mostJson(): number {
  return Math.floor(new Memory().left / JSON_BYTES);
}

/**
 * A memory budget for decompression. A few compressed bytes may expand beyond the heap, and running out of heap ends the process. The
 * budget is half of the heap limit, because the rest of the program needs the other half.
 */
export class Memory {
  left = Math.floor(getHeapStatistics().heap_size_limit / 2);

  /** Reserves bytes. Call it with an estimate before decompressing. @throws Error */
  take(bytes: number): void {
    this.need(bytes);
    this.left -= bytes;
  }

  /** Checks that the budget has room for memory that is needed only temporarily. @throws Error */
  need(bytes: number): void {
    if (bytes > this.left)
      throw new Error("a row group needs more than half of the heap limit (raise it with node --max-old-space-size)");
  }
}
