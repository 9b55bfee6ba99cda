// Rollout training that is stopped and resumed: a checkpoint stores the current rollout and identifies the prompts.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { pack, unpack } from "../../../lib/train/rollout/pack.ts";
import { grpo } from "../../../lib/train/stages/grpo.ts";
import { ppo } from "../../../lib/train/stages/ppo.ts";
import { common, ppoCommon } from "./rollouts.ts";
import { lossesOf, useTrainedModel } from "./speaker.ts";

const fixture = useTrainedModel();
const { load } = fixture;

test("grpo: a run resumed within a rollout has the losses of an uninterrupted one, bit for bit", async () => {
  // Four steps per rollout: two micro-batches, twice.
  const options = {
    ...common,
    gradientAccumulationSteps: 1,
    stepsPerGeneration: 2,
    numIterations: 2,
    maxSteps: 10,
    beta: 0.05,
  };
  await using whole = await load();
  const expected = await lossesOf(grpo(whole, options));
  const outputDir = join(fixture.folder, "resumed");
  const controller = new AbortController();
  await using first = await load();
  const before: number[] = [];
  const interrupted = async () => {
    for await (const event of grpo(first, { ...options, outputDir, signal: controller.signal })) {
      if (!("loss" in event)) continue;
      before.push(event.loss);
      if (event.step === 6) controller.abort();
    }
  };
  await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
  await using second = await load();
  const after = await lossesOf(grpo(second, { ...options, outputDir, resume: true }));
  expect([...before, ...after]).toEqual(expected);
  await using finished = await LanguageModel.load(outputDir);
  expect(finished.card).toMatchObject({ stage: "grpo" });
});

test("ppo: a run resumed within a rollout has the losses of an uninterrupted one, bit for bit", async () => {
  const options = {
    ...ppoCommon,
    numMiniBatches: 2,
    maxSteps: 10,
    klTarget: 0.05,
    klHorizon: 100,
    whitenRewards: true,
  };
  await using whole = await load();
  const expected = await lossesOf(ppo(whole, options));
  const outputDir = join(fixture.folder, "ppo-resumed");
  const controller = new AbortController();
  await using first = await load();
  const before: number[] = [];
  const interrupted = async () => {
    for await (const event of ppo(first, { ...options, outputDir, signal: controller.signal })) {
      if (!("loss" in event)) continue;
      before.push(event.loss);
      if (event.step === 6) controller.abort();
    }
  };
  await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
  await using second = await load();
  const after = await lossesOf(ppo(second, { ...options, outputDir, resume: true }));
  expect([...before, ...after]).toEqual(expected);
  await using finished = await LanguageModel.load(outputDir);
  expect(finished.card).toMatchObject({ stage: "ppo" });
  expect(finished.model.weight("v_head.summary.weight").shape).toEqual([1, 32]);
  expect((await finished.complete("Anna sees", { maxTokens: 4, temperature: 0 })).tokens.length).toBeGreaterThan(0);
});

test("a rollout survives JSON bit for bit", () => {
  const value = {
    answers: [{ ids: Int32Array.of(1, -2), logprobs: Float32Array.of(0.1, -1e-30), a: 1 / 3 }],
    text: "$Float32Array",
  };
  expect(unpack(JSON.parse(JSON.stringify(pack(value))))).toEqual(value);
});

test("a rollout keeps infinities, NaN and −0 as JSON", () => {
  const odd = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN, -0, 0];
  const value = {
    answers: [{ logprobs: Float32Array.from(odd), values: Float64Array.from(odd), scores: [...odd, null] }],
  };
  expect(unpack(JSON.parse(JSON.stringify(pack(value))))).toEqual(value);
});

describe.each(["grpo", "ppo"] as const)("%s: a resumed run", (name) => {
  const promptsWithAnswers = common.prompts.map((row, i) => ({ ...row, answer: `a${i}` }));
  /** Runs two steps, or resumes for a third. */
  async function run(
    prompts: typeof promptsWithAnswers | string,
    resume = false,
    more: { refModel?: LanguageModel } = {},
  ) {
    await using model = await load();
    const shared = {
      dtype: "f32",
      outputDir: join(fixture.folder, name),
      saveSteps: 1,
      resume,
      overwriteOutputDir: !resume,
      ...more,
    } as const;
    const maxSteps = resume ? 3 : 2;
    return name === "grpo"
      ? await grpo(model, { ...common, ...shared, prompts, maxSteps, beta: more.refModel ? 0.1 : 0 })
      : await ppo(model, { ...ppoCommon, ...shared, prompts, maxSteps });
  }
  const refused = /^resume: expected the prompts and seed of the resumed run \(\d+ rows \w+, seed 5\), got others/;

  test("rejects other prompts or other reward columns, and accepts the same prompts from a file", async () => {
    await run(promptsWithAnswers);
    await expect(run(promptsWithAnswers.slice(1), true)).rejects.toThrow(refused);
    await expect(run([...promptsWithAnswers].reverse(), true)).rejects.toThrow(refused);
    await expect(
      run([{ ...promptsWithAnswers[0]!, answer: "b" }, ...promptsWithAnswers.slice(1)], true),
    ).rejects.toThrow(refused);
    const file = join(fixture.folder, `${name}.jsonl`);
    await writeFile(file, promptsWithAnswers.map((row) => JSON.stringify(row)).join("\n"));
    expect(await run(file, true)).toMatchObject({ steps: 3 });
  });

  test("rejects another reference", async () => {
    await using refModel = await load();
    await run(promptsWithAnswers, false, { refModel });
    await using other = await load();
    await other.model.prepareForTraining(["model.norm.weight"]);
    const norm = other.model.weight("model.norm.weight");
    await norm.write((await norm.toFloat32()).map((v) => 2 * v));
    await expect(run(promptsWithAnswers, true, { refModel: other })).rejects.toThrow(
      /^resume: the reference differs from that of the resumed run: expected fingerprint \w+, got \w+; pass the original/,
    );
    expect(await run(promptsWithAnswers, true, { refModel })).toMatchObject({ steps: 3 });
  });
});
