// Reads one JSON value from a text that arrives in chunks, and passes it on without white space.

/** Maximum nesting depth. */
const MAX_DEPTH = 512;
/** Maximum length of a number. */
const MAX_WORD = 1024;
const WORD = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/;
const IN_WORD = /[-+.\w]/;

/** The tokens that are valid next, outside a string. `after`: a comma or a closing bracket. */
type Next = "value" | "valueOrEnd" | "key" | "keyOrEnd" | "colon" | "after";

/**
 * Checks and copies a JSON value character by character. Numbers stay as they are written, because JavaScript cannot represent all of them.
 */
export class JsonText {
  private readonly open: ("{" | "[")[] = [];
  private next: Next = "value";
  private inString = false;
  /** Whether the last character was the backslash of an escape. */
  private isEscape = false;
  /** Number of hexadecimal digits that are missing from a `\u` escape. */
  private digits = 0;
  /** The number or literal that is being read. */
  private word = "";
  private out = "";
  isDone = false;
  isBroken = false;

  /**
   * Reads `text` from the offset `at`.
   * @returns the offset at which reading stopped: after the value, at a malformed character, or at the end of `text`
   */
  read(text: string, at: number): number {
    let i = at;
    while (i < text.length && !this.isDone && !this.isBroken) {
      if (this.inString) i = this.string(text, i);
      else if (this.accept(text[i]!)) i++;
    }
    return i;
  }

  /** Returns the value's text since the last call. */
  takeOutput(): string {
    const { out } = this;
    this.out = "";
    return out;
  }

  /** Ends the text, and with it a number or literal that is being read. @returns whether the value is complete */
  finish(): boolean {
    if (this.word !== "") this.endWord();
    return this.isDone && !this.isBroken;
  }

  /** Reads the rest of a string, up to the end of `text`. @returns the offset at which reading stopped */
  private string(text: string, from: number): number {
    let i = from;
    for (; i < text.length; i++) {
      const character = text[i]!;
      if (this.digits > 0) {
        if (!/[\da-fA-F]/.test(character)) this.isBroken = true;
        this.digits--;
      } else if (this.isEscape) {
        this.isEscape = false;
        if (character === "u") this.digits = 4;
        else if (!'"\\/bfnrt'.includes(character)) this.isBroken = true;
      } else if (character === "\\") this.isEscape = true;
      else if (character < " ") this.isBroken = true;
      else if (character === '"') {
        this.inString = false;
        i++;
        this.endValue(this.next === "key" || this.next === "keyOrEnd");
        break;
      }
      if (this.isBroken) break;
    }
    this.out += text.slice(from, i);
    return i;
  }

  /** Handles a character outside strings. @returns whether it has been read */
  private accept(character: string): boolean {
    if (this.word !== "" || (this.wantsValue && /[-\w]/.test(character))) {
      if (IN_WORD.test(character)) {
        if (this.word.length === MAX_WORD) this.isBroken = true;
        else this.word += character;
        return !this.isBroken;
      }
      this.endWord();
      return false;
    }
    if (character === " " || character === "\n" || character === "\t" || character === "\r") return true;
    if (!this.mark(character)) {
      this.isBroken = true;
      return false;
    }
    this.out += character;
    return true;
  }

  private get wantsValue(): boolean {
    return this.next === "value" || this.next === "valueOrEnd";
  }

  private endWord(): void {
    if (WORD.test(this.word)) {
      this.out += this.word;
      this.endValue(false);
    } else {
      this.out += this.word;
      this.isBroken = true;
    }
    this.word = "";
  }

  private endValue(isKey: boolean): void {
    if (isKey) this.next = "colon";
    else if (this.open.length === 0) this.isDone = true;
    else this.next = "after";
  }

  /** Handles a punctuation mark. @returns whether it may come here */
  private mark(character: string): boolean {
    const { next, open } = this;
    switch (character) {
      case '"':
        if (!this.wantsValue && next !== "key" && next !== "keyOrEnd") return false;
        this.inString = true;
        return true;
      case "{":
      case "[":
        if (!this.wantsValue || open.length >= MAX_DEPTH) return false;
        open.push(character);
        this.next = character === "{" ? "keyOrEnd" : "valueOrEnd";
        return true;
      case "}":
      case "]":
        if (open.at(-1) !== (character === "}" ? "{" : "[")) return false;
        if (next !== "after" && next !== "keyOrEnd" && next !== "valueOrEnd") return false;
        open.pop();
        this.endValue(false);
        return true;
      case ",":
        if (next !== "after") return false;
        this.next = open.at(-1) === "{" ? "key" : "value";
        return true;
      case ":":
        if (next !== "colon") return false;
        this.next = "value";
        return true;
      default:
        return false;
    }
  }
}
