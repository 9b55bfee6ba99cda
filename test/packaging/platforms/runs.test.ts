// Uses each platform's package on a system of that platform, and compares the results with this machine's.
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { asked, makeConsumer, ownAddon } from "./consumer.ts";
import { type System, systems } from "./systems.ts";

interface Result {
  platform: string;
  arch: string;
  isa: string;
  tokens: { count: number; digest: string };
  answer: string;
  losses: Record<string, number>;
  resumed: Record<string, number>;
  resumedSteps: number[];
  weights: string;
  resumedWeights: string;
}

/** The instruction set of x64 systems. With `--sample`, scripts/test-platforms.mjs builds and selects only the baseline. */
const isa = process.env.HEDDLE_PLATFORMS_ISA ?? "avx2";
const names = asked(systems.map(({ target }) => target));
const tried = systems.filter(({ target }) => names.includes(target));
let consumer: string;

beforeAll(() => {
  consumer = makeConsumer(names);
});
afterAll(() => {
  if (consumer) rmSync(consumer, { recursive: true, force: true });
});

/** Results of the trial, which runs once per system. This machine uses the checkout's build if its target is not under test. */
const results = new Map<string, Result>();
function resultOn(system: System): Result {
  const known = results.get(system.name);
  if (known) return known;
  const folder = `out ${system.name} ü`;
  const env: Record<string, string> = system.target.includes("x64") ? { HEDDLE_ISA: isa } : {};
  if (!names.includes(system.target)) Object.assign(env, ownAddon);
  system.run(consumer, "trial.mjs", folder, env);
  const result: Result = JSON.parse(readFileSync(join(consumer, folder, "result.json"), "utf8"));
  results.set(system.name, result);
  return result;
}

test("at least one system is tested", () => {
  expect(tried.length).toBeGreaterThan(0);
});

describe.each(tried)("$name", (system) => {
  test("loads its own package, tokenizes, generates and trains", () => {
    const result = resultOn(system);
    expect(system.target).toContain(`${result.platform}-${result.arch}`);
    expect(result.isa).toBe(result.arch === "arm64" ? "neoni8mm" : isa); // qemu's processor "max" has every set
    expect(result.answer).toMatch(/^ Paris/);
    expect(Object.keys(result.losses)).toHaveLength(10);
    expect(result.losses[10]!).toBeLessThan(result.losses[1]!);
  });

  test("resumes training with the same bits", () => {
    const result = resultOn(system);
    expect(result.resumedSteps).toEqual([6, 7, 8, 9, 10]);
    expect(result.resumed).toEqual(result.losses);
    expect(result.resumedWeights).toBe(result.weights);
  });

  test("handles line ends, long paths, open files and locks", () => {
    const folder = `files ${system.name} ü`;
    system.run(consumer, "files.mjs", folder);
    expect(JSON.parse(readFileSync(join(consumer, folder, "result.json"), "utf8"))).toEqual({
      lineEnds: true,
      longPath: true,
      savedOverOpenFiles: true,
      locks: "INVALID_ARGUMENT true",
    });
  });

  const isReference = system === systems[0];
  test.skipIf(isReference)("has the results of Linux x64 within rounding errors", () => {
    const [result, expected] = [resultOn(system), resultOn(systems[0]!)];
    expect(result.tokens).toEqual(expected.tokens);
    expect(result.answer).toBe(expected.answer);
    for (const [step, loss] of Object.entries(expected.losses))
      expect(Math.abs(result.losses[step]! - loss), `loss of step ${step}`).toBeLessThan(1e-4 * loss);
  });

  // Arm has other instructions. This machine's own build, which runs if linux-x64-gnu is not under test, has another compiler.
  const hasSameCode = system.target.includes("x64") && names.includes(systems[0]!.target);
  test.skipIf(isReference || !hasSameCode)("trains to the same bits as Linux x64", () => {
    const [result, expected] = [resultOn(system), resultOn(systems[0]!)];
    expect(result.losses).toEqual(expected.losses);
    expect(result.weights).toBe(expected.weights);
  });
});
