import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { KlControl } from "../../../lib/train/rollout/kl-control.ts";
import { type RewardFunction, type RewardInput, reread } from "../../../lib/train/rollout/rewards.ts";
import { type GrpoOptions, grpo } from "../../../lib/train/stages/grpo.ts";
import { type PpoOptions, ppo } from "../../../lib/train/stages/ppo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { bad, pairs } from "../classify/sentences.ts";
import { common, letter, ppoCommon, rows } from "./rollouts.ts";
import { eventsOf, lossesOf, useTrainedModel } from "./speaker.ts";

const place = useTrainedModel();
const { load } = place;

/** Returns the mean reward of sampled answers to held-out prompts. */
async function letters(model: LanguageModel): Promise<number> {
  const asked = rows(true).map(({ prompt }) => prompt);
  const all = await model.completeAll(asked, { n: 16, maxTokens: 12, temperature: 1, seed: 77 });
  const shares = await letter(
    { prompts: [], completionIds: [], completions: all.map(({ text }) => text) },
    { signal: undefined },
  );
  return shares.reduce<number>((sum, v) => sum + v!, 0) / shares.length;
}

describe("grpo", () => {
  test.each([
    ["dapo", { epsilonHigh: 0.28 }],
    ["grpo, several iterations, against a reference", { lossType: "grpo", beta: 0.02, numIterations: 2 }],
    ["dr_grpo", { lossType: "dr_grpo", scaleRewards: "none", learningRate: 1e-2 }],
    ["gspo", { lossType: "grpo", importanceSamplingLevel: "sequence", numIterations: 2, epsilon: 0.1 }],
    ["grpo, at another temperature, in bf16", { temperature: 1.3, dtype: "bf16", saveDtype: "f32" }],
    ["grpo with fp8, against a reference", { dtype: "bf16", fp8: true, beta: 0.02, saveDtype: "f32" }],
    ["grpo, with lora", { lora: { r: 4 }, beta: 0.01, learningRate: 1e-2 }],
  ] as const)(
    "%s raises the frequency of a letter in answers to held-out prompts",
    async (_name, more: Partial<GrpoOptions>) => {
      await using model = await load();
      const before = await letters(model);
      const { held, steps } = await eventsOf(
        grpo(model, { ...common, evalPrompts: rows(true), evalSteps: 10, ...more }),
      );
      expect(held.map(({ step }) => step)).toEqual([10, 20]);
      expect(held.at(-1)!.metrics!.reward!).toBeGreaterThan(before + 0.05);
      expect(await letters(model)).toBeGreaterThan(before + 0.05);
      // The sampler's log-probabilities are those of the training pass, so the first step's ratios are 1 and nothing is clipped.
      expect(steps[0]!.metrics!.clipRatio).toBe(0);
      if (more.beta) expect(steps[0]!.metrics!.kl!).toBeLessThan(1e-6);
    },
  );

  test.each([
    ["steps in bf16", {}, { dtype: "bf16" }],
    ["steps in bf16 and a rollout of two steps", {}, { dtype: "bf16", stepsPerGeneration: 4 }],
    ["steps in 8-bit floats", {}, { fp8: true }],
    ["a base in bf16", { dtype: "bf16" }, {}],
    ["keys and values in bf16", { cacheDtype: "bf16" }, {}],
    ["another temperature", {}, { temperature: 0.7 }],
  ] as const)(
    "with lora and %s, the ratios of a rollout's first step are 1, despite rounding in the sampler",
    async (_, how, more) => {
      await using model = await LanguageModel.load(join(place.folder, "base"), how);
      const options = { ...common, maxSteps: 1, lora: { r: 4 }, epsilon: 1e-5 };
      const { steps } = await eventsOf(grpo(model, { ...options, ...more }));
      expect(steps[0]!.metrics!.clipRatio).toBe(0);
    },
  );

  test("weights the rewards of a reward model and of an async function, which gets the rows' columns", async () => {
    const outputDir = join(place.folder, "reward");
    await using trained = await load();
    await trainReward(trained, {
      data: pairs(false),
      maxSteps: 30,
      perDeviceTrainBatchSize: 8,
      learningRate: 1e-3,
      outputDir,
    });
    await using rewardModel = await LanguageModel.load(outputDir);
    const seen: RewardInput[] = [];
    const fast: RewardFunction = async (input) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.push(input);
      return input.completions.map((text, i) => (input.topic![i] === "skip" ? null : -text.length / 100));
    };
    await using model = await load();
    const topics = rows(false).map((row, i) => ({ ...row, topic: i % 2 ? "skip" : "use" }));
    const options = { ...common, prompts: topics, rewards: [rewardModel, fast], rewardWeights: [1, 0.1] };
    const { steps } = await eventsOf(grpo(model, options));
    const reports = steps.map(({ metrics }) => metrics!);
    expect(Object.keys(reports[0]!)).toEqual(expect.arrayContaining(["reward", "rewards/rewardModel", "rewards/fast"]));
    expect(reports.at(-1)!["rewards/rewardModel"]!).toBeGreaterThan(reports[0]!["rewards/rewardModel"]! + 0.5);
    const { prompts: asked, completions, completionIds, topic } = seen[0]!;
    expect([asked, completions, completionIds, topic!].map((list) => list.length)).toEqual([32, 32, 32, 32]);
    expect(new Set(asked.slice(0, 8)).size).toBe(1);
    expect(model.tokenizer!.decode(completionIds[0]!, { skipSpecialTokens: true })).toBe(completions[0]);
    // The answers that the reward model was trained to reject have become rare.
    const all = await model.completeAll(
      rows(true).map((r) => r.prompt),
      { n: 8, maxTokens: 12, temperature: 1, seed: 3 },
    );
    expect(all.filter(({ text }) => bad.includes(text)).length / all.length).toBeLessThan(0.1);
  });

  test("the same seed samples the same answers, and another one does not", async () => {
    const losses = async (seed: number) => {
      await using model = await load();
      return await lossesOf(grpo(model, { ...common, maxSteps: 4, seed }));
    };
    const first = await losses(1);
    expect(await losses(1)).toEqual(first);
    expect(await losses(2)).not.toEqual(first);
  });

  test("an abort takes effect while a reward function is pending", async () => {
    const controller = new AbortController();
    const slow: RewardFunction = () => {
      setTimeout(() => controller.abort(), 10);
      return new Promise(() => {});
    };
    await using model = await load();
    const run = grpo(model, { ...common, rewards: [slow], signal: controller.signal });
    await expect(run).rejects.toMatchObject({ code: "ABORTED" });
  });

  test("maskTruncatedCompletions excludes truncated answers", async () => {
    await using model = await load();
    // With one token, no answer is complete, so nothing is learned.
    const before = await model.model.weight("model.norm.weight").toFloat32();
    const options = { ...common, maxSteps: 1, maxCompletionLength: 1, weightDecay: 0 };
    const { steps } = await eventsOf(grpo(model, { ...options, lossType: "grpo", maskTruncatedCompletions: true }));
    expect(steps[0]!.metrics!.endedShare).toBe(0);
    expect(steps[0]!.loss).toBe(0);
    expect(await model.model.weight("model.norm.weight").toFloat32()).toEqual(before);
  });

  test("finishes training, without an evalLoss, if all held-out answers are masked", async () => {
    await using model = await load();
    const outputDir = join(place.folder, "all-masked");
    const run = grpo(model, {
      ...common,
      maxSteps: 2,
      maxCompletionLength: 1,
      maskTruncatedCompletions: true,
      evalPrompts: common.prompts.slice(0, 2),
      evalSteps: 1,
      loadBestModelAtEnd: true,
      outputDir,
    });
    const { held } = await eventsOf(run);
    expect(held.map(({ step, tokens }) => [step, tokens])).toEqual([
      [1, 0],
      [2, 0],
    ]);
    for (const event of held) expect(event).not.toHaveProperty("evalLoss");
    expect(await run).toMatchObject({ steps: 2, path: outputDir });
    expect((await LanguageModel.load(outputDir)).card!.evaluations).toEqual([]);
  });

  test.each([
    [1, 2],
    [2, 4],
    [undefined, rows(true).length],
  ])("evalBatches %s limits the prompts that an evaluation answers", async (evalBatches, expected) => {
    await using model = await load();
    const asked: string[][] = [];
    const noted: RewardFunction = (input) => {
      asked.push([...new Set(input.prompts as string[])]);
      return letter(input, { signal: undefined });
    };
    const evaluation = { evalPrompts: rows(true), numGenerationsEval: 4, perDeviceTrainBatchSize: 8, evalBatches };
    await grpo(model, { ...common, ...evaluation, rewards: [noted], maxSteps: 1 });
    expect(asked[1]).toEqual(
      rows(true)
        .map(({ prompt }) => prompt)
        .slice(0, expected),
    );
  });

  test("a reward that is null for a step is excluded from the mean of several steps", async () => {
    await using model = await load();
    let asked = 0;
    const sometimes = ({ completions }: { completions: readonly string[] }) =>
      completions.map(() => (asked > 0 ? 2 : null));
    const always = ({ completions }: { completions: readonly string[] }) => {
      asked += 1;
      return completions.map((text) => text.length);
    };
    const run = grpo(model, { ...common, maxSteps: 2, loggingSteps: 2, rewards: [sometimes, always] });
    expect((await eventsOf(run)).steps[0]!.metrics!["rewards/sometimes"]).toBe(2);
  });

  test("rejects invalid rewards and options, and the errors state expected and actual values", async () => {
    await using model = await load();
    const one = { ...common, maxSteps: 1 };
    const reward = (value: unknown): GrpoOptions => ({
      ...one,
      rewards: [
        function mine() {
          return value as never;
        },
      ],
    });
    await expect(grpo(model, reward([1, 2]))).rejects.toThrow(
      /^rewards: mine: expected an array of 32 numbers, one per answer, got \[1, 2\]$/,
    );
    await expect(grpo(model, reward(Array(32).fill("1")))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^rewards: mine: expected a finite number for answer 0 .*, got "1"$/),
    });
    await expect(grpo(model, reward(Array(32).fill(Number.NaN)))).rejects.toMatchObject({
      code: "NUMERICAL",
      message: expect.stringMatching(
        /^rewards: mine: expected a finite number for answer 0 \(to prompts: row \d+\), got NaN$/,
      ),
    });
    await expect(grpo(model, reward(Array(32).fill(null)))).rejects.toThrow(
      /expected at least one reward that applies to answer 0 \(to prompts: row \d+\), got none/,
    );
    await expect(grpo(model, { ...one, rewards: [model] })).rejects.toThrow(
      /rewards: expected a reward model, .* got a llama without a head/,
    );
    await expect(grpo(model, { ...one, rewardWeights: [1, 2] })).rejects.toThrow(/rewardWeights: expected 1 numbers/);
    await expect(grpo(model, { ...one, prompts: undefined })).rejects.toThrow(
      /prompts: expected rows with prompts, got none/,
    );
    await expect(grpo(model, { ...one, maxCompletionLength: 80 })).rejects.toThrow(
      /maxCompletionLength: expected at most 64, so that a prompt fits/,
    );
    await expect(grpo(model, { ...one, prompts: [{ prompt: "Anna ".repeat(60) }] })).rejects.toThrow(
      /^prompts: row 1: row: expected at most 53 tokens of a prompt/,
    );
    expect(() => grpo(model, { ...one, numGenerations: 5 })).toThrow(
      /numGenerations: expected a divisor of the 32 answers of a rollout/,
    );
    // The sampler would reject these in the first rollout, when an overwritten run is already deleted.
    expect(() => grpo(model, { ...one, topP: 0 })).toThrow(/topP: expected a number above 0 and at most 1, got 0/);
    expect(() => grpo(model, { ...one, repetitionPenalty: 0 })).toThrow(
      /repetitionPenalty: expected a number above 0, got 0/,
    );
    expect(() => grpo(model, { ...one, rewards: [] })).toThrow(
      /rewards: expected an array of functions and reward models/,
    );
    expect(() => grpo(model, { ...one, delta: 1.1 })).toThrow(
      /delta: expected a number above 1 \+ epsilonHigh, 1\.2, got 1\.1/,
    );
  });

  test("reads several files, and rejects strings that are texts instead of paths", async () => {
    const one = { ...common, maxSteps: 1, dtype: "f32" } as const;
    const half = Math.ceil(one.prompts.length / 2);
    const files = await Promise.all(
      [one.prompts.slice(0, half), one.prompts.slice(half)].map(async (part, i) => {
        const path = join(place.folder, `prompts-${i}.jsonl`);
        await writeFile(path, part.map((row) => JSON.stringify(row)).join("\n"));
        return path;
      }),
    );
    const [fromFiles, fromRows] = [await load(), await load()];
    const losses = await lossesOf(grpo(fromFiles, { ...one, prompts: files }));
    expect(losses).toEqual(await lossesOf(grpo(fromRows, one)));
    for (const [given, said] of [
      [
        { prompts: ["Anna has", "Ben had"] },
        /^prompts: expected paths of files .*rows, \{ prompt: … \}\), got "Anna has"/,
      ],
      [{ evalPrompts: ["Anna has"] }, /^evalPrompts: expected paths of files/],
      [{ prompts: undefined, data: ["Anna has"] }, /^data: expected paths of files/],
      [{ prompts: [...files, { prompt: "Anna has" }] }, /^prompts: row 1: expected an object, got /],
    ] as const)
      await expect(grpo(fromFiles, { ...one, ...(given as object) })).rejects.toThrow(said);
    await Promise.all([fromFiles.dispose(), fromRows.dispose()]);
  });
});

describe("ppo", () => {
  test.each([
    ["full", {}],
    ["lora", { lora: { r: 4 }, learningRate: 1e-2 }],
  ] as const)(
    "(%s) raises the frequency of a letter in answers to held-out prompts, and lowers the value loss",
    async (_name, more: Partial<PpoOptions>) => {
      await using model = await load();
      const before = await letters(model);
      const options = { ...ppoCommon, evalPrompts: rows(true), evalSteps: 20, klCoef: 0.002, temperature: 1, ...more };
      const { steps, held } = await eventsOf(ppo(model, options));
      // Five answers are too few for the mean reward to be meaningful. Check only that it is reported.
      expect(held.map(({ step, metrics }) => [step, Number.isFinite(metrics!.reward)])).toEqual([
        [20, true],
        [40, true],
      ]);
      expect(await letters(model)).toBeGreaterThan(before + 0.05);
      expect(steps[0]!.metrics!.kl).toBe(0);
      expect(steps.at(-1)!.metrics!.kl!).toBeGreaterThan(0);
      const valueLosses = steps.map(({ metrics }) => metrics!.valueLoss!);
      expect(Math.min(...valueLosses.slice(-10))).toBeLessThan(valueLosses[0]!);
    },
  );

  test("a high klCoef keeps the policy near its reference", async () => {
    const divergence = async (klCoef: number) => {
      await using model = await load();
      const { steps } = await eventsOf(ppo(model, { ...ppoCommon, klCoef, temperature: 1 }));
      return steps.at(-1)!.metrics!.kl!;
    };
    expect(await divergence(1)).toBeLessThan((await divergence(0)) / 2);
  });

  test("missingEosPenalty lowers the reward of each truncated answer by its value", async () => {
    // All answers are truncated at two tokens, so the penalty equals a lower reward for every answer.
    const options = { ...ppoCommon, maxSteps: 1, maxCompletionLength: 2, temperature: 1 };
    const losses = async (more: Partial<PpoOptions>) => {
      await using model = await load();
      return await lossesOf(ppo(model, { ...options, ...more }));
    };
    const lowered: RewardFunction = async (call, context) => (await letter(call, context)).map((reward) => reward! - 5);
    const penalized = await losses({ missingEosPenalty: 5 });
    expect(penalized).not.toEqual(await losses({}));
    expect(penalized).toEqual(await losses({ rewards: [lowered] }));
  });
});

test("the KL coefficient adapts to klTarget, with its error clipped to 20 %, and is constant without klTarget", () => {
  const control = new KlControl({ klCoef: 0.1, klTarget: 2, klHorizon: 100 });
  control.follow(2.2, 10);
  expect(control.coefficient).toBeCloseTo(0.1 * (1 + 0.1 * 0.1), 12);
  control.follow(100, 10);
  expect(control.coefficient).toBeCloseTo(0.101 * (1 + 0.2 * 0.1), 12);
  const fixed = new KlControl({ klCoef: 0.1, klHorizon: 100 });
  fixed.follow(100, 10);
  expect(fixed.coefficient).toBe(0.1);
});

test("a reward model with another vocabulary reads an end token only if the answer had one", async () => {
  const tokenizer = await Tokenizer.train(["hello there, hello"], {
    vocabSize: 300,
    specialTokens: ["<s>", "</s>"],
    bosToken: "<s>",
    eosToken: "</s>",
  });
  const [begin, end] = [tokenizer.tokenToId("<s>")!, tokenizer.tokenToId("</s>")!];
  const ids = (text: string) => [...tokenizer.encode(text, { addSpecialTokens: false })];
  const plain = (ended: boolean) => reread(tokenizer, "hello", { text: " there", ended });
  expect(plain(true)).toEqual([begin, ...ids("hello there"), end]);
  expect(plain(false)).toEqual([begin, ...ids("hello there")]);
  const template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}";
  const chat = tokenizer.withChatTemplate({ template });
  const said = (ended: boolean) =>
    chat.decode(reread(chat, [{ role: "user", content: "hello" }], { text: "there", ended }));
  expect(said(true)).toBe("<user>hello</s>\n<assistant>there</s>");
  expect(said(false)).toBe("<user>hello</s>\n<assistant>there");
  const open = tokenizer.withChatTemplate({
    template: "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}</s>{% endif %}{% endfor %}",
  });
  expect(open.decode(reread(open, [{ role: "user", content: "hello" }], { text: "there", ended: true }))).toBe(
    "hello</s>there",
  );
});
