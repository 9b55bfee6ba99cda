// The statistics of `heddle bench`: intervals of medians, and the criterion for a regression.
import { describe, expect, test } from "vitest";
import { autotune } from "../../lib/bench/autotune.ts";
import { dataSheetShare } from "../../lib/bench/data-sheet.ts";
import { isSlower, measureAgainstBaseline, parseBaseline, parseShare } from "../../lib/bench/gate.ts";
import { median, medianInterval } from "../../lib/bench/measure.ts";
import type { BenchResult } from "../../lib/bench/types.ts";

/** Returns a seeded generator of numbers in [0, 1) (mulberry32). */
function generator(seed: number) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const noRest = async () => {};

/** Simulates a case of a given speed on a machine whose interruptions take up to `noise` of a round. */
function measured(speed: number, noise: number, random: () => number, rounds = 9): BenchResult {
  const values = Array.from({ length: rounds }, () => speed * (1 - noise * random() ** 2));
  const interval = medianInterval(values);
  const value = median(values);
  return {
    name: "x",
    value,
    unit: "GFLOP/s",
    roofline: null,
    ceiling: null,
    interval,
    relative: { value, interval },
    rounds,
  };
}

describe("the interval of a median", () => {
  test("consists of the order statistics from binomial tables", () => {
    const values = (n: number) => Array.from({ length: n }, (_, i) => i + 1).reverse();
    // The confidence must be at least 90 %. The interval of 9 values is from the 2nd to the 8th (96.1 %), since the 3rd to the 7th has 82.0 %.
    // The interval of 20 values is from the 6th to the 15th (95.9 %), since the 7th to the 14th has 88.5 %.
    expect(medianInterval(values(9))).toEqual([2, 8]);
    expect(medianInterval(values(20))).toEqual([6, 15]);
    expect(medianInterval(values(5))).toEqual([1, 5]);
    expect(medianInterval(values(1))).toEqual([1, 1]);
  });

  test("contains the median about as often as its confidence level states", () => {
    const random = generator(1);
    let held = 0;
    for (let i = 0; i < 2000; i++) {
      const [low, high] = medianInterval(Array.from({ length: 9 }, random));
      if (low <= 0.5 && 0.5 <= high) held++;
    }
    expect(held / 2000).toBeGreaterThan(0.945);
    expect(held / 2000).toBeLessThan(0.975);
  });
});

describe("isSlower", () => {
  /** Returns the share of runs in which the gate raises an alarm, measuring again where a case seems slower, as `bench` does. */
  async function alarms(before: number, after: number, noise: number, seed: number): Promise<number> {
    const random = generator(seed);
    let count = 0;
    for (let i = 0; i < 2000; i++) {
      const base = measured(before, noise, random);
      const now = await measureAgainstBaseline(base, 0.05, async () => measured(after, noise, random), noRest);
      if (isSlower(base, now, 0.05)) count++;
    }
    return count / 2000;
  }

  test("detects a loss of 20 % with noise of 10 %, every time", async () => {
    expect(await alarms(100, 80, 0.1, 2)).toBe(1);
  });

  test("does not report noise, or a loss below the threshold, as a regression", async () => {
    expect(await alarms(100, 100, 0.1, 3)).toBe(0);
    expect(await alarms(100, 100, 0.2, 3)).toBeLessThanOrEqual(0.001);
    expect(await alarms(100, 96, 0.02, 4)).toBe(0);
  });

  test("does not report a disturbance of some seconds as a regression, since measurements are spread out", async () => {
    for (const [seconds, slower] of [
      [1, false],
      [11, false],
      [100, true],
    ] as const) {
      const random = generator(7);
      const base = measured(100, 0.02, random);
      let now = 0;
      const look = async () => measured(now < seconds ? 85 : 100, 0.02, random);
      const result = await measureAgainstBaseline(base, 0.05, look, async (waited) => {
        now += waited;
      });
      expect(isSlower(base, result, 0.05)).toBe(slower);
      expect(now).toBe(seconds === 1 ? 2 : 12);
      expect(
        isSlower(base, await measureAgainstBaseline(base, 0.05, async () => measured(85, 0.02, random), noRest), 0.05),
      ).toBe(true);
    }
  });

  test("does not report a slower machine as a slower kernel: values are relative to the machine's speed", () => {
    const base = measured(100, 0.02, generator(4));
    const now = { ...measured(100, 0.02, generator(5)), value: 50 };
    expect(isSlower(base, now, 0.05)).toBe(false);
  });

  test("does not report a faster machine as a slower kernel: the case itself must be slower", () => {
    const base = measured(100, 0.02, generator(4));
    const relative = measured(70, 0.02, generator(5)).relative;
    expect(isSlower(base, { ...measured(101, 0.02, generator(5)), relative }, 0.05)).toBe(false);
    expect(isSlower(base, { ...measured(80, 0.02, generator(5)), relative }, 0.05)).toBe(true);
  });

  test("ignores a case that the baseline lacks", () => {
    expect(isSlower(undefined, measured(1, 0, generator(6)), 0.05)).toBe(false);
  });
});

describe("a fraction", () => {
  test.each([
    ["5%", 0.05],
    ["5", 0.05],
    ["0.05", 0.05],
    [".5 %", 0.005],
    ["1", 0.01],
    ["0", 0],
  ])("%s is parsed", (text, share) => expect(parseShare(text, "x")).toBeCloseTo(share, 12));
  test.each(["", "%", "-1%", "100%", "five", "1e400", "5%%"])("rejects %j", (text) =>
    expect(() => parseShare(text, "--max-regression")).toThrow(
      /^--max-regression: expected a number or a number with %/,
    ),
  );
});

describe("baselines", () => {
  const { interval, value } = measured(10, 0, generator(7));
  const result = {
    name: "x",
    value,
    unit: "MB/s",
    roofline: null,
    ceiling: null,
    interval,
    relative: { value, interval },
    rounds: 9,
  };
  test("are read from the JSON of a run, or from lines that end with it", () => {
    const text = JSON.stringify({ machine: { device: "cpu" }, results: [result] });
    expect(parseBaseline(text, "b.json").results[0]).toMatchObject({ name: "x", value: 10 });
    expect(parseBaseline(`\ufeff${JSON.stringify(JSON.parse(text), null, 2)}\n`, "b.json").results).toHaveLength(1);
    expect(parseBaseline(`{"note":1}\n${text}\n`, "b.json").results).toHaveLength(1);
  });
  test.each([
    "",
    "nothing",
    "{}",
    '{"results":[{"name":"x"}]}',
    JSON.stringify({ machine: { device: "cpu" }, results: [{ ...result, value: -1 }] }),
    "[".repeat(50_000),
  ])("baselines of any other content are rejected, and the error names the file (%#)", (text) =>
    expect(() => parseBaseline(text, "b.json")).toThrow(
      expect.objectContaining({ code: "INVALID_FILE", message: expect.stringMatching(/^b\.json: expected/) }),
    ),
  );
});

test("autotune rejects a training dtype other than f32 and bf16", async () => {
  for (const training of ["f16", "i32"] as never[])
    await expect(autotune({ training })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: `training: expected f32 or bf16, got "${training}"`,
    });
});

describe("the share of a card's data sheet", () => {
  const result = (name: "f32" | "bf16" | "read", value: number): BenchResult => ({
    ...measured(1, 0, generator(1)),
    roofline: 0.5,
    ceiling: { name, value },
  });

  test("is relative to the data sheet's rate of the resource that limits the case", () => {
    expect(dataSheetShare("NVIDIA H100 80GB HBM3", result("bf16", 989e12), false)).toBeCloseTo(0.5);
    expect(dataSheetShare("NVIDIA H100 PCIe", result("read", 2e12), false)).toBeCloseTo(0.5);
    expect(dataSheetShare("NVIDIA H200 NVL", result("bf16", 835e12), false)).toBeCloseTo(0.5);
    expect(dataSheetShare("NVIDIA H200", result("bf16", 989e12), false)).toBeCloseTo(0.5);
    expect(dataSheetShare("NVIDIA GeForce RTX 3090 Ti", result("f32", 20e12), false)).toBeCloseTo(0.25);
    expect(dataSheetShare("NVIDIA B200", result("bf16", 2250e12), false)).toBeCloseTo(0.5);
    expect(dataSheetShare("NVIDIA L4", result("read", 0.3e12), false)).toBeCloseTo(0.5);
    expect(dataSheetShare("NVIDIA L40S", result("read", 0.864e12), false)).toBeCloseTo(0.5);
  });

  test("is missing for a card whose name only contains that of a known one", () => {
    for (const name of [
      "NVIDIA GH200 480GB",
      "NVIDIA GB200",
      "NVIDIA L40",
      "NVIDIA RTX A1000",
      "NVIDIA GeForce RTX 4090 Laptop GPU",
      "NVIDIA GeForce RTX 4090 D",
      "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
    ])
      expect(dataSheetShare(name, result("bf16", 1e12), false), name).toBeUndefined();
    expect(dataSheetShare("NVIDIA A100-SXM4-40GB", result("read", 1.555e12), false)).toBeCloseTo(0.5);
  });

  test("is missing for an unknown card, a case without a bound, and f32 products in TF32", () => {
    expect(dataSheetShare("NVIDIA T4", result("bf16", 1e12), false)).toBeUndefined();
    expect(dataSheetShare(undefined, result("bf16", 1e12), false)).toBeUndefined();
    expect(
      dataSheetShare("NVIDIA H100", { ...result("bf16", 1), roofline: null, ceiling: null }, false),
    ).toBeUndefined();
    expect(dataSheetShare("NVIDIA H100", result("f32", 1e12), true)).toBeUndefined();
  });
});
