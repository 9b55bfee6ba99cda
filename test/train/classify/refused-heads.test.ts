// Rejected options leave a model unchanged: its head is kept and adapters are not merged.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

const labeled = sentences.slice(0, 8).map((text, i) => ({ text, label: i % 2 ? "odd" : "even" }));
const pairs = sentences.slice(0, 8).map((prompt, i) => ({ prompt, chosen: ` ${i}`, rejected: " no" }));
const texts = sentences.slice(0, 8).map((text) => ({ text }));

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-refused-"));
  file = join(folder, "file");
  await writeFile(file, "");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { tieWordEmbeddings: false });

/** Returns the state that a rejected run must not change, except the values of weights. */
function stateOf({ model, tokenizer, path }: LanguageModel) {
  const { config, activeAdapters, mergedAdapters, weightNames, adapters } = model;
  const types = [...model.tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]);
  return {
    config,
    types,
    activeAdapters,
    mergedAdapters,
    weightNames,
    adapters: [...adapters.keys()],
    tokenizer,
    path,
  };
}

const refusals: [string, (place: string) => object, RegExp][] = [
  [
    "loadBestModelAtEnd without evaluations",
    () => ({ loadBestModelAtEnd: true }),
    /^loadBestModelAtEnd: expected evalData or ev/,
  ],
  ["resume without an outputDir", () => ({ resume: true }), /^resume: expected an outputDir to resume from, got none$/],
  ["decaySteps without a scheduler", () => ({ decaySteps: 3 }), /^decaySteps: expected no value unless lrScheduler/],
  [
    "a parameter group that matches nothing",
    () => ({ parameterGroups: [{ match: "nothing_of_the_kind", freeze: true }] }),
    /^parameterGroups\.0\.match: expected names of parameters/,
  ],
  ["an outputDir that is a file", () => ({ outputDir: file }), /expected a folder, got a file|cannot be created/],
  [
    "resume from a folder without a checkpoint",
    (place) => ({ resume: true, outputDir: join(folder, place) }),
    /^resume: expected a checkpoint in .*, got none$/,
  ],
];

describe.each(refusals)("%s", (name, wrong, message) => {
  const runs: [string, (base: LanguageModel, options: object) => () => unknown][] = [
    ["reward", (base, options) => () => trainReward(base, { maxSteps: 1, data: pairs, ...options })],
    [
      "reward-lora",
      (base, options) => () => trainReward(base, { maxSteps: 1, data: pairs, lora: { r: 2 }, ...options }),
    ],
    ["classify", (base, options) => () => trainClassifier(base, { maxSteps: 1, data: labeled, ...options })],
    ["sft-lora", (base, options) => () => sft(base, { maxSteps: 1, data: texts, lora: { r: 2 }, ...options })],
  ];
  test.each(runs)("is rejected by %s, and the model stays unchanged", async (stage, run) => {
    await using base = await newModel();
    const [before, logits] = [stateOf(base), await base.logits([1, 2, 3])];
    const options = wrong(`${stage} ${name}`.replaceAll(" ", "-"));
    expect((await failureOf(run(base, options))).message).toMatch(message);
    expect(stateOf(base)).toEqual(before);
    expect(await base.logits([1, 2, 3])).toEqual(logits);
    // The model can still be trained.
    await run(base, { resume: false })();
  });
});

test("a rejected run keeps adapters unmerged and the tokenizer's chat template unchanged", async () => {
  await using base = await newModel();
  await sft(base, { data: texts, maxSteps: 2, lora: { r: 2 } });
  const [before, logits] = [stateOf(base), await base.logits([1, 2, 3])];
  const shared = { maxSteps: 1, resume: true, outputDir: join(folder, "merged") };
  const messages = [
    { role: "user", content: "One?" },
    { role: "assistant", content: "Two." },
  ];
  for (const run of [
    () => dpo(base, { ...shared, data: pairs }),
    () => sft(base, { ...shared, data: [{ messages }] }),
  ]) {
    expect((await failureOf(run)).message).toMatch(/^resume: expected a checkpoint in/);
    expect(stateOf(base)).toEqual(before);
    expect(await base.logits([1, 2, 3])).toEqual(logits);
  }
});

test("a rejected resume leaves the weights unchanged: other data, another optimizer, or a damaged optimizer file", async () => {
  const outputDir = join(folder, "other-data");
  await using began = await newModel();
  await sft(began, { data: texts, maxSteps: 2, outputDir });
  await using base = await newModel();
  const logits = await base.logits([1, 2, 3]);
  const others = failureOf(() => sft(base, { data: texts.slice(1), maxSteps: 3, outputDir, resume: true }));
  expect((await others).message).toMatch(/^checkpoint: expected the data and options/);
  expect(await base.logits([1, 2, 3])).toEqual(logits);
  const muon = failureOf(() => sft(base, { data: texts, maxSteps: 3, outputDir, resume: true, optim: "muon" }));
  expect((await muon).message).toMatch(
    /^resume: expected the checkpoint's trainable parameters and optimizer, got others/,
  );
  expect(await base.logits([1, 2, 3])).toEqual(logits);
  const path = join(outputDir, "checkpoint-2");
  await writeFile(
    join(path, "optimizer.safetensors"),
    (await readFile(join(path, "optimizer.safetensors"))).subarray(9),
  );
  expect((await failureOf(() => sft(base, { data: texts, maxSteps: 3, outputDir, resume: path }))).code).toBe(
    "INVALID_FILE",
  );
  expect(await base.logits([1, 2, 3])).toEqual(logits);
});

test("a rejected run keeps changes that another run has made in the meantime", async () => {
  await using base = await newModel();
  const good = sft(base, { data: texts, maxSteps: 2, lora: { r: 2 }, adapter: "good" });
  const bad = sft(base, {
    data: texts,
    maxSteps: 2,
    lora: { r: 2 },
    adapter: "bad",
    resume: true,
    outputDir: join(folder, "beside"),
  });
  const [one, other] = await Promise.allSettled([good, bad]);
  expect([one.status, other.status]).toEqual(["fulfilled", "rejected"]);
  expect([...base.model.adapters.keys()]).toEqual(["good"]);
});
