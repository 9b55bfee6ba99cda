// Stops a long command on a signal or a closed standard output. The command gets an AbortSignal, so that it can save its work. The exit code
// of the process shows the cause.
import { constants } from "node:os";
import { HeddleError } from "../../core/errors.ts";
import { nextTurn } from "../../core/slices.ts";
import { ioReason } from "../../io/atomic-files.ts";

/** Why the command stops. */
interface Stop {
  /** Text after `stopped`, such as "by a signal". */
  cause: string;
  exitCode: number;
  /** Whether the command's output is lost. This is a failure even if the command has finished its work. */
  isOutputLost: boolean;
}

/** Returns the shell's exit code for a program that a signal has ended. */
const codeOf = (signal: "SIGINT" | "SIGTERM" | "SIGPIPE") => 128 + (constants.signals[signal] ?? 13); // Windows has no SIGPIPE

// The controller of the running command. A process runs one command.
let running: AbortController | undefined;
let stop: Stop | undefined;

/**
 * Runs a command that must save its work when it is stopped. The first SIGINT, SIGTERM or failure of standard output
 * aborts `signal`. The same signal again ends the process at once.
 * @param say returns what is saved and how to resume, for the error's message. Without it, the command's own error is thrown unchanged
 * @throws HeddleError ABORTED if the command was stopped; stoppedWith then returns the exit code
 */
export async function interruptible(
  name: string,
  work: (signal: AbortSignal) => Promise<void>,
  say?: () => string,
): Promise<void> {
  const controller = new AbortController();
  running = controller;
  const onSignal = (signal: "SIGINT" | "SIGTERM") =>
    halt({ cause: "by a signal", exitCode: codeOf(signal), isOutputLost: false });
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  try {
    await work(controller.signal).catch((error: unknown) => {
      if (!stop || !say || !(error instanceof HeddleError && error.code === "ABORTED")) throw error;
      throw new HeddleError("ABORTED", `${name}: stopped ${stop.cause}; ${say()}`, { cause: error });
    });
    // Wait for the next turn of the event loop, in which an error of the last write is reported.
    await nextTurn();
    if (stop?.isOutputLost)
      throw new HeddleError("ABORTED", `${name}: the printed result was lost ${stop.cause}; all other work is done`);
  } finally {
    running = undefined;
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

/**
 * Stops a long command because its standard output has failed.
 * @returns whether a command is running or has already been stopped
 */
export function stopForOutput(error: NodeJS.ErrnoException): boolean {
  if (stop) return true;
  if (!running) return false;
  if (error.code === "EPIPE")
    halt({ cause: "because standard output was closed", exitCode: codeOf("SIGPIPE"), isOutputLost: true });
  else
    halt({
      cause: `because standard output cannot be written (${ioReason(error)})`,
      exitCode: 1,
      isOutputLost: true,
    });
  return true;
}

function halt(by: Stop): void {
  stop ??= by;
  running?.abort();
}

/** Records that this process stops because another rank was stopped. */
export function stopWithOthers(): void {
  stop ??= { cause: "with another rank", exitCode: codeOf("SIGTERM"), isOutputLost: false };
}

/** Returns the text after `stopped`: what stopped the command. */
export function howStopped(): string {
  return stop?.cause ?? "by a signal";
}

/** Returns the exit code of a stopped command, or undefined if none was stopped. */
export function stoppedWith(): number | undefined {
  return stop?.exitCode;
}
