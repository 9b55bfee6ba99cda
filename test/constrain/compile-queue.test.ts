// Scheduling of concurrent compilations: order, waiting and cancellation.
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { compileInTurns } from "../../lib/constrain/compile-queue.ts";
import { compiledAhead } from "../../lib/constrain/index.ts";
import type { Slices } from "../../lib/core/slices.ts";
import { leastOf, longestTurn, saysTurns } from "../helpers/clock.ts";
import { attacks } from "./attacks.ts";

/** Work of `count` steps, each a third of a millisecond of wall time. */
function* steps(count: number, seen = { steps: 0 }): Slices<number> {
  for (let i = 0; i < count; i++) {
    for (const end = performance.now() + 0.3; performance.now() < end; );
    seen.steps++;
    yield;
  }
  return count;
}

describe("compilations", () => {
  test("compilations of small schemas finish before longer ones that were queued first", async () => {
    const order: string[] = [];
    const note = (name: string) => () => order.push(name);
    const long = [1, 2, 3].map((i) => compileInTurns(steps(600), "test", undefined).then(note(`long ${i}`)));
    await turn();
    const small = compileInTurns(steps(5), "test", undefined).then(note("small"));
    await Promise.all([...long, small]);
    expect(order[0]).toBe("small");
    expect(order).toHaveLength(4);
  });

  test("run one at a time if they are long, so that queued ones use little memory", async () => {
    const seen = [0, 1, 2, 3].map(() => ({ steps: 0 }));
    const all = seen.map((of) => compileInTurns(steps(600, of), "test", undefined));
    await Promise.race(all);
    // The queue treats a compilation as long after 20 ms, which is less than 100 steps. Then only one continues.
    expect(seen.filter((of) => of.steps > 100)).toHaveLength(1);
    expect(await Promise.all(all)).toEqual([600, 600, 600, 600]);
  });

  test("stop after an abort and end with ABORTED within two turns of the event loop", async () => {
    const seen = Array.from({ length: 30 }, () => ({ steps: 0 }));
    const controller = new AbortController();
    const ended = seen.map((of) =>
      compileInTurns(steps(5000, of), "test", controller.signal).then(
        () => "done",
        (error) => error.code,
      ),
    );
    for (let i = 0; i < 5; i++) await turn();
    controller.abort();
    const before = seen.map((of) => of.steps);
    await turn();
    expect(await Promise.race([Promise.all(ended), turn("late")])).toEqual(seen.map(() => "ABORTED"));
    expect(seen.map((of) => of.steps)).toEqual(before);
  });

  test("fail without affecting others", async () => {
    const failing = (function* (): Slices<number> {
      yield;
      throw new Error("of its own");
    })();
    const [failed, fine] = await Promise.allSettled([
      compileInTurns(failing, "test", undefined),
      compileInTurns(steps(3), "test", undefined),
    ]);
    expect(failed).toMatchObject({ status: "rejected", reason: { message: "of its own" } });
    expect(fine).toEqual({ status: "fulfilled", value: 3 });
  });

  test.skipIf(!saysTurns)("do not block the event loop for 50 ms, even if there are forty", async () => {
    const schema = attacks["anyOf of strings with different patterns"]!() as object;
    const measure = () =>
      longestTurn(async () => {
        const controller = new AbortController();
        const all = Array.from({ length: 40 }, (_, i) =>
          compiledAhead({
            responseFormat: { type: "json_schema", schema: { ...schema, title: `${i}` } },
            signal: controller.signal,
          }).catch(() => undefined),
        );
        for (let i = 0; i < 100; i++) await turn();
        controller.abort();
        await Promise.all(all);
      });
    expect(await leastOf(50, measure)).toBeLessThan(50);
  });
});
