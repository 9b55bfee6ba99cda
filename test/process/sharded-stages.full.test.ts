// Every stage × sharding × 2 and 4 ranks, with matrices that the ranks divide.
import { expect } from "vitest";
import { rankTest as test } from "./mpirun.ts";
import { trainStages } from "./stages-on-ranks.ts";

const stages = 19;

test.each([2, 4])(
  "every stage has the same events, weights and text on %d ranks with and without sharding and overlap",
  async (ranks) => {
    const whole = await trainStages(ranks, 1, "none");
    expect(Object.keys(whole)).toHaveLength(stages);
    const gradients = await trainStages(ranks, 1, "gradients");
    for (const sharding of ["optimizer", "parameters"]) {
      const shared = await trainStages(ranks, 1, sharding);
      for (const [name, expected] of Object.entries(whole)) {
        // Ranks that divide the gradients add those of replayed batches in another order.
        const isSame = !["sft", "classify with replay"].includes(name) || sharding === "optimizer";
        expect(shared[name], `${name}, ${sharding}`).toEqual(isSame ? expected : gradients[name]);
      }
    }
    for (const sharding of ["none", "optimizer"])
      expect(await trainStages(ranks, 1, sharding, { overlap: true }), sharding).toEqual(whole);
  },
  1_200_000,
);

test("with two batches per step, every stage has the same events, weights and text if ranks divide gradients or weights", async () => {
  expect(await trainStages(2, 2, "parameters")).toEqual(await trainStages(2, 2, "gradients"));
}, 600_000);

test.each([2, 4])(
  "every stage has the same events, weights and text on %d ranks with and without overlap and two batches per step",
  async (ranks) => {
    const whole = await trainStages(ranks, 2, "none");
    expect(Object.keys(whole)).toHaveLength(stages);
    for (const sharding of ["none", "optimizer"])
      expect(await trainStages(ranks, 2, sharding, { overlap: true }), sharding).toEqual(whole);
  },
  1_200_000,
);
