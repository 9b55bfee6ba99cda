// Every stage × sharding × 2 and 4 ranks, with matrices that the ranks divide.
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { entry } from "./helpers.ts";
import { mpirun, rankTest as test } from "./mpirun.ts";

const script = fileURLToPath(new URL("sharded-stages.mjs", import.meta.url));

async function found(ranks: number, accumulate: number, sharding: string): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await mpirun(ranks, [script, entry, String(accumulate), sharding]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

const stages = 18;

test.each([2, 4])(
  "every stage has the same events, weights and text on %d ranks with and without sharding",
  async (ranks) => {
    const whole = await found(ranks, 1, "none");
    expect(Object.keys(whole)).toHaveLength(stages);
    const gradients = await found(ranks, 1, "gradients");
    for (const sharding of ["optimizer", "parameters"]) {
      const shared = await found(ranks, 1, sharding);
      for (const [name, expected] of Object.entries(whole)) {
        // Ranks that divide the gradients add those of replayed batches in another order.
        const isSame = name !== "sft" || sharding === "optimizer";
        expect(shared[name], `${name}, ${sharding}`).toEqual(isSame ? expected : gradients[name]);
      }
    }
  },
  600_000,
);

test("with two batches per step, every stage has the same events, weights and text if ranks divide gradients or weights", async () => {
  expect(await found(2, 2, "parameters")).toEqual(await found(2, 2, "gradients"));
}, 600_000);
