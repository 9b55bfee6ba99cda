// Every stage on 1, 2 and 4 ranks in one process, with and without sharding.
import { describe, expect, test } from "vitest";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { sentences } from "../../inference/helpers.ts";
import { runStage, type Start, stages } from "../loop/stage-table.ts";
import { worlds } from "../world/worlds.ts";

const more: Record<string, Start> = {
  pretrain: (base, shared) => pretrain(base, { ...shared, data: [{ text: sentences.join("\n") }], maxSeqLength: 16 }),
  "pretrain with Muon": (base, shared) =>
    pretrain(base, { ...shared, data: [{ text: sentences.join("\n") }], maxSeqLength: 16, optim: "muon" }),
  sft: (base, shared) => sft(base, { ...shared, data: sentences.map((text) => ({ text })) }),
  "sft with LoRA": (base, shared) =>
    sft(base, { ...shared, data: sentences.map((text) => ({ text })), lora: { r: 4 } }),
};

describe.each(Object.entries({ ...more, ...stages }))("%s", (_, start) => {
  test("rejects sharding in a single process", async () => {
    await expect(runStage(start, 1, { sharding: "optimizer" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^sharding: optimizer: expected several processes/),
    });
  });

  test.each([2, 4])("has the same events and weights on %d ranks with and without sharding", async (size) => {
    const run = (sharding: "none" | "optimizer") =>
      Promise.all(worlds(size).map((world) => runStage(start, 4 / size, { world, sharding })));
    const whole = await run("none");
    expect(whole[0]!.events.length).toBeGreaterThan(0);
    expect(await run("optimizer")).toEqual(whole);
  });
});
