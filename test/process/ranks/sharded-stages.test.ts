// Some stages × sharding × 1, 2 and 4 ranks, with matrices that the ranks divide. sharded-stages.full.test.ts has all stages.
import { expect } from "vitest";
import { rankTest as test } from "../mpirun.ts";
import { trainStages } from "../stages-on-ranks.ts";

const stages = ["pretrain", "sft with LoRA", "dpo", "classify", "grpo"];
const shardings = ["none", "optimizer", "gradients", "parameters"];

interface Found {
  events: { loss?: number; gradNorm?: number }[];
  weights: string[];
  text: string;
}
/** Returns the results that do not depend on the number of ranks. Metrics do, because means over the ranks are rounded. */
const resultsOf = (found: Record<string, unknown>) =>
  Object.entries(found as Record<string, Found>).map(([name, { events, weights, text }]) => {
    return { name, losses: events.map(({ loss, gradNorm }) => [loss, gradNorm]), weights, text };
  });

// With a micro-batch per rank, ranks add gradients in the order in which one process does.
test.each([2, 4])(
  "stages have the losses, norms, weights and text of one process on %d ranks with every sharding, bit for bit",
  async (ranks) => {
    const train = async (size: number, sharding: string) =>
      resultsOf(await trainStages(size, ranks / size, sharding, { stages, steps: 2 }));
    const alone = await train(1, "none");
    expect(alone.map(({ name }) => name)).toEqual(stages);
    for (const { losses } of alone) expect(losses.length).toBeGreaterThanOrEqual(2);
    for (const sharding of shardings) expect(await train(ranks, sharding), sharding).toEqual(alone);
  },
  240_000,
);
