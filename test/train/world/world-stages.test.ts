// Every stage of the table supports a world: two ranks in one process make the updates of one process with the whole batch.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { grpo } from "../../../lib/train/stages/grpo.ts";
import { runStage, STEPS, type Start, stages } from "../loop/stage-table.ts";
import { worlds } from "./worlds.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-worlds-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Removes KTO's means over good and over bad answers, which each rank computes over its rows. */
function withoutRankMetrics(event: TrainEvent): TrainEvent {
  const { rewardChosen: _, rewardRejected: __, rewardMargin: ___, ...metrics } = event.metrics ?? {};
  return "kl" in metrics && !("reward" in metrics) ? { ...event, metrics } : event;
}

/** Compares two values recursively, numbers within a tolerance. */
function expectNear(got: unknown, expected: unknown, place = "event"): void {
  if (typeof expected === "number") {
    expect(Math.abs((got as number) - expected), `${place}: ${got}, ${expected}`).toBeLessThan(
      1e-4 * Math.max(0.01, Math.abs(expected)),
    );
  } else if (typeof expected === "object" && expected !== null) {
    expect(Object.keys(got as object).sort(), place).toEqual(Object.keys(expected).sort());
    for (const [key, value] of Object.entries(expected))
      expectNear((got as Record<string, unknown>)[key], value, `${place}.${key}`);
  } else expect(got, place).toEqual(expected);
}

describe.each(Object.keys(stages))("%s", (name) => {
  test("two ranks make the same updates as one process with the whole batch", async () => {
    const alone = await runStage(stages[name]!, 2);
    const [first, second] = await Promise.all(worlds(2).map((world) => runStage(stages[name]!, 1, { world })));
    expect(alone.events.length).toBeGreaterThanOrEqual(STEPS);
    expect(second).toEqual(first);
    expectNear(first!.events.map(withoutRankMetrics), alone.events.map(withoutRankMetrics));
    const difference = Math.hypot(...alone.weight.map((v, i) => v - first!.weight[i]!));
    expect(difference / Math.hypot(...alone.weight)).toBeLessThan(1e-5);
  });
});

test("a partly used rollout continues on every rank from the checkpoint of rank 0", async () => {
  const start = stages["grpo, a rollout for several steps"]!;
  // Another schedule of learning rates would depend on maxSteps.
  const more = { lrScheduler: "constant", resume: "auto" } as const;
  const part = (maxSteps: number, name: string) =>
    Promise.all(
      worlds(2).map((world) =>
        // Rank 0 writes; the other rank only reads.
        runStage(start, 1, { ...more, world, maxSteps, outputDir: join(folder, name) }),
      ),
    );
  const through = await part(STEPS, "through");
  await part(3, "half");
  const rest = await part(STEPS, "half");
  expect(rest[0]!.events.at(-1)).toMatchObject({
    step: STEPS,
    loss: (through[0]!.events.at(-1) as { loss: number }).loss,
  });
  expect(rest[1]!.weight).toEqual(through[0]!.weight);
});

test("a reward is not asked to score the answers of a rank without held-out prompts", async () => {
  const rows = ["The cat saw", "The dog saw"].map((prompt) => ({ prompt, wanted: "a" }));
  const counts: number[] = [];
  const start: Start = (base, shared) =>
    grpo(base, {
      ...shared,
      data: rows,
      evalPrompts: rows.slice(0, 1),
      rewards: [
        // A field of the rows is missing if there are no rows.
        ({ completions, wanted }) => {
          counts.push(completions.length);
          return wanted!.map((letter, i) => completions[i]!.split(letter as string).length);
        },
      ],
      numGenerations: 2,
      maxCompletionLength: 4,
    });
  const [first, second] = await Promise.all(worlds(2).map((world) => runStage(start, 1, { world, maxSteps: 1 })));
  expect(second).toEqual(first);
  expect(first!.events.at(-1)!.metrics).toHaveProperty("reward");
  expect(counts).toEqual([4, 4, 2]);
});
