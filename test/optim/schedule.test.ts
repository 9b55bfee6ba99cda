import { describe, expect, it } from "vitest";
import type { HeddleError } from "../../lib/core/errors.ts";
import { learningRateSchedule, type ScheduleOptions } from "../../lib/optim/schedule.ts";

describe("learningRateSchedule", () => {
  it("rises linearly and reaches the peak at the end of the warm-up", () => {
    const rate = learningRateSchedule({ learningRate: 0.8, maxSteps: 100, lrScheduler: "constant", warmupSteps: 4 });
    expect([1, 2, 3, 4, 5, 100].map(rate)).toEqual([0.2, 0.4, 0.6000000000000001, 0.8, 0.8, 0.8]);
  });

  it("decays along half a cosine wave", () => {
    const rate = learningRateSchedule({ learningRate: 2, maxSteps: 10, lrScheduler: "cosine", warmupSteps: 2 });
    // (1 + cos(pi * p)) at p = 0, 1/4, 1/2, 3/4, 1
    const wanted = [2, 1.7071067811865475, 1, 0.2928932188134524, 0];
    for (const [i, step] of [2, 4, 6, 8, 10].entries()) expect(rate(step)).toBeCloseTo(wanted[i]!, 14);
    expect(rate(11)).toBe(0);
  });

  it("decays linearly", () => {
    const rate = learningRateSchedule({ learningRate: 1, maxSteps: 5, lrScheduler: "linear", warmupSteps: 1 });
    expect([1, 2, 3, 4, 5, 9].map(rate)).toEqual([1, 0.75, 0.5, 0.25, 0, 0]);
  });

  it("ends at minLearningRateRatio of the peak", () => {
    const cosine = learningRateSchedule({ learningRate: 10, maxSteps: 4, minLearningRateRatio: 0.1 });
    const wanted = [10 * (0.1 + 0.9 * 0.8535533905932737), 5.5, 10 * (0.1 + 0.9 * 0.1464466094067262), 1];
    for (const [i, rate] of wanted.entries()) expect(cosine(i + 1)).toBeCloseTo(rate, 12);
    const linear = learningRateSchedule({
      learningRate: 10,
      maxSteps: 4,
      lrScheduler: "linear",
      minLearningRateRatio: 0.2,
    });
    for (const [i, rate] of [8, 6, 4, 2].entries()) expect(linear(i + 1)).toBeCloseTo(rate, 12);
  });

  it("accepts the warm-up as a fraction, rounded up, unless steps are given", () => {
    const byRatio = learningRateSchedule({ learningRate: 1, maxSteps: 25, lrScheduler: "constant", warmupRatio: 0.1 });
    expect([1, 2, 3].map(byRatio)).toEqual([1 / 3, 2 / 3, 1]);
    const both = learningRateSchedule({
      learningRate: 1,
      maxSteps: 25,
      lrScheduler: "constant",
      warmupRatio: 0.5,
      warmupSteps: 2,
    });
    expect([1, 2].map(both)).toEqual([0.5, 1]);
  });

  it("keeps the peak at the end of a run that is all warm-up", () => {
    const rate = learningRateSchedule({ learningRate: 1, maxSteps: 2, warmupSteps: 10 });
    expect([1, 2].map(rate)).toEqual([0.5, 1]);
  });

  it("stays at the peak and decays in the last steps with warmup_stable_decay, along each decayType", () => {
    const wsd = (more: Partial<ScheduleOptions>) => {
      const rate = learningRateSchedule({ learningRate: 2, maxSteps: 20, lrScheduler: "warmup_stable_decay", ...more });
      return [1, 2, 3, 16, 17, 18, 19, 20, 21].map((step) => rate(step) / 2);
    };
    const linear = wsd({ warmupSteps: 2, decaySteps: 4, decayType: "linear" });
    expect(linear).toEqual([0.5, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]);
    const cosine = wsd({ decayRatio: 0.2, minLearningRateRatio: 0.5 });
    for (const [i, share] of [1, 1, 1, 1, 0.8535533905932737, 0.5, 0.1464466094067262, 0, 0].entries())
      expect(cosine[i]).toBeCloseTo(0.5 + share / 2, 12);
    const root = wsd({ decaySteps: 4, decayType: "1-sqrt" });
    for (const [i, share] of [1, 1, 1, 1, 0.5, 1 - Math.SQRT1_2, 1 - Math.sqrt(0.75), 0, 0].entries())
      expect(root[i]).toBeCloseTo(share, 12);
    expect(wsd({}).slice(4)).toEqual([1, 1, expect.closeTo(0.5, 12), 0, 0]); // by default, the last tenth of the steps decays
    expect(wsd({ warmupSteps: 2, decayRatio: 0 })).toEqual([0.5, 1, 1, 1, 1, 1, 1, 1, 1]); // no decay
    expect(wsd({ warmupSteps: 19, decaySteps: 10, decayType: "linear" }).slice(5)).toEqual([18 / 19, 1, 0, 0]);
    // Runs of different lengths have equal rates until the shorter one decays.
    const [short, long] = [20, 200].map((maxSteps) =>
      learningRateSchedule({
        learningRate: 1,
        maxSteps,
        lrScheduler: "warmup_stable_decay",
        warmupSteps: 3,
        decaySteps: 5,
      }),
    );
    for (let step = 1; step <= 15; step++) expect(long!(step)).toBe(short!(step));
  });

  it("accepts constant under both of its names", () => {
    for (const lrScheduler of ["constant", "constant_with_warmup"] as const)
      expect(
        [1, 2, 3].map(learningRateSchedule({ learningRate: 1, maxSteps: 9, lrScheduler, warmupSteps: 2 })),
      ).toEqual([0.5, 1, 1]);
  });

  it("accepts a function of the step, applied after the warm-up, and validates its result", () => {
    const asked: object[] = [];
    const lrScheduler = (at: { step: number; maxSteps: number }) => {
      asked.push(at);
      return at.step < 5 ? 1 : 0.25;
    };
    const rate = learningRateSchedule({ learningRate: 2, maxSteps: 6, lrScheduler, warmupSteps: 2 });
    expect([1, 2, 3, 4, 5, 6].map(rate)).toEqual([1, 2, 2, 2, 0.5, 0.5]);
    expect(asked).toEqual([3, 4, 5, 6].map((step) => ({ step, maxSteps: 6 })));
    const wrong = learningRateSchedule({ learningRate: 1, maxSteps: 3, lrScheduler: () => Number.NaN });
    expect(() => wrong(2)).toThrow(
      "lrScheduler: step 2: expected a number of at least 0, a share of learningRate, got NaN",
    );
  });

  it("gives a run of one step the peak, not the final rate of 0", () => {
    expect(learningRateSchedule({ learningRate: 0.5, maxSteps: 1 })(1)).toBe(0.5);
  });

  it.each<[Partial<ScheduleOptions>, string]>([
    [{ learningRate: -1 }, "learningRate: expected a number ≥ 0, got -1"],
    [{ learningRate: Number.NaN }, "learningRate: expected a number ≥ 0, got NaN"],
    [{ maxSteps: 0 }, "maxSteps: expected a whole number of at least 1, got 0"],
    [
      { lrScheduler: "cosin" as "cosine" },
      'lrScheduler: expected cosine, linear, constant, constant_with_warmup, warmup_stable_decay, or a function, got "cosin"',
    ],
    [{ decaySteps: 3 }, "decaySteps: expected no value unless lrScheduler is warmup_stable_decay, got 3"],
    [{ lrScheduler: "warmup_stable_decay", decaySteps: 0 }, "decaySteps: expected a whole number of at least 1, got 0"],
    [{ warmupSteps: 1.5 }, "warmupSteps: expected a whole number of at least 0, got 1.5"],
    [{ warmupRatio: 2 }, "warmupRatio: expected a number in [0, 1], got 2"],
    [{ minLearningRateRatio: -0.1 }, "minLearningRateRatio: expected a number in [0, 1], got -0.1"],
  ])("rejects %j", (wrong, message) => {
    const make = () => learningRateSchedule({ learningRate: 1, maxSteps: 10, ...wrong });
    expect(make).toThrow(message);
    try {
      make();
    } catch (error) {
      expect((error as HeddleError).code).toBe("INVALID_ARGUMENT");
    }
  });
});
