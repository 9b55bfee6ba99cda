import { HeddleError } from "../core/errors.ts";
import { stoppedWith } from "./terminal/interrupt.ts";

/** The exit codes as listed by `heddle --help`. */
export const EXIT_CODES: readonly (readonly [string, string])[] = [
  ["0", "all was done"],
  ["1", "this machine or heddle failed: a full disk, no memory, a loss that is no number; bench: something is slower"],
  ["2", "what was given is wrong: one line on stderr says what was expected and what was got"],
  ["128 + N", "signal N stopped it: 130 Ctrl-C, 143 SIGTERM, 141 where nobody reads the output of a long command"],
];

/** Failures that are not the caller's. */
const OWN_FAULTS = new Set(["INTERNAL", "OUT_OF_MEMORY", "NUMERICAL"]);

/** System errors about a path or port that the caller named. All others are problems of the machine. */
const REFUSED = new Set(["EACCES", "EPERM", "EISDIR", "ELOOP", "ENAMETOOLONG", "EADDRINUSE", "EADDRNOTAVAIL"]);

/** The exit code of a process whose command ended with this error. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof HeddleError)) return 1;
  if (error.code === "ABORTED") return stoppedWith() ?? 1;
  if (error.code === "IO") return isRefused(error) ? 2 : 1;
  return OWN_FAULTS.has(error.code) ? 1 : 2;
}

/** Without a system error, the file is of another kind, or native code could not open it. */
function isRefused(error: HeddleError): boolean {
  let cause: unknown = error;
  while (cause instanceof HeddleError) cause = cause.cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return code === undefined || REFUSED.has(code);
}
