// GPT-2's printable alphabet for bytes: U+0021..7E, U+00A1..AC and U+00AE..FF for themselves, U+0100.. for the others.
const characterOf: string[] = [];
const byteOf = new Map<string, number>();

let other = 0x100;
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const character = String.fromCharCode(printable ? byte : other++);
  characterOf.push(character);
  byteOf.set(character, byte);
}

/** The printable name of a byte. */
export function characterOfByte(byte: number): string {
  return characterOf[byte]!;
}

/** The bytes of a printable name, or undefined if it has a character outside the alphabet. */
export function namedBytes(name: string): Buffer | undefined {
  const bytes = Buffer.alloc(name.length);
  for (let i = 0; i < name.length; i++) {
    const byte = byteOf.get(name[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** SentencePiece's names of the 256 bytes: `<0x00>` to `<0xFF>`. */
export const byteTokenNames: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
