import { getEventListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { untilAborted } from "../../lib/core/until-aborted.ts";
import { expectError } from "../formats/helpers.ts";

const unheard: unknown[] = [];
const listener = (reason: unknown) => unheard.push(reason);
beforeAll(() => void process.on("unhandledRejection", listener));
afterAll(() => void process.off("unhandledRejection", listener));

async function all<T>(source: Iterable<T> | AsyncIterable<T>, signal?: AbortSignal): Promise<T[]> {
  const out: T[] = [];
  for await (const value of untilAborted(source, signal, "work")) out.push(value);
  return out;
}
const live = () => new AbortController().signal;

describe("untilAborted", () => {
  test("yields the source's values, with and without a signal", async () => {
    async function* numbers() {
      yield 1;
      await sleep(1);
      yield 2;
    }
    for (const signal of [undefined, live()]) {
      expect(await all(numbers(), signal)).toEqual([1, 2]);
      expect(await all([1, Promise.resolve(2)], signal)).toEqual([1, 2]);
      expect(await all(new Set(["a"]), signal)).toEqual(["a"]);
    }
  });

  test("aborts while waiting for a value, and calls the source's return without awaiting it", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    const left = vi.fn(() => new Promise<never>(() => {}));
    const source = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}), return: left }) };
    setTimeout(() => abort.abort(reason), 10);
    const failure = await all(source, abort.signal).catch((error) => error);
    expect(failure).toMatchObject({ code: "ABORTED", message: "work: aborted by its signal", cause: reason });
    expect(left).toHaveBeenCalledTimes(1);
  });

  test("ignores late errors of an abandoned source", async () => {
    for (const late of ["next", "return", "return at once"]) {
      const abort = new AbortController();
      const fails = async () => {
        await sleep(20);
        throw new Error("too late");
      };
      const source = {
        [Symbol.asyncIterator]: () => ({
          next: late === "next" ? fails : () => new Promise<never>(() => {}),
          return: () => {
            if (late === "return at once") throw new Error("too late");
            return fails();
          },
        }),
      };
      setTimeout(() => abort.abort(), 5);
      await expectError(() => all(source, abort.signal), "ABORTED", /work: aborted/);
    }
    await sleep(60);
    expect(unheard).toEqual([]);
  });

  test("does not read the source if already aborted", async () => {
    const next = vi.fn();
    const source = { [Symbol.asyncIterator]: () => ({ next }) };
    await expectError(() => all(source, AbortSignal.abort()), "ABORTED", /work: aborted/);
    expect(next).not.toHaveBeenCalled();
  });

  test("propagates an error of the source without calling its return", async () => {
    const mine = new Error("mine");
    const left = vi.fn();
    const source = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(mine), return: left }) };
    await expect(all(source, live())).rejects.toBe(mine);
    expect(left).not.toHaveBeenCalled();
  });

  test("awaits the source's return after break, like for await", async () => {
    let closed = false;
    async function* numbers() {
      try {
        for (let n = 0; ; n++) yield n;
      } finally {
        await sleep(5);
        closed = true;
      }
    }
    for await (const n of untilAborted(numbers(), live(), "work")) if (n === 3) break;
    expect(closed).toBe(true);
  });

  test("adds one listener to the signal, and removes it", async () => {
    const abort = new AbortController();
    const added = vi.spyOn(abort.signal, "addEventListener");
    const removed = vi.spyOn(abort.signal, "removeEventListener");
    await all(Array.from({ length: 1000 }), abort.signal);
    expect([added.mock.calls.length, removed.mock.calls.length]).toEqual([1, 1]);
  });

  test("removes its listener if the source's return fails", async () => {
    const { signal } = new AbortController();
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: 1 }),
        return: () => Promise.reject(new Error("mine")),
      }),
    };
    const broken = async () => {
      for await (const _ of untilAborted(source, signal, "work")) break;
    };
    await expect(broken()).rejects.toThrow("mine");
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("rejects an invalid signal", async () => {
    await expectError(() => all([], {} as AbortSignal), "INVALID_ARGUMENT", /signal: expected an AbortSignal/);
  });
});
