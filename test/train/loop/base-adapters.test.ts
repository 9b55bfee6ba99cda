// Full training over a model with an adapter: the saved model must include what the adapter has learned.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { convertModel } from "../../../lib/index.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { AnswerScorer } from "../../../lib/train/preference/scorer.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { maxDifference } from "../../helpers/max-difference.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
const ids = [5, 9, 40, 41, 42, 43];
const rows = sentences.slice(0, 16).map((text) => ({ text }));
const pairs = sentences
  .slice(0, 16)
  .map((text, i) => ({ prompt: text.slice(0, 8), chosen: text.slice(8, 20), rejected: ` ${i}` }));
const learned = { data: rows, maxSteps: 4, perDeviceTrainBatchSize: 4, learningRate: 1e-2, lora: { r: 4 } };
const preferred = {
  data: pairs,
  maxSteps: 3,
  perDeviceTrainBatchSize: 4,
  learningRate: 1e-3,
  saveDtype: "f32",
} as const;

const logits = async (model: LanguageModel) => (await model.logits(ids)).flatMap((row) => [...row]);
const loaded = async (path: string) => {
  await using model = await LanguageModel.load(path, { dtype: "f32" });
  return await logits(model);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-base-adapters-"));
  await using plain = tinyModel({ tokenizer: await tinyTokenizer() }, { hiddenSize: 64, initializerRange: 0.1 });
  await plain.save(join(folder, "base"));
  await using base = await LanguageModel.load(join(folder, "base"));
  await sft(base, { ...learned, outputDir: join(folder, "sft") });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("a stage without lora over a model with an adapter", () => {
  test("saves a model that includes the adapter, however the adapter was added", async () => {
    await using base = await LanguageModel.load(join(folder, "base"));
    await sft(base, learned);
    await using fromFolder = await LanguageModel.load(join(folder, "sft"));
    for (const [name, model] of Object.entries({ base, fromFolder })) {
      const before = await logits(model);
      const outputDir = join(folder, `dpo-${name}`);
      await dpo(model, { ...preferred, learningRate: 1e-9, saveSteps: 2, outputDir });
      expect(model.model.adapters.size).toBe(0);
      const reach = maxDifference(before, await loaded(join(folder, "base")));
      expect(reach).toBeGreaterThan(0.05);
      for (const path of [outputDir, join(outputDir, "checkpoint-2")])
        expect(maxDifference(await loaded(path), before)).toBeLessThan(1e-3 * reach);
      expect(await loaded(outputDir)).toEqual(await logits(model));
    }
  });

  test("resumes bit for bit after the adapter's folder is loaded again", async () => {
    const run = async (options: object) => {
      await using model = await LanguageModel.load(join(folder, "sft"));
      const losses: number[] = [];
      for await (const event of dpo(model, { ...preferred, ...options })) if ("loss" in event) losses.push(event.loss);
      return { losses, logits: await logits(model) };
    };
    const whole = await run({ saveSteps: 2, outputDir: join(folder, "whole") });
    const rest = await run({ outputDir: join(folder, "rest"), resume: join(folder, "whole", "checkpoint-2") });
    expect(rest.losses).toEqual(whole.losses.slice(2));
    expect(rest.logits).toEqual(whole.logits);
  });

  test("keeps the adapter when only a head is trained", async () => {
    await using model = await LanguageModel.load(join(folder, "sft"));
    const outputDir = join(folder, "head");
    const data = sentences.slice(0, 8).map((text, i) => ({ text, label: ["a", "b"][i % 2]! }));
    await trainClassifier(model, { data, trainable: "head", maxSteps: 1, outputDir, dtype: "f32" });
    await using again = await LanguageModel.load(outputDir, { dtype: "f32" });
    const { probabilities } = await again.classify(sentences[1]!);
    expect(probabilities).toEqual((await model.classify(sentences[1]!)).probabilities);
  });

  test("rejects an adapter over quantized weights and names working alternatives", async () => {
    const gguf = join(folder, "base.gguf");
    await convertModel(join(folder, "base"), gguf, { dtype: "q8_0" });
    await using model = await LanguageModel.load(gguf, { quantizedActivations: "f32" });
    await sft(model, learned);
    const before = await logits(model);
    expect(await failureOf(() => dpo(model, preferred))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(
        /^lora: adapter default cannot be merged into .*q8_0.*`lora: \{\}`.*base\.model\.mergeAdapter\("default"\)/,
      ),
    });
    // Pre-training has no lora option, so its message does not suggest one.
    const text = join(folder, "text.txt");
    await writeFile(text, "Anna likes a red ball.\n\nBen sees the old tree.");
    expect(await failureOf(() => pretrain(model, { data: text, maxSteps: 1, maxSeqLength: 8 }))).toMatchObject({
      message: expect.stringMatching(/^model: adapter default cannot be merged into .*q8_0.*base\.model\.mergeAdapter/),
    });
    expect(await logits(model)).toEqual(before);
    await dpo(model, { ...preferred, maxSteps: 1, lora: {} });
    await model.model.mergeAdapter("default");
    await dpo(model, { ...preferred, maxSteps: 1, outputDir: join(folder, "merged") });
    expect(maxDifference(await loaded(join(folder, "merged")), await logits(model))).toBeLessThan(1e-4);
  });
});

test("convertModel does not merge an adapter into its own folder", async () => {
  const adapter = join(folder, "own-adapter");
  await using model = await LanguageModel.load(join(folder, "base"));
  await model.model.addAdapter("one", { r: 2 }, 1);
  await model.saveAdapter(adapter, { name: "one" });
  expect(await failureOf(() => convertModel(adapter, `${adapter}/`, { base: join(folder, "base") }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(/^output: expected a folder other than the adapter's/),
  });
  expect((await readdir(adapter)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
});

test("rejects a run that trains the weights while another run trains an adapter", async () => {
  await using model = await LanguageModel.load(join(folder, "sft"));
  for await (const event of sft(model, { ...learned, maxSteps: 2 }))
    if (event.step === 1)
      expect(await failureOf(() => sft(model, { data: rows, maxSteps: 1 }))).toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(/expected weights that no other run trains/),
      });
  expect(model.model.adapters.size).toBe(1);
});

test("rejects merging or removing an adapter in training, and merging into weights in training", async () => {
  await using model = await LanguageModel.load(join(folder, "sft"));
  const refused = {
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(/expected weights that no other run trains/),
  };
  for await (const event of sft(model, { ...learned, maxSteps: 2 })) {
    if (event.step !== 1) continue;
    expect(await failureOf(() => model.mergeAdapter())).toMatchObject(refused);
    expect(await failureOf(() => model.removeAdapter())).toMatchObject(refused);
  }
  await model.mergeAdapter();
  model.unmergeAdapters();
  model.setActiveAdapters([]);
  for await (const event of sft(model, { data: rows, maxSteps: 2, perDeviceTrainBatchSize: 4 }))
    if (event.step === 1) expect(await failureOf(() => model.mergeAdapter())).toMatchObject(refused);
  await model.mergeAdapter();
  // A second merge into the same weights is rejected while the first one runs: one would be lost.
  model.unmergeAdapters();
  await model.model.addAdapter("other", { r: 2 });
  const merging = model.mergeAdapter();
  const held = { ...refused, message: expect.stringMatching(/^model: expected weights that no concurrent merge uses/) };
  expect(await failureOf(() => model.mergeAdapter("other"))).toMatchObject(held);
  expect(await failureOf(() => sft(model, { data: rows, maxSteps: 1 }))).toMatchObject(held);
  await merging;
  expect(model.model.mergedAdapters).toEqual(["default"]);
});

describe("options for an existing adapter", () => {
  const more = { data: rows, maxSteps: 1, perDeviceTrainBatchSize: 4 };
  const load = () => LanguageModel.load(join(folder, "sft"));

  test.each([
    [{ r: 32 }, /lora\.r: expected 4 \(of adapter "default".*got 32/],
    [{ r: 4, alpha: 4 }, /lora\.alpha: expected 8 .*got 4/],
    [{ dropout: 0.5 }, /lora\.dropout: expected 0 .*got 0\.5/],
    [{ useRslora: true }, /lora\.useRslora: expected false .*got true/],
    [{ targetModules: ["q_proj", "v_proj"] }, /lora\.targetModules: expected .*got q_proj, v_proj/],
    [{ modulesToSave: ["embed_tokens"] }, /lora\.modulesToSave: expected none .*got embed_tokens/],
  ])("are rejected if they contradict the adapter: %j", async (lora, message) => {
    await using model = await load();
    const before = await logits(model);
    expect(await failureOf(() => sft(model, { ...more, lora }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
    expect(await logits(model)).toEqual(before);
  });

  test.each([
    {},
    { r: 4, alpha: 8, dropout: 0, targetModules: "all-linear", modulesToSave: [] },
    { targetModules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] },
  ])("train the adapter if they match it: %j", async (lora) => {
    await using model = await load();
    const before = await logits(model);
    await sft(model, { ...more, learningRate: 1e-2, lora });
    expect(model.model.adapters.size).toBe(1);
    expect(await logits(model)).not.toEqual(before);
  });

  test("are rejected by a preference stage before it scores answers, if they contradict the adapter", async () => {
    await using model = await load();
    const scored = vi.spyOn(AnswerScorer.prototype, "sums");
    const options = { ...preferred, maxSteps: 1 };
    expect((await failureOf(() => dpo(model, { ...options, lora: { r: 32 } }))).message).toMatch(/lora\.r: expected 4/);
    expect(scored).not.toHaveBeenCalled();
    await dpo(model, { ...options, lora: {} });
    expect(scored).toHaveBeenCalled();
    scored.mockRestore();
  });

  test("an inactive adapter is activated in the policy and in the reference", async () => {
    await using model = await load();
    model.model.setActiveAdapters([]);
    const rewards: number[] = [];
    for await (const event of dpo(model, { ...preferred, maxSteps: 1, lora: {} }))
      if ("loss" in event) rewards.push(event.metrics!.rewardChosen!, event.metrics!.rewardRejected!);
    expect(rewards).toEqual([0, 0]);
    expect(model.model.activeAdapters).toEqual(["default"]);
  });

  test("a run rejected before its first step leaves only adapters that existed before", async () => {
    await using base = await LanguageModel.load(join(folder, "base"));
    const refused = await failureOf(() => sft(base, { ...learned, loadBestModelAtEnd: true }));
    expect(refused.message).toMatch(/^loadBestModelAtEnd: /);
    expect(base.model.adapters.size).toBe(0);
    await sft(base, { ...learned, lora: { r: 2 } });
    await failureOf(() => sft(base, { ...learned, lora: {}, loadBestModelAtEnd: true }));
    expect(base.model.activeAdapters).toEqual(["default"]);
  });

  test("another name creates another adapter", async () => {
    await using model = await load();
    await sft(model, { ...more, lora: { r: 2 }, adapter: "second" });
    expect([...model.model.adapters.keys()]).toEqual(["default", "second"]);
  });
});

describe("an adapter's folder", () => {
  const base = () => LanguageModel.load(join(folder, "base"));
  const configOf = async (path: string) => JSON.parse(await readFile(join(path, "adapter_config.json"), "utf8"));

  test("has as base_model_name_or_path the output folder of the stage that trained the base, or null if the base was not saved", async () => {
    await using model = await base();
    const [trained, over] = [join(folder, "trained"), join(folder, "over-trained")];
    await dpo(model, { ...preferred, outputDir: trained });
    await sft(model, { ...learned, outputDir: over });
    expect((await configOf(over)).base_model_name_or_path).toBe(trained);
    expect(await loaded(over)).toEqual(await logits(model));
    await using unsaved = await base();
    await dpo(unsaved, preferred);
    const lost = join(folder, "over-unsaved");
    await sft(unsaved, { ...learned, outputDir: lost });
    expect((await configOf(lost)).base_model_name_or_path).toBeNull();
    expect((await failureOf(() => LanguageModel.load(lost))).message).toMatch(/expected a path, got none/);
  });

  test.each(["active", "merged"])("does not load without another adapter that was %s in training", async (how) => {
    await using model = await LanguageModel.load(join(folder, "sft"));
    if (how === "merged") await model.model.mergeAdapter("default");
    const stacked = join(folder, `stacked-${how}`);
    await sft(model, { ...learned, adapter: "second", saveSteps: 2, outputDir: stacked });
    for (const path of [stacked, join(stacked, "checkpoint-2")]) {
      expect((await configOf(path)).heddle_beside).toEqual(["default"]);
      const failure = await failureOf(() => LanguageModel.load(path));
      expect(failure.code).toBe("UNSUPPORTED");
      expect(failure.message).toContain(
        "got one trained together with default; load the base model, then call loadAdapter",
      );
    }
    await using both = await base();
    await both.loadAdapter(join(folder, "sft"), { name: "first" });
    await both.loadAdapter(stacked, { name: "second" });
    const wanted = await logits(model);
    expect(maxDifference(await logits(both), wanted)).toBeLessThan(1e-4 * Math.max(...wanted.map(Math.abs)));
    expect(maxDifference(await loaded(join(folder, "sft")), wanted)).toBeGreaterThan(0.01);
  });
});
