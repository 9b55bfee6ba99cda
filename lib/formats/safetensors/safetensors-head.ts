// Recognizes a safetensors file by its first bytes.

/** Maximum size of the JSON header, as in the reference implementation. */
export const MAX_SAFETENSORS_HEADER_BYTES = 100_000_000;

/** Size of the header's length, a u64 at the beginning of the file. The JSON header follows, and begins with a brace. */
export const LENGTH_BYTES = 8;
/** The byte `{`. */
export const BRACE = 0x7b;

/** Whether these bytes may be the beginning of a safetensors file. */
export function startsLikeSafetensors(bytes: Uint8Array): boolean {
  if (bytes.length <= LENGTH_BYTES || bytes[LENGTH_BYTES] !== BRACE) return false;
  return lengthIn(bytes) <= BigInt(MAX_SAFETENSORS_HEADER_BYTES);
}

/** Returns the header's length from the first bytes of a file. */
export function lengthIn({ buffer, byteOffset }: Uint8Array): bigint {
  return new DataView(buffer, byteOffset).getBigUint64(0, true);
}
