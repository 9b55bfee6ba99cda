// An abort also takes effect within a large op, between the chunks of its loops.
import { describe, expect, test } from "vitest";
import {
  compile,
  type Inputs,
  input,
  linear,
  openDevice,
  type Results,
  sum,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";
import { leastOf } from "../helpers/clock.ts";

const [rows, width] = [2048, 4096];

/** Measures a complete run, and the time from an early abort to the end of the aborted run, in milliseconds. */
async function waits(threads: number, build: () => Results, tensors: Map<string, Tensor>, inputs: Inputs) {
  const device = openDevice({ threads });
  const executable = compile(build).bind(device, tensors);
  const start = performance.now();
  await executable.run(inputs);
  const whole = performance.now() - start;
  const controller = new AbortController();
  let aborted = 0;
  setTimeout(() => {
    aborted = performance.now();
    controller.abort();
  }, whole / 10);
  const failure = await executable.run(inputs, { signal: controller.signal }).then(
    () => undefined,
    (error: { code: string }) => error.code,
  );
  const wait = performance.now() - aborted;
  // The lane still works: the next run completes.
  const [again] = Object.values(await executable.run(inputs)) as Float32Array[];
  executable.dispose();
  return { whole, wait, failure, finite: Number.isFinite(again![0]) };
}

describe.each([1, 2])("abort with %i threads", (threads) => {
  test.each(["f32", "bf16"] as const)(
    "stops a product of 137 GFLOP in %s early",
    async (dtype) => {
      const device = openDevice({ threads });
      const weight = Tensor.zeros(device, dtype, [width * 2, width]);
      const tensors = new Map([["w", weight]]);
      const ids = new Float32Array(rows * width).fill(0.5);
      const build = () => ({
        total: sum(linear(input("x", "f32", [rows, width]), tensor("w", dtype, [width * 2, width]))),
      });
      const share = await leastOf(1 / 3, async () => {
        const { whole, wait, failure, finite } = await waits(threads, build, tensors, { x: ids });
        expect(failure).toBe("ABORTED");
        expect(finite).toBe(true);
        return wait / whole;
      });
      weight.dispose();
      expect(share).toBeLessThan(1 / 3);
    },
    120_000,
  );
});
