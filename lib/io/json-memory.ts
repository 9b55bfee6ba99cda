import { getHeapStatistics } from "node:v8";

/** Bytes of memory that a character of JSON becomes at most, about: `{},` is an object in an array. */
export const JSON_BYTES = 20;

/** Characters of JSON that are read at once, at most: what they may become has half of the heap. */
export function mostJson(): number {
  return Math.floor(new Memory().left / JSON_BYTES);
}

/**
 * A budget for unpacking files. A few compressed bytes can exceed the heap, and running out of heap ends the process. The budget is half of
 * the heap limit, because the rest of the program needs the other half.
 */
export class Memory {
  left = Math.floor(getHeapStatistics().heap_size_limit / 2);

  /** Sets bytes aside, estimated before anything is unpacked. @throws Error */
  take(bytes: number): void {
    this.need(bytes);
    this.left -= bytes;
  }

  /** That there is room for what is needed for a while. @throws Error */
  need(bytes: number): void {
    if (bytes > this.left)
      throw new Error(
        "more in a row group than half of the heap has room for (node --max-old-space-size makes it larger)",
      );
  }
}
