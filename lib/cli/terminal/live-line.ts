// Rewrites the last line of a terminal in place, for progress.

/** Whether a stream can rewrite its last line: it is a terminal that understands escape codes (Emacs' shell sets TERM=dumb). */
export function canRewriteLines(stream: { readonly isTTY?: boolean } = process.stderr): boolean {
  return stream.isTTY === true && process.env.TERM !== "dumb";
}

/** Returns the text that overwrites the current line. */
function overwrite(text: string): string {
  return `\r\x1b[2K${text}`;
}

/**
 * Joins as many leading parts into a line as fit the terminal's width. A line that wraps could not be overwritten completely.
 * @param columns undefined or 0 if the terminal does not report its width
 */
function fitLine(parts: readonly string[], columns: number | undefined): string {
  const room = (columns || 80) - 1;
  let line = "";
  for (const part of parts) {
    const longer = line === "" ? part : `${line}  ${part}`;
    if (longer.length > room) break;
    line = longer;
  }
  return line || (parts[0] ?? "").slice(0, room);
}

/** A line at the end of a terminal's output that is rewritten in place, on stderr by default. */
export class LiveLine {
  protected readonly stream: NodeJS.WriteStream;
  /** Whether the cursor is on the line. */
  protected shown = false;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.stream = stream;
  }

  /** Shows as many leading parts as fit. */
  protected show(parts: readonly string[]): void {
    this.stream.write(overwrite(fitLine(parts, this.stream.columns)));
    this.shown = true;
  }

  /** Prints lines that stay visible, the first of them in place of the live line. */
  print(lines: readonly string[]): void {
    this.stream.write(`${this.shown ? overwrite("") : ""}${lines.join("\n")}\n`);
    this.shown = false;
  }

  /** Ends the live line, so that later output does not continue it. */
  end(): void {
    if (this.shown) this.stream.write("\n");
    this.shown = false;
  }
}
