// A time limit for synchronous work that untrusted files control.
import type { Context, Script } from "node:vm";
import { lazily } from "../../../core/lazy.ts";

/** The error for work that was stopped because it exceeded its time limit. */
export class TimeoutError extends Error {}

// The time limit of node:vm also interrupts regular expressions and built-in functions that the script calls.
const vm = lazily<typeof import("node:vm")>("node:vm");
let watchdog: { watched: Context; runWatched: Script } | undefined;

function makeWatchdog() {
  return {
    watched: vm().createContext({ run: undefined as (() => void) | undefined }),
    runWatched: new (vm().Script)("run()"),
  };
}

/** Runs `body` synchronously. @throws TimeoutError when the time is up */
export function withinTime<T>(milliseconds: number, body: () => T): T {
  watchdog ??= makeWatchdog();
  const { watched, runWatched } = watchdog;
  let result: T | undefined;
  const outer = watched.run;
  watched.run = () => {
    result = body();
  };
  try {
    runWatched.runInContext(watched, { timeout: milliseconds });
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
    throw new TimeoutError(`took more than ${milliseconds} ms`, { cause: error });
  } finally {
    watched.run = outer;
  }
  return result as T;
}
