import { invalidArgument } from "../core/errors.ts";
import { ownContext } from "./callback-context.ts";
import type { StopCondition, StopContext } from "./generation-options.ts";

/** Calls a stop condition. @throws HeddleError INVALID_ARGUMENT unless it returns a boolean; passes on its errors */
export function asked(condition: StopCondition, context: StopContext): boolean {
  const answer: unknown = condition(ownContext(context));
  if (typeof answer === "boolean") return answer;
  // It may be a promise: the refusal is what the caller hears, and nobody is left to hear how that ends.
  Promise.resolve(answer).catch(() => undefined);
  throw invalidArgument("stop", "a function that returns true or false", answer);
}

/**
 * Finds stop texts in a stream of text pieces. Text that may be the start of a stop text is held back until it is decided.
 */
export class StopMatcher {
  private readonly stops: readonly string[];
  private held = "";
  private found = false;

  constructor(stops: readonly string[]) {
    this.stops = stops;
  }

  /** Whether a stop text has come; everything from it on is dropped. */
  get stopped(): boolean {
    return this.found;
  }

  /** The text that is certain to come before any stop text. */
  push(text: string): string {
    if (this.found) return "";
    this.held += text;
    const at = this.firstMatch();
    if (at >= 0) {
      this.found = true;
      return this.take(at);
    }
    return this.take(this.held.length - this.openLength());
  }

  /** The rest, when nothing more comes. */
  flush(): string {
    return this.found ? "" : this.take(this.held.length);
  }

  /** A copy, which continues independently. */
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

  private firstMatch(): number {
    let first = -1;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      if (at >= 0 && (first < 0 || at < first)) first = at;
    }
    return first;
  }

  /** Length of the longest end of the held text that begins a stop text. */
  private openLength(): number {
    const longest = this.stops.reduce((n, s) => Math.max(n, s.length - 1), 0);
    for (let length = Math.min(longest, this.held.length); length > 0; length--) {
      const end = this.held.slice(this.held.length - length);
      if (this.stops.some((s) => s.length > length && s.startsWith(end))) return length;
    }
    return 0;
  }
}
