import { expect, vi } from "vitest";

let planted = 0;

/** Plants failures of the emulated runtime library, `DEVICE:CALL:COUNT:STATUS[:always|:lost]` (native/emulator/failures.h). */
export function plant(...failures: string[]): void {
  // The emulator restarts its counts only if the list changes, so a last entry makes each list unique. Device 99 does not exist.
  vi.stubEnv("HEDDLE_EMULATE_FAILURE", [...failures.filter(Boolean), `99:cudaMalloc:${++planted}:2`].join(","));
}

let lost = 0;

/** Returns the index of a device that no test of the file has used. A lost device stays lost until the process ends. */
export const nextDevice = () => ++lost;

/** Statuses of the runtime library. */
export const INVALID_VALUE = 1;
export const OUT_OF_MEMORY = 2;
export const ILLEGAL_ADDRESS = 700;
export const LAUNCH_FAILURE = 719;

/** Matches the error of a device that failed in `call`. */
export const lossOf = (index: number, call: string) =>
  expect.objectContaining({
    name: "HeddleError",
    code: "DEVICE_LOST",
    message: expect.stringMatching(
      new RegExp(`^cuda:${index}: device lost: ${call}: .* \\(CUDA error \\d+\\); restart the process .*"cpu"`),
    ),
  });
