import { invalidArgument } from "../core/errors.ts";
import { callbackContext } from "./callback-context.ts";
import type { StopCondition, StopContext } from "./generation-options.ts";

/**
 * Calls a stop condition.
 * @throws HeddleError INVALID_ARGUMENT unless it returns a boolean; errors of the condition are passed on
 */
export function asked(condition: StopCondition, context: StopContext): boolean {
  const answer: unknown = condition(callbackContext(context));
  if (typeof answer === "boolean") return answer;
  // Ignore a rejection if the answer is a promise, because the error below is what the caller gets.
  Promise.resolve(answer).catch(() => undefined);
  throw invalidArgument("stop", "a function that returns true or false", answer);
}

/**
 * Finds stop texts in a stream of text pieces. Text that may begin a stop text is held back until later text shows
 * whether it does.
 */
export class StopMatcher {
  private readonly stops: readonly string[];
  private held = "";
  private found: string | undefined;

  constructor(stops: readonly string[]) {
    this.stops = stops;
  }

  /** Whether a stop text was found. The stop text and all text after it are dropped. */
  get stopped(): boolean {
    return this.found !== undefined;
  }

  /** The stop text that was found. */
  get stopText(): string | undefined {
    return this.found;
  }

  /** Adds text, and returns the text that certainly precedes any stop text. */
  push(text: string): string {
    if (this.stopped) return "";
    this.held += text;
    const first = this.firstMatch();
    if (first) {
      this.found = first.stop;
      return this.take(first.at);
    }
    return this.take(this.held.length - this.openLength());
  }

  /** Returns the text that was held back. Call it when no text follows. */
  flush(): string {
    return this.stopped ? "" : this.take(this.held.length);
  }

  /** Returns a copy, which continues independently. */
  fork(): StopMatcher {
    const copy = new StopMatcher(this.stops);
    copy.held = this.held;
    copy.found = this.found;
    return copy;
  }

  private take(length: number): string {
    const out = this.held.slice(0, length);
    this.held = this.held.slice(length);
    return out;
  }

  private firstMatch(): { at: number; stop: string } | undefined {
    let first: { at: number; stop: string } | undefined;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      if (at >= 0 && (first === undefined || at < first.at)) first = { at, stop };
    }
    return first;
  }

  /** Returns the length of the longest suffix of the held text that may begin a stop text. */
  private openLength(): number {
    const longest = this.stops.reduce((n, s) => Math.max(n, s.length - 1), 0);
    for (let length = Math.min(longest, this.held.length); length > 0; length--) {
      const end = this.held.slice(this.held.length - length);
      if (this.stops.some((s) => s.length > length && s.startsWith(end))) return length;
    }
    return 0;
  }
}
