// A series of runs without JavaScript in between gives the same results as single runs.
import { expect, test } from "vitest";
import { abortFlag } from "../../lib/graph/compile.ts";
import { add, compile, Dimension, type Inputs, input, openDevice, scale, sum } from "../../lib/graph/index.ts";

const device = openDevice();
const n = new Dimension("n", 4);
const run = compile(() => ({
  y: add(scale(input("x", "f32", [n]), 2), add(input("b", "f32", [n]), input("same", "f32", [n]))),
  still: scale(input("same", "f32", [n]), 3),
})).bind(device, new Map());
const count = 5;
const b = Float32Array.from({ length: 3 * count }, (_, i) => i);
const inputs = { x: Float32Array.of(1, 2, 3), b, same: Float32Array.of(10, 20, 30) };
const series = { count, each: ["b"], feed: { x: "y" } };

async function oneByOne(first: Float32Array) {
  const y: number[] = [];
  const still: number[] = [];
  for (let i = 0, x = first; i < count; i++) {
    const results = await run.run({ ...inputs, x, b: b.subarray(3 * i, 3 * i + 3) });
    x = results.y as Float32Array;
    y.push(...x);
    still.push(...results.still);
  }
  return { y, still };
}

test("a series gives the results of single runs", async () => {
  const { outputs, done } = run.start(inputs, { series });
  await done;
  const { y, still } = await oneByOne(inputs.x);
  expect([...outputs.y]).toEqual(y);
  expect([...outputs.still]).toEqual(still);
});

test("a series can start from the output of a series that is still running", async () => {
  const first = run.start(inputs, { series });
  const x = first.outputs.y.subarray(3 * (count - 1)) as Float32Array;
  const second = run.start({ ...inputs, x }, { series, late: ["x"] });
  await second.done;
  const { y } = await oneByOne(Float32Array.from((await oneByOne(inputs.x)).y.slice(-3)));
  expect([...second.outputs.y]).toEqual(y);
});

test("a series rejects invalid inputs before anything runs", () => {
  const start = (given: Partial<Inputs>, more: object = {}) =>
    run.start({ ...inputs, ...given } as Inputs, { series: { ...series, ...more } });
  const fails = (work: () => unknown, code: string, message: RegExp) =>
    expect(work).toThrowError(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  fails(() => start({ b: b.subarray(1) }), "SHAPE_MISMATCH", /run: input b/);
  fails(() => start({ same: b }), "SHAPE_MISMATCH", /run: input same/);
  fails(() => start({}, { each: ["c"] }), "SHAPE_MISMATCH", /run: input b/);
  fails(() => start({}, { each: ["b", "c"] }), "INVALID_ARGUMENT", /name of an input, got c/);
  fails(() => start({}, { feed: { b: "y" } }), "INVALID_ARGUMENT", /series\.feed and series\.each/);
  const late = { series, late: ["b"] };
  fails(() => run.start(inputs, late), "INVALID_ARGUMENT", /late and series\.each/);
  fails(() => start({}, { feed: { x: "z" } }), "INVALID_ARGUMENT", /name of an output, got z/);
  for (const wrong of [0, -1, 1.5, 5000, Number.NaN])
    fails(() => start({ b: new Float32Array(0) }, { count: wrong }), "INVALID_ARGUMENT", /series\.count/);
  const wide = new Dimension("wide", 8);
  const other = compile(() => ({ y: scale(input("x", "f32", [wide]), 1), z: scale(input("w", "f32", [2]), 1) })).bind(
    device,
    new Map(),
  );
  const feed = { w: "y" };
  const given = { x: new Float32Array(5), w: new Float32Array(2) };
  fails(
    () => other.start(given, { series: { count: 2, each: [], feed } }),
    "SHAPE_MISMATCH",
    /series\.feed: expected an output of 8 bytes for input \d, got 20 bytes/,
  );
});

test("a series stops on a flag or a signal", async () => {
  const flag = abortFlag();
  flag.abort();
  await expect(run.start(inputs, { series, flag }).done).rejects.toMatchObject({ code: "ABORTED" });
  // 4000 runs of this program take seconds.
  const slow = compile(() => ({ y: sum(input("x", "f32", [1 << 20])) })).bind(device, new Map());
  const controller = new AbortController();
  const long = { count: 4000, each: [], feed: {} };
  const { done } = slow.start({ x: new Float32Array(1 << 20) }, { series: long, signal: controller.signal });
  controller.abort();
  await expect(done).rejects.toMatchObject({ code: "ABORTED" });
  expect((await run.run({ ...inputs, b: inputs.x })).still[0]).toBe(30);
  const early = slow.start({ x: new Float32Array(1 << 20) }, { series: long, signal: AbortSignal.abort() });
  await expect(early.done).rejects.toMatchObject({ code: "ABORTED" });
});
