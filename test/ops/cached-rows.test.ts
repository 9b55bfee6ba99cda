// The bits of a row of cached attention do not depend on the other rows of the run.
import { expect, test } from "vitest";
import { bf16, given, materialize, out, runOp, testDevice } from "./harness.ts";

const [HEADS, KEY_HEADS, WIDTH, CAPACITY] = [4, 2, 64, 600];
const ROW = HEADS * WIDTH;

// The CPU splits the work of a run by its size, unless a caller asks for deterministic results.
test.runIf(testDevice === "cuda").each([0, 70])(
  "a chunk of cached attention has the same bits alone and in a batch, with a window of %i",
  async (window) => {
    const cache = bf16([3, KEY_HEADS, CAPACITY, WIDTH], -2, 2);
    const [queries, k, v] = materialize([bf16([200, HEADS, WIDTH], -2, 2), cache, cache], 1);
    // Returns the chunk's output in a run of `rows` queries from `first` on. The chunk is queries 100 to 159.
    const chunk = async (first: number, rows: number, segments: number[][]) => {
      const operands = [
        bf16([rows, HEADS, WIDTH], -2, 2),
        cache,
        cache,
        given("i32", [segments.length, 4], segments.flat()),
      ];
      const c = {
        op: "cached_attention",
        label: "",
        inputs: operands,
        attributes: { causal: 1, window, scale: 0.2, softcap: 0 },
        outputs: [out("bf16", rows, HEADS, WIDTH)],
      };
      const rowsOfRun = queries!.slice(first * ROW, (first + rows) * ROW);
      const run = await runOp(c, [rowsOfRun, k, v, ...materialize([operands[3]], 1)]);
      const at = (100 - first) * ROW;
      return (run.outputs[0] as Uint16Array).slice(at, at + 60 * ROW);
    };
    const alone = await chunk(100, 60, [[0, 60, 1, 430]]);
    expect(new Set(alone).size).toBeGreaterThan(100);
    // The chunk follows another segment, or lies between the segments of a larger run.
    const after = [
      [0, 1, 0, 500],
      [1, 60, 1, 430],
    ];
    expect(await chunk(99, 61, after)).toEqual(alone);
    const among = [
      [0, 97, 2, 100],
      [97, 3, 0, 7],
      [100, 60, 1, 430],
      [160, 40, 0, 300],
    ];
    expect(await chunk(0, 200, among)).toEqual(alone);
  },
);
