// Tests the regression gate with real kernels. The gate reports a case that does twice the work that it states, but no unchanged case.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Ceilings, filled, runSeconds } from "../../lib/bench/ceilings.ts";
import { isSlower, measureAgainstBaseline } from "../../lib/bench/gate.ts";
import { measure } from "../../lib/bench/measure.ts";
import { product } from "../../lib/bench/suites/gemm.ts";
import type { BenchCase } from "../../lib/bench/types.ts";
import { type Executable, openDevice, type Tensor } from "../../lib/graph/index.ts";

const SIZE = 512;
const PRODUCTS = 20;
const LIMIT = 0.05;

const device = openDevice({ device: "cpu", threads: 1 });
const ceilings = new Ceilings(device, { quick: true });
const tensors = new Map<string, Tensor>();
let executable: Executable;

beforeAll(async () => {
  for (const name of ["a", "b0"]) tensors.set(name, await filled(device, "f32", [SIZE, SIZE]));
  executable = product("NT", "f32", SIZE, SIZE, SIZE).bind(device, tensors);
});
afterAll(() => {
  executable.dispose();
  for (const t of tensors.values()) t.dispose();
  ceilings.dispose();
});

/** Returns a case that states the work of PRODUCTS products, and computes `planted` additional ones. */
function caseWith(planted: number): BenchCase {
  return {
    name: "gemm",
    unit: "GFLOP/s",
    work: (2 * SIZE ** 3 * PRODUCTS) / 1e9,
    run: () => runSeconds(executable, { row: Int32Array.of(0) }, PRODUCTS + planted),
  };
}

/** Returns whether the gate reports a case with `planted` more products. Like `bench`, it measures a slower case again, after shorter waits. */
async function isReported(planted: number): Promise<boolean> {
  const look = (one: BenchCase) => () => measure(one, ceilings, { rounds: 9 });
  const base = await look(caseWith(0))();
  const now = await measureAgainstBaseline(base, LIMIT, look(caseWith(planted)), (seconds) => sleep(300 * seconds));
  return isSlower(base, now, LIMIT);
}

test("a kernel that takes twice as long is reported", async () => {
  expect(await isReported(PRODUCTS)).toBe(true);
}, 60_000);

test("an unchanged kernel is not reported", async () => {
  expect(await isReported(0)).toBe(false);
}, 60_000);
