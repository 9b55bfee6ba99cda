// Recognizes a safetensors file by its first bytes.

/** Limit of the reference implementation. */
export const MAX_SAFETENSORS_HEADER_BYTES = 100_000_000;

/** The file begins with the header's length, followed by the opening brace of its JSON. */
export const LENGTH_BYTES = 8;
export const BRACE = 0x7b;

/** Whether these bytes may be the beginning of a safetensors file. */
export function startsLikeSafetensors(bytes: Uint8Array): boolean {
  if (bytes.length <= LENGTH_BYTES || bytes[LENGTH_BYTES] !== BRACE) return false;
  return lengthIn(bytes) <= BigInt(MAX_SAFETENSORS_HEADER_BYTES);
}

export function lengthIn({ buffer, byteOffset }: Uint8Array): bigint {
  return new DataView(buffer, byteOffset).getBigUint64(0, true);
}
