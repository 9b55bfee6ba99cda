/** Matches a size such as 500MB (powers of 1000), 16GiB (powers of 1024) or 4096. */
export const BYTES = /^(\d+(?:\.\d+)?) *(?:([kmgt])(i?))?b?$/i;

const UNITS = ["", "k", "m", "g", "t"];

/** Returns the number of bytes of a text that matches BYTES. */
export function bytesOf(text: string): number {
  const [, number, unit = "", binary] = BYTES.exec(text)!;
  return Math.floor(Number(number) * (binary ? 1024 : 1000) ** UNITS.indexOf(unit.toLowerCase()));
}
