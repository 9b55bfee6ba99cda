// Resuming with another model, or with other trained parameters, is rejected: the checkpoint's weights and moments do not fit it.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-resume-refused-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Config = Parameters<typeof tinyModel>[1];
const newModel = async (config: Config = {}): Promise<LanguageModel> =>
  tinyModel({ tokenizer: await tinyTokenizer() }, config);
const data = sentences.map((text) => ({ text }));

/** Runs two steps, then resumes with another model or other options for a third. */
async function resumed(
  name: string,
  { config, first = {}, second = {} }: { config?: Config; first?: Partial<SftOptions>; second?: Partial<SftOptions> },
): Promise<unknown> {
  const shared = { data, perDeviceTrainBatchSize: 2, outputDir: join(folder, name.replaceAll(" ", "-")) };
  await using began = await newModel();
  await sft(began, { ...shared, maxSteps: 2, ...first });
  await using other = await newModel(config);
  return await sft(other, { ...shared, maxSteps: 3, resume: true, ...second });
}

test.each([
  [
    "fewer layers",
    { numHiddenLayers: 1 },
    /^resume: expected a model with numHiddenLayers 2, .*checkpoint-2\), got 1$/,
  ],
  ["another rmsNormEps", { rmsNormEps: 1e-2 }, /^resume: expected a model with rmsNormEps /],
  ["another ropeTheta", { ropeTheta: 5e5 }, /^resume: expected a model with ropeTheta /],
  [
    "another activation",
    { hiddenAct: "gelu" as const },
    /^resume: expected a model with hiddenAct "silu", .*got "gelu"$/,
  ],
])("resuming rejects a model with %s", async (name, config, message) => {
  await expect(resumed(name, { config })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(message),
  });
});

test.each([
  [
    "an adapter on fewer matrices",
    { lora: { r: 2 } },
    { lora: { r: 2, targetModules: ["q_proj"] } },
    /^resume: expected the checkpoint's trainable parameters and optimizer, got others/,
  ],
  [
    "a run without the option lora if the checkpoint has an adapter",
    { lora: { r: 2 } },
    {},
    /^lora: expected options, as in the resumed run .*got none$/,
  ],
  [
    "a run with the option lora if the checkpoint has trained weights",
    {},
    { lora: { r: 2 } },
    /^lora: expected none, as in the resumed run .*got options$/,
  ],
])("resuming rejects %s", async (name, first, second, message) => {
  await expect(resumed(name, { first, second })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(message),
  });
});

test.each([
  ["version", 2, "expected a checkpoint of version 1, got 2"],
  ["version", undefined, "expected a checkpoint of version 1, got undefined"],
  ["stage", "dpo", "expected a checkpoint of sft, got one of dpo"],
])("rejects a checkpoint whose %s is %s", async (key, value, message) => {
  const outputDir = join(folder, `state-${key}-${value}`);
  const shared = { data, perDeviceTrainBatchSize: 2, outputDir };
  await using model = await newModel();
  await sft(model, { ...shared, maxSteps: 2 });
  const resume = join(outputDir, "checkpoint-2");
  const file = join(resume, "trainer_state.json");
  const state = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...state, [key]: value }));
  await rm(join(resume, "checkpoint.json")); // its digests would detect the change first
  await expect(sft(model, { ...shared, maxSteps: 3, resume })).rejects.toMatchObject({
    code: "INVALID_FILE",
    message: `${resume}: ${message}`,
  });
});

describe("frozen weights", () => {
  const frozen = { parameterGroups: [{ match: "embed_tokens", freeze: true }] };
  test.each<[string, Partial<SftOptions>]>([
    ["under an adapter", { lora: { r: 2 } }],
    ["in frozen groups", frozen],
    ["under an adapter over quantized weights", { lora: { r: 2, targetModules: ["q_proj"] } }],
  ])("frozen weights that differ from the checkpoint's are rejected %s", async (name, options) => {
    const shared = { data, perDeviceTrainBatchSize: 2, outputDir: join(folder, name.replaceAll(" ", "-")), ...options };
    const make = async (seed: number) => {
      const made = tinyModel({ tokenizer: await tinyTokenizer(), seed });
      if (!name.includes("quantized")) return made;
      const path = join(folder, `quantized-${seed}`);
      await made.save(path);
      await made.dispose();
      return LanguageModel.load(path, { dtype: "q8_0" });
    };
    await using began = await make(1);
    await sft(began, { ...shared, maxSteps: 2 });
    await using other = await make(2);
    await expect(sft(other, { ...shared, maxSteps: 3, resume: true })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(
        /^resume: the frozen weights, or their dtype, differ from those of the resumed run: expected .*, got /,
      ),
    });
    await using same = await make(1);
    await expect(sft(same, { ...shared, maxSteps: 3, resume: true })).resolves.toMatchObject({ steps: 3 });
  });

  test("frozen weights that differ are rejected under a trained head, unless the checkpoint has no digest of them", async () => {
    const rows = sentences.slice(0, 8).map((text, i) => ({ text, label: i % 2 ? "odd" : "even" }));
    const outputDir = join(folder, "head-alone");
    const shared = { data: rows, trainable: "head" as const, perDeviceTrainBatchSize: 2, outputDir };
    await using began = await newModel();
    await trainClassifier(began, { ...shared, maxSteps: 2 });
    const other = async () => tinyModel({ tokenizer: await tinyTokenizer(), seed: 2 });
    await using second = await other();
    await expect(trainClassifier(second, { ...shared, maxSteps: 3, resume: true })).rejects.toThrow(
      /^resume: the frozen weights, or their dtype, differ/,
    );
    const file = join(outputDir, "checkpoint-2", "trainer_state.json");
    const { frozenWeights: _, ...older } = JSON.parse(await readFile(file, "utf8"));
    const manifest = join(outputDir, "checkpoint-2", "checkpoint.json");
    const text = JSON.stringify(older);
    await writeFile(file, text);
    const { step, order, files } = JSON.parse(await readFile(manifest, "utf8")); // the manifest below has no digests
    await writeFile(manifest, JSON.stringify({ step, order, files: { ...files, "trainer_state.json": text.length } }));
    await using third = await other();
    await expect(trainClassifier(third, { ...shared, maxSteps: 3, resume: true })).resolves.toMatchObject({ steps: 3 });
  });
});

test.each(["step", "optimizerSteps", "tokensSeen"])("resuming rejects a checkpoint without its %s", async (name) => {
  const outputDir = join(folder, `without-${name}`);
  const shared = { data, perDeviceTrainBatchSize: 2, outputDir };
  await using began = await newModel();
  await sft(began, { ...shared, maxSteps: 2 });
  const resume = join(outputDir, "checkpoint-2");
  const file = join(resume, "trainer_state.json");
  const { [name]: _, ...rest } = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify(rest));
  await rm(join(resume, "checkpoint.json")); // its digests would detect the change first
  await using other = await newModel();
  await expect(sft(other, { ...shared, maxSteps: 3, resume })).rejects.toMatchObject({
    code: "INVALID_FILE",
    message: `${resume}: ${name}: expected a whole number, got undefined`,
  });
});

test("resuming accepts another dtype, start token and initializerRange", async () => {
  const config = { bosTokenId: null, initializerRange: 0.5 };
  await expect(resumed("the same", { config, second: { dtype: "bf16" } })).resolves.toMatchObject({ steps: 3 });
});
