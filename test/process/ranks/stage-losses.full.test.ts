// Every stage of ranks-stages.mjs on ranks of both launchers, with every sharding and in both orders of addition.
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { type Ended, entry, node } from "../helpers.ts";
import { LAUNCHERS, mpirun, rankTest as test } from "../mpirun.ts";

const script = fileURLToPath(new URL("../ranks-stages.mjs", import.meta.url));

test("every stage has the same losses on several ranks as alone, bit for bit if the sums have the same order", async () => {
  const lossesOf = async (ended: Promise<Ended>): Promise<Record<string, number[]>> => {
    const { code, stdout, stderr } = await ended;
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  const expected = await lossesOf(node([script, entry, "4"]));
  expect(Object.values(expected).map((losses) => losses.length)).toEqual([4, 4, 4, 4, 4, 4]);
  // Four ranks add their four gradients in the order in which one process does.
  for (const launcher of Object.values(LAUNCHERS))
    expect(await lossesOf(mpirun(4, [script, entry, "1"], undefined, launcher))).toEqual(expected);
  for (const sharding of ["optimizer", "gradients", "parameters"])
    expect(await lossesOf(mpirun(4, [script, entry, "1", sharding]))).toEqual(expected);
  // Two ranks add them in pairs. Four ranks that add in the same order have the same losses.
  for (const [sharding, order] of [
    [
      "none",
      [
        [0, 2],
        [1, 3],
      ],
    ], // each rank adds up its two micro-batches first
    [
      "gradients",
      [
        [0, 1],
        [2, 3],
      ],
    ], // both ranks add up each micro-batch first
  ] as const) {
    const pairs = await lossesOf(mpirun(2, [script, entry, "2", sharding]));
    const ordered = await lossesOf(mpirun(4, [script, entry, "1", "none", JSON.stringify(order)]));
    expect(pairs, sharding).toEqual(ordered);
    expect(Object.keys(pairs)).toEqual(Object.keys(expected));
  }
}, 240_000);
