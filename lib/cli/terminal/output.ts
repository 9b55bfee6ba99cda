import { Console } from "node:console";

/** Where a command's results go: stdout. Everything else goes to stderr. */
export class Output {
  readonly json: boolean;
  /** Whether stdout is in the middle of a line. */
  private open = false;

  constructor(json: boolean) {
    this.json = json;
  }

  /** One JSON object on one line. */
  object(value: unknown): void {
    this.write(`${JSON.stringify(value)}\n`);
  }

  /** Text for people, as it comes. */
  write(text: string): void {
    if (text === "") return;
    process.stdout.write(text);
    this.open = !text.endsWith("\n");
  }

  line(text = ""): void {
    this.write(`${text}\n`);
  }

  /** Ends a line that streamed text left open. */
  endLine(): void {
    if (this.open) this.write("\n");
  }

  /** A note for people, on stderr. */
  log(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

/**
 * Has what others say to the console go to stderr, such as functions in a configuration's module: lines of JSON are all that stdout is
 * to have then.
 */
export function consoleToStderr(): void {
  Object.assign(console, new Console(process.stderr));
}

/** Text on one line, without characters that move a terminal's cursor. It may come from a stranger's file. */
export function oneLine(text: string): string {
  const code = (c: string) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  return text.replace(/\s*[\r\n]\s*/g, " ").replace(/\p{Cc}/gu, code);
}

/** Returns the shortest decimal that rounds to the same float32, which keeps JSON small. */
export function shortFloat(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}
