// Frees large arrays of files as soon as their content has been read.
import { binding } from "../../binding/index.ts";

/** Smaller arrays may wait for the garbage collector. */
const LARGE_BYTES = 1 << 20;

/**
 * Detaches the buffer of a large array, whose memory would otherwise stay until the next collection, while tables are built from it.
 * Does nothing for an array that shares its buffer, and for other values.
 */
export function releaseLarge(value: unknown): void {
  if (!ArrayBuffer.isView(value) || !(value.buffer instanceof ArrayBuffer)) return;
  if (value.byteLength >= LARGE_BYTES && value.byteLength === value.buffer.byteLength)
    binding.releaseBytes(new Uint8Array(value.buffer));
}
