// The first bytes of a safetensors file, by which its kind is told without its reader.

/** The cap of the reference implementation. */
export const MAX_SAFETENSORS_HEADER_BYTES = 100_000_000;

/** The header's length, then the brace that its JSON begins with. */
export const LENGTH_BYTES = 8;
export const BRACE = 0x7b;

/** Whether these first bytes of a file may begin a safetensors file. */
export function startsLikeSafetensors(bytes: Uint8Array): boolean {
  if (bytes.length <= LENGTH_BYTES || bytes[LENGTH_BYTES] !== BRACE) return false;
  return lengthIn(bytes) <= BigInt(MAX_SAFETENSORS_HEADER_BYTES);
}

export function lengthIn({ buffer, byteOffset }: Uint8Array): bigint {
  return new DataView(buffer, byteOffset).getBigUint64(0, true);
}
