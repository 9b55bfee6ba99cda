// Preference training that is stopped and resumed.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { type DpoOptions, dpo } from "../../../lib/train/stages/dpo.ts";
import { kto } from "../../../lib/train/stages/kto.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { simpo } from "../../../lib/train/stages/simpo.ts";
import { pairs } from "../classify/sentences.ts";
import { lossesOf, useTrainedModel } from "../rollout/speaker.ts";

const place = useTrainedModel();
const { load } = place;

const common = { maxSteps: 30, perDeviceTrainBatchSize: 8, learningRate: 1e-3, warmupSteps: 3, seed: 5 };
const data = pairs(false);

const losses = (model: LanguageModel, more: Partial<DpoOptions> = {}) =>
  lossesOf(dpo(model, { ...common, maxSteps: 8, data, ...more }));

test("dpo: a resumed run has the losses of an uninterrupted one, bit for bit", async () => {
  await using whole = await load();
  const expected = await losses(whole);
  const outputDir = join(place.folder, "resumed");
  const controller = new AbortController();
  await using first = await load();
  const before: number[] = [];
  const interrupted = async () => {
    for await (const event of dpo(first, { ...common, maxSteps: 8, data, outputDir, signal: controller.signal })) {
      if (!("loss" in event)) continue;
      before.push(event.loss);
      if (event.step === 4) controller.abort();
    }
  };
  await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
  // `first` has been trained by now, so it would be a different reference.
  await expect(losses(first, { outputDir, resume: true })).rejects.toThrow(/resume: the reference or the data differ/);
  await using second = await load();
  await expect(losses(second, { outputDir, resume: true, dtype: "bf16" })).rejects.toThrow(
    / and the dtype of that run$/,
  );
  expect([...before, ...(await losses(second, { outputDir, resume: true }))]).toEqual(expected);
  await using finished = await LanguageModel.load(outputDir);
  expect(finished.card).toMatchObject({ stage: "dpo", parent: "pretrain" });
});

describe("a run stopped and resumed", () => {
  const rated = data.slice(0, 12).flatMap(({ prompt, chosen, rejected }) => [
    { prompt, completion: chosen, label: true },
    { prompt, completion: rejected, label: false },
  ]);
  type Options = Omit<DpoOptions, "data" | "evalData" | "lossType">;
  const stages = {
    kto: (model: LanguageModel, options: Options) => kto(model, { ...options, data: rated }),
    orpo: (model: LanguageModel, options: Options) => orpo(model, { ...options, data }),
    simpo: (model: LanguageModel, options: Options) => simpo(model, { ...options, data }),
    reward: (model: LanguageModel, options: Options) => trainReward(model, { ...options, data }),
  };
  const kinds = [
    ["full", {}],
    ["lora with dropout", { lora: { r: 4, dropout: 0.1 }, learningRate: 5e-3 }],
  ] as const;
  const cases = Object.keys(stages).flatMap((name) => kinds.map(([kind, more]) => [name, kind, more] as const));

  test.each(cases)(
    "%s (%s) has the losses and weights of an uninterrupted run, bit for bit",
    async (name, kind, more) => {
      const stage = stages[name as keyof typeof stages];
      const run = async (extra: Options) => {
        await using model = await load();
        const losses: number[] = [];
        const untouched = await model.model.weight("model.layers.0.mlp.up_proj.weight").toFloat32();
        for await (const event of stage(model, { ...common, ...more, maxSteps: 6, ...extra }))
          if ("loss" in event) losses.push(event.loss);
        const { model: inner } = model;
        const trained = kind === "full" ? inner.weightNames : adapterTensors(inner.adapters.get("default")!);
        const weights = await Promise.all(trained.map((tensor) => inner.weight(tensor).toFloat32()));
        if (kind !== "full")
          expect(await inner.weight("model.layers.0.mlp.up_proj.weight").toFloat32()).toEqual(untouched);
        return { losses, weights };
      };
      const expected = await run({});
      expect(new Set(expected.losses).size).toBe(6);
      const outputDir = join(place.folder, `stopped-${name}-${kind}`);
      await run({ outputDir, saveSteps: 3 });
      const resume = join(outputDir, "checkpoint-3");
      const rest = await run({ outputDir: join(place.folder, `rest-${name}-${kind}`), resume });
      expect(rest.losses).toEqual(expected.losses.slice(3));
      expect(rest.weights).toEqual(expected.weights);
    },
  );
});
