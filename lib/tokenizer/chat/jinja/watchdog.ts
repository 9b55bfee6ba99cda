// A time limit for work that a file describes.
import type { Context, Script } from "node:vm";
import { lazily } from "../../../core/lazy.ts";

/** The work was stopped: it took longer than it may. */
export class TimeoutError extends Error {}

// The watchdog of node:vm stops all that runs below the script, regular expressions and built-in functions included.
const vm = lazily<typeof import("node:vm")>("node:vm");
let watchdog: { watched: Context; runWatched: Script } | undefined;

function makeWatchdog() {
  return {
    watched: vm().createContext({ run: undefined as (() => void) | undefined }),
    runWatched: new (vm().Script)("run()"),
  };
}

/** Runs `body` at once; throws TimeoutError after so many milliseconds. */
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
