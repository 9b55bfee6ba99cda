// Frees large arrays of files as soon as their content has been read.
import { binding } from "../../binding/index.ts";

/** Smaller arrays may wait for the garbage collector. */
const LARGE_BYTES = 1 << 20;

/**
 * Frees the memory of a large array by detaching its buffer. Otherwise it would stay until the next garbage collection, while tables are
 * being built. Does nothing for an array that shares its buffer, and for other values.
 */
export function releaseLarge(value: unknown): void {
  if (!ArrayBuffer.isView(value) || !(value.buffer instanceof ArrayBuffer)) return;
  if (value.byteLength >= LARGE_BYTES && value.byteLength === value.buffer.byteLength)
    binding.releaseBytes(new Uint8Array(value.buffer));
}
