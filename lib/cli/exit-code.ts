import { HeddleError } from "../core/errors.ts";
import { stoppedWith } from "./terminal/interrupt.ts";

/** The exit codes, as listed by `heddle --help`. */
export const EXIT_CODES: readonly (readonly [string, string])[] = [
  ["0", "success"],
  [
    "1",
    "failure of the machine or of heddle, such as a full disk, out of memory, a lost GPU, or a NaN loss; bench: a regression",
  ],
  ["2", "invalid input; one line on stderr states the expected and the actual value"],
  ["128 + N", "stopped by signal N: 130 Ctrl-C, 143 SIGTERM, 141 standard output of a long command was closed"],
];

/** Codes of failures that the caller did not cause. */
const OWN_FAULTS = new Set(["INTERNAL", "OUT_OF_MEMORY", "DEVICE_LOST", "NUMERICAL"]);

/** System errors that the caller caused by naming a wrong path or port. All other system errors are problems of the machine. */
const REFUSED = new Set(["EACCES", "EPERM", "EISDIR", "ELOOP", "ENAMETOOLONG", "EADDRINUSE", "EADDRNOTAVAIL"]);

/** Returns the exit code for an error that ended the command. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof HeddleError)) return 1;
  if (error.code === "ABORTED") return stoppedWith() ?? 1;
  if (error.code === "IO") return isRefused(error) ? 2 : 1;
  return OWN_FAULTS.has(error.code) ? 1 : 2;
}

/**
 * Whether the caller caused an IO error by naming a wrong path or port. An IO error without a system error as its cause counts too: its path is
 * not a regular file or cannot be opened.
 */
function isRefused(error: HeddleError): boolean {
  let cause: unknown = error;
  while (cause instanceof HeddleError) cause = cause.cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return code === undefined || REFUSED.has(code);
}
