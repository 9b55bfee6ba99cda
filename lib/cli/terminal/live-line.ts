// A line of a terminal that the next one is written over.

/** Whether lines of a stream can be written over: of a terminal, unless it says that it knows no more than to print (Emacs' shell). */
export function isLive(stream: { readonly isTTY?: boolean } = process.stderr): boolean {
  return stream.isTTY === true && process.env.TERM !== "dumb";
}

/** Returns the text that overwrites the current line. */
export function over(text: string): string {
  return `\r\x1b[2K${text}`;
}

/**
 * As many parts, from the first on, as the terminal's width takes whole: a line that wraps would stay when the next one is written over
 * it.
 * @param columns undefined or 0 where the terminal does not say
 */
export function fitted(parts: readonly string[], columns: number | undefined): string {
  const room = (columns || 80) - 1;
  let line = "";
  for (const part of parts) {
    const longer = line === "" ? part : `${line}  ${part}`;
    if (longer.length > room) break;
    line = longer;
  }
  return line || (parts[0] ?? "").slice(0, room);
}
