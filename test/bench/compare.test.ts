import { describe, expect, it } from "vitest";
import { ratiosOf, timesOf } from "../../bench/compare.ts";

const pair = (suite: string, base: object[], here: object[]) => ({
  suite,
  base: base as Record<string, unknown>[],
  here: here as Record<string, unknown>[],
});

describe("npm run bench -- compare", () => {
  it("reads the milliseconds of ops, the decode loop and loading, and inverts the rates of decoding, training and tokenizing", () => {
    const times = (row: object) => Object.fromEntries(timesOf(row as Record<string, unknown>));
    expect(times({ name: "gemm", ceilingGflops: 500, heddle: { milliseconds: 4, gflops: 450 }, ratio: 1 })).toEqual({
      gemm: 4,
    });
    expect(times({ name: "decode 1", heddle: { tokensPerSecond: 50 }, readGigabytesPerSecond: 20 })).toEqual({
      "decode 1": 1 / 50,
    });
    expect(
      times({
        name: "step",
        f32: { heddle: { tokensPerSecond: 2, peakMB: 9 } },
        bf16: { heddle: { tokensPerSecond: 4 } },
      }),
    ).toEqual({ "step f32": 1 / 2, "step bf16": 1 / 4 });
    expect(times({ name: "loop", loopMilliseconds: 3, nativeMilliseconds: 2, overheadPercent: 50 })).toEqual({
      "loop, loopMilliseconds": 3,
      "loop, nativeMilliseconds": 2,
    });
    expect(times({ name: "encode", unit: "MB per CPU second", heddle: 200, heddleWall: 100, peers: {} })).toEqual({
      encode: 1 / 200,
      "encode, heddleWall": 1 / 100,
    });
    expect(times({ name: "load", unit: "milliseconds, in a fresh process", heddle: 30, importHeddle: 20 })).toEqual({
      load: 30,
      "load, importHeddle": 20,
    });
  });

  it("returns the ratio of the times for each row that both checkouts have", () => {
    const row = (name: string, milliseconds: number) => ({ name, heddle: { milliseconds } });
    const pairs = [
      pair("ops", [row("a", 2), row("gone", 1)], [row("a", 3), row("new", 1)]),
      pair("ops", [row("a", 4)], [row("a", 4)]),
    ];
    expect(ratiosOf(pairs)).toEqual(new Map([["a", [1.5, 1]]]));
  });

  it("shows a checkout with half the tokens a second as twice as slow", () => {
    const row = (tokensPerSecond: number) => ({ name: "decode", heddle: { tokensPerSecond } });
    expect(ratiosOf([pair("inference", [row(100)], [row(50)])])).toEqual(new Map([["decode", [2]]]));
  });
});
