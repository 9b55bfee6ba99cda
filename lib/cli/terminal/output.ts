import { Console } from "node:console";

/** Writes a command's results to stdout. Everything else goes to stderr. */
export class Output {
  readonly json: boolean;
  /** Whether stdout is in the middle of a line. */
  private open = false;

  constructor(json: boolean) {
    this.json = json;
  }

  /** Writes a JSON object on one line. */
  object(value: unknown): void {
    this.write(`${JSON.stringify(value)}\n`);
  }

  /** Writes text to stdout without ending the line. */
  write(text: string): void {
    if (text === "") return;
    process.stdout.write(text);
    this.open = !text.endsWith("\n");
  }

  line(text = ""): void {
    this.write(`${text}\n`);
  }

  /** Ends a line that streamed text has not ended. */
  endLine(): void {
    if (this.open) this.write("\n");
  }

  /** Writes a note for people to stderr. */
  log(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

/**
 * Redirects the console to stderr, because stdout must contain only JSON lines. Functions in a configuration's module
 * may write to the console.
 */
export function consoleToStderr(): void {
  Object.assign(console, new Console(process.stderr));
}

/** Returns text on one line, with control characters escaped, because it may come from an untrusted file. */
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
