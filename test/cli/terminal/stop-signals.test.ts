// The signals that stop a server, emitted in this process.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { StopSignals } from "../../../lib/cli/terminal/stop-signals.ts";

const exit = vi.spyOn(process, "exit").mockImplementation((() => undefined) as never);
const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const before = SIGNALS.map((signal) => process.listeners(signal));
let signals: StopSignals;
beforeEach(() => {
  signals = new StopSignals();
});
afterEach(() => {
  exit.mockClear();
  for (const [i, signal] of SIGNALS.entries())
    for (const listener of process.listeners(signal)) if (!before[i]!.includes(listener)) process.off(signal, listener);
});

test("a signal while the models load ends the process with the exit code that shells use", () => {
  process.emit("SIGTERM");
  expect(exit.mock.calls).toEqual([[143]]);
  process.emit("SIGINT");
  expect(exit.mock.calls).toEqual([[143], [130]]);
});

test("the first signal lets a running server finish its requests, and the second ends the process", async () => {
  const first = signals.first();
  process.emit("SIGTERM");
  await first;
  expect(exit).not.toHaveBeenCalled();
  process.emit("SIGINT");
  expect(exit.mock.calls).toEqual([[130]]);
});
