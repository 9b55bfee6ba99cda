import { getEventListeners } from "node:events";
import { describe, expect, test, vi } from "vitest";
import { cancellable, onAbort } from "../../lib/core/abort-listeners.ts";
import { raceAbort } from "../../lib/core/race-abort.ts";
import { expectError } from "../formats/helpers.ts";

const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;
const never = new Promise<never>(() => {});

describe("onAbort", () => {
  test("calls every function once when the signal fires, through one listener", () => {
    const abort = new AbortController();
    const acts = Array.from({ length: 20 }, () => vi.fn());
    for (const act of acts) onAbort(abort.signal, act);
    expect(listeners(abort.signal)).toBe(1);
    abort.abort();
    for (const act of acts) expect(act).toHaveBeenCalledTimes(1);
    expect(listeners(abort.signal)).toBe(0);
  });

  test("calls the function at once if the signal has fired, and adds no listener", () => {
    const signal = AbortSignal.abort();
    const act = vi.fn();
    const forget = onAbort(signal, act);
    expect(act).toHaveBeenCalledTimes(1);
    expect(listeners(signal)).toBe(0);
    forget();
  });

  test("removes the listener with the last registration", () => {
    const abort = new AbortController();
    const act = vi.fn();
    const [first, second] = [onAbort(abort.signal, act), onAbort(abort.signal, act)];
    first();
    first();
    expect(listeners(abort.signal)).toBe(1);
    second();
    expect(listeners(abort.signal)).toBe(0);
    abort.abort();
    expect(act).not.toHaveBeenCalled();
  });
});

describe("cancellable", () => {
  test("cancels the work when the signal fires, or at once if it has already fired", async () => {
    for (const isFirst of [true, false]) {
      const abort = new AbortController();
      if (isFirst) abort.abort();
      let fail!: (error: Error) => void;
      const work = new Promise<never>((_, reject) => {
        fail = reject;
      });
      const cancel = vi.fn(() => fail(new Error("cancelled")));
      const settled = cancellable(work, abort.signal, cancel);
      abort.abort();
      await expect(settled).rejects.toThrow("cancelled");
      expect(cancel).toHaveBeenCalledTimes(1);
    }
  });

  test("removes its listener after success and failure", async () => {
    const { signal } = new AbortController();
    const cancel = vi.fn();
    expect(await cancellable(Promise.resolve(1), signal, cancel)).toBe(1);
    await expect(cancellable(Promise.reject(new Error("mine")), signal, cancel)).rejects.toThrow("mine");
    expect(listeners(signal)).toBe(0);
    expect(cancel).not.toHaveBeenCalled();
  });
});

describe("raceAbort", () => {
  test("rejects with ABORTED, also if the signal fired before the call", async () => {
    const abort = new AbortController();
    const raced = raceAbort(never, abort.signal, "pull");
    abort.abort();
    await expectError(() => raced, "ABORTED", /pull: aborted by its signal/);
    await expectError(() => raceAbort(never, abort.signal), "ABORTED", /aborted by its signal/);
  });

  test("removes its listener after success and failure", async () => {
    const { signal } = new AbortController();
    expect(await raceAbort(Promise.resolve(1), signal)).toBe(1);
    await expect(raceAbort(Promise.reject(new Error("mine")), signal)).rejects.toThrow("mine");
    await undefined;
    expect(listeners(signal)).toBe(0);
  });
});
