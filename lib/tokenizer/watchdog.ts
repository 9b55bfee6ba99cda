// A limit on the time that work described by a file may take, whatever it is made of.
import { createContext, Script } from "node:vm";

/** The work was stopped: it took longer than it may. */
export class TimeoutError extends Error {}

// The watchdog of node:vm stops all that runs below the script, regular expressions and built-in functions included.
const watched = createContext({ run: undefined as (() => void) | undefined });
const runWatched = new Script("run()");

/** Runs `body` at once; throws TimeoutError after so many milliseconds. */
export function withinTime<T>(milliseconds: number, body: () => T): T {
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
