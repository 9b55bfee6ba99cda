// GPT-2's alphabet of printable characters for bytes (`bytes_to_unicode` in its encoder.py). Bytes 0x21..7E, 0xA1..AC and 0xAE..FF map to
// the characters with the same code. The other bytes map to U+0100, U+0101 and so on, in ascending order.
const characterOf: string[] = [];
const byteOf = new Map<string, number>();

let other = 0x100;
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const character = String.fromCharCode(printable ? byte : other++);
  characterOf.push(character);
  byteOf.set(character, byte);
}

/** Returns the character of a byte. */
export function characterOfByte(byte: number): string {
  return characterOf[byte]!;
}

/** Returns the bytes of a token in this alphabet, or undefined if one of its characters is not in the alphabet. */
export function namedBytes(name: string): Buffer | undefined {
  const bytes = Buffer.alloc(name.length);
  for (let i = 0; i < name.length; i++) {
    const byte = byteOf.get(name[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** SentencePiece's tokens for the 256 bytes: `<0x00>` to `<0xFF>`. */
export const byteTokenNames: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
