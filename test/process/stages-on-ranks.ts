import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { entry } from "./helpers.ts";
import { mpirun } from "./mpirun.ts";

const script = fileURLToPath(new URL("sharded-stages.mjs", import.meta.url));

/**
 * Trains stages of sharded-stages.mjs on ranks of one host.
 * @param options.overlap whether gradients must be summed while the backward pass goes on. Default: the world decides
 * @param options.stages Default: all
 * @param options.steps steps of each stage. Default 3
 * @returns by stage: what rank 0 has seen
 */
export async function trainStages(
  ranks: number,
  accumulate: number,
  sharding: string,
  { overlap = false, stages = [], steps = 3 }: { overlap?: boolean; stages?: readonly string[]; steps?: number } = {},
): Promise<Record<string, unknown>> {
  if (overlap) Object.assign(process.env, { HEDDLE_OVERLAP: "1", HEDDLE_RANK_BATCH_BYTES: "20000" }); // several batches
  try {
    const { code, stdout, stderr } = await mpirun(ranks, [
      script,
      entry,
      String(accumulate),
      sharding,
      String(steps),
      ...stages,
    ]);
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  } finally {
    if (overlap) for (const name of ["HEDDLE_OVERLAP", "HEDDLE_RANK_BATCH_BYTES"]) delete process.env[name];
  }
}
