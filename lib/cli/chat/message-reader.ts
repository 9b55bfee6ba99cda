import { createInterface, type Interface } from "node:readline";
import { LineInterrupt } from "../terminal/line-interrupt.ts";
import { canRewriteLines } from "../terminal/live-line.ts";
import { type Entry, MessageAssembler } from "./message-assembler.ts";

/** Maximum number of lines in the history. */
const HISTORY = 1000;
/** Escape codes of xterm's bracketed paste mode, in which readline reports the start and the end of a paste as keys. */
const PASTE_MODE = { on: "\x1b[?2004h", off: "\x1b[?2004l" };

interface Terminal {
  /** The prompt before a message. */
  prompt: string;
  /** The prompt before the second and later lines of a message. */
  more: string;
  say: (text: string) => void;
  /** Words that the tab key completes at the beginning of a line. */
  words: readonly string[];
}

/**
 * Reads messages from standard input. On a terminal, there is a prompt and a history of lines, and a paste is one message. Otherwise every
 * line is a message, unless it is continued or quoted.
 */
export class MessageReader {
  /** Stops the running answer at Ctrl-C. Returns whether an answer was running. */
  interrupt: () => boolean = () => false;
  private readonly lines: Interface;
  private readonly terminal: Terminal | undefined;
  private readonly assembler = new MessageAssembler();
  private readonly entries: Entry[] = [];
  private readonly hasPasteMode: boolean;
  private isPasting = false;
  private isClosed = false;
  /** Whether the first line was read. */
  private hasRead = false;
  private wake: () => void = () => {};

  /** @param terminal how to prompt the user of a terminal. Without it, standard input is read as a file. */
  constructor(terminal: Terminal | undefined) {
    this.terminal = terminal;
    const input = process.stdin;
    const output = terminal && process.stderr;
    const completer = (line: string): [string[], string] => [
      line.startsWith("/") ? terminal!.words.filter((word) => word.startsWith(line)) : [],
      line,
    ];
    this.lines = createInterface({
      input,
      output,
      ...(terminal && { prompt: terminal.prompt, completer, historySize: HISTORY, removeHistoryDuplicates: true }),
    });
    this.hasPasteMode = terminal !== undefined && canRewriteLines(process.stderr);
    if (this.hasPasteMode) process.stderr.write(PASTE_MODE.on);
    input.on("keypress", this.onKey);
    this.lines.on("line", (line) => this.onLine(line));
    this.lines.on("close", () => this.onClose());
    // On a terminal, readline reports Ctrl-C. With other input, the process receives SIGINT.
    const lineInterrupt = new LineInterrupt(this.lines, (text) => terminal?.say(text));
    this.lines.on("SIGINT", () => {
      if (this.interrupt()) return;
      if (this.assembler.isOpen) this.cancel();
      else lineInterrupt.press();
    });
    process.on("SIGINT", this.onSignal);
  }

  /** Yields messages until the input ends. On a terminal, prompts for each message. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Entry, void, undefined> {
    for (;;) {
      if (this.terminal && !this.isClosed) this.lines.prompt();
      while (this.entries.length === 0 && !this.isClosed) {
        this.lines.resume();
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
      const entry = this.entries.shift();
      if (!entry) return;
      yield entry;
    }
  }

  /** Stops reading, drops queued messages, and restores the terminal. */
  close(): void {
    this.lines.close();
    this.entries.length = 0;
    process.off("SIGINT", this.onSignal);
    process.stdin.off("keypress", this.onKey);
    if (this.hasPasteMode) process.stderr.write(PASTE_MODE.off);
  }

  private readonly onSignal = () => {
    if (!this.interrupt()) this.lines.close();
  };

  private readonly onKey = (_: unknown, key: { name?: string } | undefined) => {
    if (key?.name === "paste-start") this.isPasting = true;
    if (key?.name === "paste-end") this.isPasting = false;
  };

  private onLine(given: string): void {
    // A file may begin with a byte-order mark, which would hide a command.
    const line = this.hasRead || this.terminal ? given : given.replace(/^\ufeff/, "");
    this.hasRead = true;
    const entry = this.assembler.add(line, { isPasted: this.isPasting });
    if (entry) this.push(entry);
    else if (this.terminal) this.ask(this.terminal.more);
  }

  private push(entry: Entry): void {
    this.entries.push(entry);
    if (this.terminal) this.lines.setPrompt(this.terminal.prompt);
    // Stop reading a file until this message is answered.
    else this.lines.pause();
    this.wake();
  }

  private onClose(): void {
    const rest = this.terminal ? undefined : this.assembler.flush();
    if (rest) this.entries.push(rest);
    this.isClosed = true;
    this.wake();
  }

  /** Drops the lines of an unfinished message. */
  private cancel(): void {
    this.assembler.reset();
    // Clear the line: Ctrl-E moves to its end, and Ctrl-U deletes to its beginning.
    this.lines.write(null, { ctrl: true, name: "e" });
    this.lines.write(null, { ctrl: true, name: "u" });
    this.terminal?.say("");
    this.ask(this.terminal!.prompt);
  }

  private ask(prompt: string): void {
    this.lines.setPrompt(prompt);
    this.lines.prompt();
  }
}
