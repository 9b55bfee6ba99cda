/** An input of the user: a message, or a line that may be a command. */
export interface Entry {
  text: string;
  /** Whether the text was typed as a single line, without quotes. Only such lines can be commands. */
  isLine: boolean;
}

const QUOTES = '"""';

/**
 * Joins lines into messages. A line that ends with a backslash continues on the next. Lines between `"""` and `"""` are one message. The lines
 * of a paste and the line that is typed after them are one message too.
 */
export class MessageAssembler {
  private lines: string[] = [];
  private isQuoted = false;

  /** Whether a message has begun and not ended. */
  get isOpen(): boolean {
    return this.lines.length > 0 || this.isQuoted;
  }

  /** Adds a line. @returns the entry that the line completes, if any */
  add(line: string, { isPasted = false } = {}): Entry | undefined {
    if (this.isQuoted) return this.quoted(line);
    if (isPasted) {
      this.lines.push(line);
      return undefined;
    }
    if (!this.isOpen && line.trimStart().startsWith(QUOTES)) {
      this.isQuoted = true;
      return this.quoted(line.trimStart().slice(QUOTES.length), true);
    }
    // One backslash at the end continues the message. Two or more are text.
    if (/(?<!\\)\\$/.test(line)) {
      this.lines.push(line.slice(0, -1));
      return undefined;
    }
    const isLine = !this.isOpen;
    this.lines.push(line);
    return this.end(isLine);
  }

  /** Returns the unfinished message, if any, and resets. */
  flush(): Entry | undefined {
    return this.isOpen ? this.end(false) : undefined;
  }

  /** Forgets the open message. */
  reset(): void {
    this.lines = [];
    this.isQuoted = false;
  }

  /**
   * Adds a line of a quoted message. Text on the line of the opening or closing quotes is part of the message. A line of only the quotes adds
   * nothing.
   * @param isFirst whether `line` is the rest of the line with the opening quotes
   */
  private quoted(line: string, isFirst = false): Entry | undefined {
    const text = line.trimEnd();
    const isLast = text.endsWith(QUOTES);
    const rest = isLast ? text.slice(0, -QUOTES.length) : line;
    if (rest !== "" || !(isFirst || isLast)) this.lines.push(rest);
    return isLast ? this.end(false) : undefined;
  }

  private end(isLine: boolean): Entry {
    const text = this.lines.join("\n");
    this.reset();
    return { text, isLine };
  }
}
