import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { mismatched } from "../../../lib/train/preference/rated-answers.ts";
import { type DpoOptions, dpo } from "../../../lib/train/stages/dpo.ts";
import { kto } from "../../../lib/train/stages/kto.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { simpo } from "../../../lib/train/stages/simpo.ts";
import { bad, good, isHeldOut, pairs, prompts } from "../classify/sentences.ts";
import { eventsOf, useTrainedModel } from "../rollout/speaker.ts";

const place = useTrainedModel();
const { load } = place;

const common = { maxSteps: 30, perDeviceTrainBatchSize: 8, learningRate: 1e-3, warmupSteps: 3, seed: 5 };
const data = pairs(false);
const evalData = pairs(true);

/** Returns the shares of good and of bad answers among sampled answers to held-out prompts. */
async function answers(model: LanguageModel): Promise<{ good: number; bad: number }> {
  const asked = prompts.filter(isHeldOut);
  const all = await model.completeAll(asked, { n: 16, maxTokens: 12, temperature: 1, seed: 11 });
  const share = (list: string[]) => all.filter(({ text }) => list.includes(text)).length / all.length;
  return { good: share(good), bad: share(bad) };
}

describe("preference training", () => {
  test("starts from a model that gives good and bad answers to held-out prompts", async () => {
    await using model = await load();
    const before = await answers(model);
    expect(before.good).toBeGreaterThan(0.2);
    expect(before.bad).toBeGreaterThan(0.2);
  });

  test.each([
    ["sigmoid", {}],
    ["ipo", { lossType: "ipo" }],
    ["hinge", { lossType: "hinge" }],
    ["sigmoid, smoothed, in bf16", { labelSmoothing: 0.1, dtype: "bf16", saveDtype: "f32" }],
    ["lora", { lora: { r: 4 }, learningRate: 5e-3 }],
  ] as const)("dpo (%s) widens the margin and suppresses bad answers", async (_, more: Partial<DpoOptions>) => {
    await using model = await load();
    const { steps, held } = await eventsOf(dpo(model, { ...common, data, evalData, evalSteps: 10, ...more }));
    // Before the first step the policy equals the reference.
    expect(steps[0]!.metrics).toMatchObject({ rewardChosen: 0, rewardRejected: 0, rewardAccuracy: 0 });
    const margins = held.map(({ metrics }) => metrics!.rewardMargin!);
    expect(margins[0]!).toBeGreaterThan(0.05);
    expect(margins.at(-1)!).toBeGreaterThan(margins[0]!);
    expect(held.at(-1)!.metrics!.rewardAccuracy).toBeGreaterThan(0.9);
    expect((await answers(model)).bad).toBeLessThan(0.05);
  });

  test("dpo with the chosen answers' cross-entropy makes good answers likelier", async () => {
    await using model = await load();
    const before = await answers(model);
    const { steps } = await eventsOf(dpo(model, { ...common, maxSteps: 60, data, rpoAlpha: 1 }));
    expect(steps.at(-1)!.metrics!.nllLoss).toBeLessThan(steps[0]!.metrics!.nllLoss!);
    const after = await answers(model);
    expect(after.good).toBeGreaterThan(before.good + 0.3);
    expect(after.bad).toBeLessThan(0.05);
  });

  test("orpo makes good answers likelier and bad ones rare", async () => {
    await using model = await load();
    const before = await answers(model);
    const { held } = await eventsOf(orpo(model, { ...common, maxSteps: 60, data, evalData, evalSteps: 10, beta: 0.5 }));
    expect(held.at(-1)!.metrics!.logOdds!).toBeGreaterThan(held[0]!.metrics!.logOdds!);
    const after = await answers(model);
    expect(after.good).toBeGreaterThan(before.good + 0.3);
    expect(after.bad).toBeLessThan(0.1);
  });

  test("simpo lowers its loss, reaches its margin on held-out pairs, and makes bad answers rare", async () => {
    await using model = await load();
    const gamma = 0.5;
    const { steps, held } = await eventsOf(simpo(model, { ...common, data, evalData, evalSteps: 10, gamma }));
    expect(steps.at(-1)!.loss).toBeLessThan(steps[0]!.loss / 2);
    expect(held.at(-1)!.evalLoss!).toBeLessThan(held[0]!.evalLoss!);
    expect(held.at(-1)!.metrics!.rewardMargin!).toBeGreaterThan(gamma);
    expect(held.at(-1)!.metrics!.rewardAccuracy).toBeGreaterThan(0.9);
    expect((await answers(model)).bad).toBeLessThan(0.05);
  });

  test.each(["kto", "apo_zero_unpaired"] as const)(
    "kto (%s) widens the margin and suppresses bad answers",
    async (lossType) => {
      const single = (list: typeof data) =>
        list.flatMap(({ prompt, chosen, rejected }) => [
          { prompt, completion: chosen, label: true },
          { prompt, completion: rejected, label: false },
        ]);
      await using model = await load();
      const run = kto(model, { ...common, data: single(data), evalData: single(evalData), evalSteps: 10, lossType });
      const { steps, held } = await eventsOf(run);
      if (lossType === "kto") expect(steps[0]!.metrics!.kl).toBe(0);
      expect(held.at(-1)!.metrics!.rewardMargin!).toBeGreaterThan(held[0]!.metrics!.rewardMargin!);
      const after = await answers(model);
      expect(after.good / (after.good + after.bad)).toBeGreaterThan(0.9);
      expect(after.bad).toBeLessThan(0.1);
    },
  );

  test.each([
    // Prompts of rows in order, and the index of the row whose answer each prompt is paired with.
    ["different prompts use the previous row", "abcd", [3, 0, 1, 2]],
    ["pairs of rows use the same position of the previous pair", "aabbcc", [4, 5, 0, 1, 2, 3]],
    ["runs of different lengths, one of which wraps around the end", "abbbca", [3, 4, 5, 0, 1, 2]],
    ["a row that would be paired with its own prompt looks further back", "aabcab", [3, 5, 0, 1, 2, 3]],
    ["alternating prompts", "abab", [3, 0, 1, 2]],
    ["a single prompt uses the previous row", "aaa", [2, 0, 1]],
  ])("kto estimates the divergence from answers to other prompts: %s", (_, prompts, expected) => {
    const items = [...prompts].map((prompt, i) => ({
      answer: { ids: Int32Array.of(prompt.charCodeAt(0), 0, 1000 + i, 2000), promptLength: 2 },
    }));
    for (const [i, { other, answer }] of mismatched(items, 3).entries()) {
      expect([...other.ids]).toEqual([answer.ids[0], 0, 1000 + expected[i]!]); // truncated to 3
      expect(other.promptLength).toBe(2);
    }
  });

  test("kto's held-out metrics do not depend on how good and bad answers are split into micro-batches", async () => {
    const labels = [true, false, true, true, false, false, true, true];
    const held = labels.map((label, i) => {
      const { prompt, chosen, rejected } = evalData[i % evalData.length]!;
      return { prompt, completion: label ? chosen : rejected, label };
    });
    await using refModel = await load();
    await sft(refModel, { data: data.map(({ rejected }) => ({ text: rejected })), maxSteps: 12, learningRate: 1e-2 });
    const measured = [];
    for (const perDeviceTrainBatchSize of [8, 4, 2]) {
      await using model = await load();
      const rows = held.map((row) => ({ ...row, completion: `${row.completion} ` }));
      const options = { data: rows, evalData: held, evalSteps: 1, maxSteps: 1, lossType: "apo_zero_unpaired" } as const;
      const run = kto(model, { ...common, ...options, refModel, learningRate: 1e-12, perDeviceTrainBatchSize });
      measured.push((await eventsOf(run)).held[0]!.metrics!);
    }
    const [expected, ...others] = measured;
    expect(Math.abs(expected!.rewardChosen!)).toBeGreaterThan(1e-3);
    expect(expected!.rewardMargin).toBe(expected!.rewardChosen! - expected!.rewardRejected!);
    for (const metrics of others) {
      expect(Object.keys(metrics).sort()).toEqual(Object.keys(expected!).sort());
      for (const [name, value] of Object.entries(expected!)) expect(metrics[name], name).toBeCloseTo(value, 5);
    }
  });

  test("metrics over several steps are means over the steps that have them", async () => {
    const rows = data.slice(0, 4).map(({ prompt, chosen }, i) => ({ prompt, completion: chosen, label: i < 3 }));
    const options = { data: rows, maxSteps: 4, perDeviceTrainBatchSize: 2, lossType: "apo_zero_unpaired" } as const;
    const run = async (loggingSteps: number) => {
      await using model = await load();
      return (await eventsOf(kto(model, { ...common, ...options, loggingSteps }))).steps.map(({ metrics }) => metrics!);
    };
    const single = await run(1);
    const [all] = await run(4);
    // Two of the four steps have the bad answer and a good one; the others have two good ones.
    const withBad = single.filter((m) => m.rewardRejected !== undefined);
    expect(withBad.length).toBe(2);
    const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
    const good = sum(single.map((m) => m.rewardChosen! * (m.rewardRejected === undefined ? 2 : 1))) / 6;
    const bad = sum(withBad.map((m) => m.rewardRejected!)) / 2;
    expect(all!.rewardChosen).toBeCloseTo(good, 10);
    expect(all!.rewardRejected).toBeCloseTo(bad, 10);
    expect(all!.rewardMargin).toBeCloseTo(good - bad, 10);
  });

  test.each([
    ["full", {}],
    ["lora", { lora: { r: 4 }, learningRate: 5e-3 }],
  ] as const)(
    "a reward model (%s) scores good answers higher, and is saved as a sequence classifier unless it is an adapter",
    async (name, more) => {
      await using model = await load();
      const outputDir = join(place.folder, `reward-${name}`);
      const run = trainReward(model, { ...common, data, evalData, evalSteps: 10, outputDir, ...more });
      const { steps, held } = await eventsOf(run);
      expect(steps[0]!.metrics!.rewardAccuracy!).toBeLessThan(0.9);
      expect(held.at(-1)!.metrics!.rewardAccuracy!).toBeGreaterThan(0.9);
      expect(held.at(-1)!.metrics!.rewardMargin!).toBeGreaterThan(1);
      if (name === "lora") {
        const adapter = JSON.parse(await readFile(join(outputDir, "adapter_config.json"), "utf8"));
        expect(adapter).toMatchObject({ peft_type: "LORA", r: 4 });
        expect(existsSync(join(outputDir, "config.json"))).toBe(false);
        return;
      }
      const config = JSON.parse(await readFile(join(outputDir, "config.json"), "utf8"));
      expect(config).toMatchObject({ architectures: ["LlamaForSequenceClassification"], id2label: { 0: "reward" } });
      await using loaded = await LanguageModel.load(outputDir);
      expect(loaded.model.weight("score.weight").shape).toEqual([1, 32]);
      expect(loaded.card).toMatchObject({ stage: "reward" });
    },
  );
});

describe("dpo", () => {
  const losses = async (model: LanguageModel, more: Partial<DpoOptions> = {}) =>
    (await eventsOf(dpo(model, { ...common, maxSteps: 8, data, ...more }))).steps.map((e) => e.loss);

  test("accumulated micro-batches equal one batch", async () => {
    await using whole = await load();
    await using parts = await load();
    const expected = await losses(whole, { rpoAlpha: 0.5 });
    const got = await losses(parts, { rpoAlpha: 0.5, perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 });
    for (const [i, loss] of expected.entries()) expect(Math.abs(got[i]! / loss - 1)).toBeLessThan(1e-4);
  });

  test("gives the same losses without refModel as with a copy of the initial policy as refModel", async () => {
    await using model = await load();
    await using other = await load();
    await using same = await load();
    expect(await losses(model, { refModel: other })).toEqual(await losses(same));
  });

  test("a LoRA run keeps the base's bytes, and its adapter loads", async () => {
    await using model = await load();
    const name = "model.layers.0.mlp.up_proj.weight";
    const before = await model.model.weight(name).toFloat32();
    const outputDir = join(place.folder, "adapter");
    await losses(model, { lora: { r: 4 }, learningRate: 5e-3, outputDir });
    expect(await model.model.weight(name).toFloat32()).toEqual(before);
    expect(existsSync(join(outputDir, "adapter_model.safetensors"))).toBe(true);
    await using loaded = await LanguageModel.load(outputDir);
    const ask = { maxTokens: 8, temperature: 0 };
    expect((await loaded.complete("Ella sees", ask)).tokens).toEqual((await model.complete("Ella sees", ask)).tokens);
  });

  test("without maxSteps, epochs determine the number of steps", async () => {
    await using model = await load();
    const { steps } = await dpo(model, { data, perDeviceTrainBatchSize: 8, numTrainEpochs: 0.5 });
    expect(steps).toBe(Math.ceil((0.5 * data.length) / 8));
  });
});

test("the same rows are held out for every seed", async () => {
  const measured = async (seed: number) => {
    await using model = await load();
    const { held } = await eventsOf(
      orpo(model, { ...common, data, evalFraction: 0.25, maxSteps: 1, learningRate: 1e-12, seed }),
    );
    return held.map(({ tokens, evalLoss }) => [tokens, evalLoss!.toFixed(4)]);
  };
  const [first, ...others] = [await measured(1), await measured(2), await measured(3)];
  expect(others).toEqual([first, first]);
});
