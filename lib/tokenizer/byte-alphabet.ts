// GPT-2's alphabet of printable characters for bytes (`bytes_to_unicode` in its encoder.py). Bytes 0x21..7E, 0xA1..AC and 0xAE..FF map to
// the characters with the same code. The other bytes map to U+0100, U+0101 and so on, in ascending order.
const characterOf: string[] = [];

let other = 0x100;
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  characterOf.push(String.fromCharCode(printable ? byte : other++));
}

/** Returns the character of a byte. */
export function characterOfByte(byte: number): string {
  return characterOf[byte]!;
}

/** SentencePiece's tokens for the 256 bytes: `<0x00>` to `<0xFF>`. */
export const byteTokenNames: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
