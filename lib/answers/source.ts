// The text of an answer, as formats read it while it arrives. Readers are generators: they pause when they need more text.
import type { ReadTool } from "./tools.ts";

/** A step of reading. It yields when it needs more text. */
export type Reading<T = void> = Generator<void, T, undefined>;

/** Thrown for text that is not in the expected format. The text that is held back then becomes text of the answer. */
export class Malformed extends Error {}

/** The only instance. Creating a stack trace for every broken call would be slow. */
const malformed = new Malformed("call: expected the format of the model's template, got other text");

/** Maximum length of text that is held back until it is known to be a call. Longer text is released. */
export const MAX_HELD = 1 << 17;

/** Receives the parts that a format has read. */
export interface Sink {
  text(text: string): void;
  reasoning(text: string): void;
  /** Drops the white space at the end of the text so far. */
  trim(): void;
  /** Begins a call. White space before it is dropped. */
  beginCall(name: string): void;
  /** Adds to the arguments of the newest call. */
  callArguments(text: string): void;
  /** Ends the newest call. @returns whether no further call is allowed */
  endCall(): boolean;
}

/**
 * A buffer of unread text. Text that is read after `hold` is held back until `drop` or `release`, because it may still turn out to be text
 * of the answer. Every character is read once, so reading takes linear time.
 */
export class Source {
  readonly tools: ReadonlyMap<string, ReadTool>;
  private readonly sink: Sink;
  private buffer = "";
  private at = 0;
  private held = "";
  private isHolding = false;
  private isEnded = false;
  /** Whether a call has begun since `attempt`. */
  private hasBegun = false;

  /** @param tools the tools that may be called, by name. Empty if they are unknown */
  constructor(sink: Sink, tools: ReadonlyMap<string, ReadTool>) {
    this.sink = sink;
    this.tools = tools;
  }

  push(text: string): void {
    this.buffer = this.at === this.buffer.length ? text : this.buffer.slice(this.at) + text;
    this.at = 0;
  }

  /** Says that no text follows. */
  end(): void {
    this.isEnded = true;
  }

  /** Waits for a character. @returns false at the end of the answer */
  *more(): Reading<boolean> {
    while (this.at === this.buffer.length) {
      if (this.isEnded) return false;
      yield;
    }
    return true;
  }

  /** Returns the next character without reading it, or "" at the end of the answer. */
  *peek(): Reading<string> {
    return (yield* this.more()) ? this.buffer[this.at]! : "";
  }

  /** Returns whether the next text is `text`, without reading it. */
  *isNext(text: string): Reading<boolean> {
    for (;;) {
      const rest = this.buffer.length - this.at;
      if (rest >= text.length) return this.buffer.startsWith(text, this.at);
      if (this.isEnded || !text.startsWith(this.buffer.slice(this.at))) return false;
      yield;
    }
  }

  /** Returns whether the next text is one of several, without reading it. */
  *isNextOf(texts: readonly string[]): Reading<boolean> {
    for (const text of texts) if (yield* this.isNext(text)) return true;
    return false;
  }

  /** Reads `count` characters, which must be in the buffer. @throws Malformed if too much text is held back */
  take(count: number): string {
    const room = this.isHolding ? MAX_HELD - this.held.length : count;
    const text = this.buffer.slice(this.at, this.at + Math.min(count, room));
    this.at += text.length;
    if (this.isHolding) this.held += text;
    if (room < count) throw malformed;
    return text;
  }

  /** Reads `text` if it comes next. @returns whether it did */
  *skip(text: string): Reading<boolean> {
    const found = yield* this.isNext(text);
    if (found) this.take(text.length);
    return found;
  }

  /** Reads one of several texts if it comes next, and returns it. None of the texts may be a prefix of another. */
  *skipAny(texts: readonly string[]): Reading<string | undefined> {
    for (const text of texts) if (yield* this.skip(text)) return text;
    return undefined;
  }

  /** Reads `text`. @throws Malformed if something else comes next */
  *expect(text: string): Reading {
    if (!(yield* this.skip(text))) throw malformed;
  }

  /** @throws Malformed */
  fail(): never {
    throw malformed;
  }

  /** Reads white space. */
  *space(): Reading {
    while ((yield* this.more()) && isSpace(this.buffer.charCodeAt(this.at))) {
      let end = this.at + 1;
      while (end < this.buffer.length && isSpace(this.buffer.charCodeAt(end))) end++;
      this.take(end - this.at);
    }
  }

  /**
   * Reads text up to and including the first of several marks. Passes on the text before the mark as it arrives.
   * @param keepsPartial whether an incomplete mark at the end of the answer stays unread, instead of being passed on
   * @returns the mark; undefined at the end of the answer
   */
  *until(marks: readonly string[], pass: (text: string) => void, keepsPartial = false): Reading<string | undefined> {
    const search = searchFor(marks);
    for (;;) {
      search.lastIndex = this.at;
      const found = search.exec(this.buffer);
      const end = found
        ? found.index
        : this.buffer.length - (this.isEnded && !keepsPartial ? 0 : openLength(this.buffer, this.at, marks));
      if (end > this.at) pass(this.take(end - this.at));
      if (found) return this.take(found[0].length);
      if (this.isEnded) return undefined;
      yield;
    }
  }

  /** Whether the answer ends within `mark`. */
  endsWithin(mark: string): boolean {
    return this.isEnded && mark.startsWith(this.buffer.slice(this.at));
  }

  /** Reads a text up to the first of several marks, which stays unread. @throws Malformed without a mark in the next `most` characters */
  *word(marks: readonly string[], most: number): Reading<string> {
    let word = "";
    while (yield* this.more()) {
      for (const mark of marks) if (yield* this.isNext(mark)) return word;
      word += this.take(1);
      if (word.length > most) throw malformed;
    }
    throw malformed;
  }

  /** Lets `read` consume the unread text: it gets the text and an offset, and returns the offset that it reached. */
  consume(read: (text: string, at: number) => number): void {
    this.take(read(this.buffer, this.at) - this.at);
  }

  /** Holds back text that is read from here on. @param begun text that was read just before, and is held back too */
  hold(begun = ""): void {
    [this.held, this.isHolding] = [begun, true];
  }

  /** Releases the text that is held back, as text of the answer. */
  release(): void {
    const { held } = this;
    [this.held, this.isHolding] = ["", false];
    if (held !== "") this.sink.text(held);
  }

  /** Marks the place where calls are expected, so that `giveUp` knows whether one of them has begun. */
  attempt(): void {
    this.hasBegun = false;
  }

  /**
   * Releases malformed text as text of the answer. If the answer ended within a mark after its calls, the incomplete mark is dropped instead.
   * @param marks texts of the format
   */
  giveUp(marks: readonly string[]): void {
    const tail = this.isEnded && this.hasBegun ? (this.held + this.buffer.slice(this.at)).trim() : undefined;
    if (tail === undefined || !marks.some((mark) => mark.includes(tail))) this.release();
    else {
      this.at = this.buffer.length;
      this.drop();
    }
  }

  /** Drops the text that is held back. With `keepHolding`, text read from here on is held back again. */
  drop(keepHolding = false): void {
    [this.held, this.isHolding] = ["", keepHolding];
  }

  text(text: string): void {
    this.sink.text(text);
  }

  reasoning(text: string): void {
    this.sink.reasoning(text);
  }

  /** Drops the white space at the end of the text so far. */
  trim(): void {
    this.sink.trim();
  }

  /** Begins a call. From here on it stays a call, even if its arguments are malformed. */
  beginCall(name: string): void {
    this.drop();
    this.hasBegun = true;
    this.sink.beginCall(name);
  }

  callArguments(text: string): void {
    if (text !== "") this.sink.callArguments(text);
  }

  /** Ends the call. Text read from here on is held back, because it may be the mark that ends a list of calls. */
  *endCall(): Reading {
    // Nothing is read after the last allowed call.
    if (this.sink.endCall()) for (;;) yield;
    this.drop(true);
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

const searches = new WeakMap<readonly string[], RegExp>();

/** Returns a regular expression that finds the first of several marks. Where several marks match, it finds the longest. */
function searchFor(marks: readonly string[]): RegExp {
  let found = searches.get(marks);
  if (!found) {
    const longestFirst = [...marks].sort((a, b) => b.length - a.length);
    const sources = longestFirst.map((mark) => mark.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
    found = new RegExp(sources.length > 0 ? sources.join("|") : "(?!)", "g");
    searches.set(marks, found);
  }
  return found;
}

/** Returns the length of the longest suffix of `text` that is an incomplete mark. */
function openLength(text: string, from: number, marks: readonly string[]): number {
  let longest = 0;
  for (const mark of marks)
    for (let length = Math.min(mark.length - 1, text.length - from); length > longest; length--)
      if (text.endsWith(mark.slice(0, length))) longest = length;
  return longest;
}
