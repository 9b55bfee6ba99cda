import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { modelConfigToJson } from "../../lib/formats/config/config-json.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import { add, compile, input, mul, sum } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { rowInputs, sequenceForward } from "../../lib/models/forward.ts";
import { classifierLogits, headNames, languageHead, trunkNames, valueHeadOutput } from "../../lib/models/heads.ts";
import type { Model } from "../../lib/models/model.ts";
import type { Stage } from "../../lib/train/loop/stage.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { languageModeling } from "../../lib/train/losses/language-modeling.ts";
import { expectError } from "../formats/helpers.ts";
import { tinyModel } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-heads-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const llama = {
  model_type: "llama",
  vocab_size: 40,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 2,
};
const read = (value: object) => parseModelConfig({ ...llama, ...value }, "config.json");

describe("config.json of transformers' classifiers", () => {
  test("gives the classifier's task, labels and pooling", () => {
    const config = read({
      architectures: ["LlamaForSequenceClassification"],
      id2label: { 1: "good", 0: "bad" },
      label2id: { good: 1, bad: 0 },
      problem_type: "single_label_classification",
    });
    expect(config.classifier).toEqual({
      task: "sequence",
      labels: ["bad", "good"],
      problemType: "single_label_classification",
      pooling: "last",
    });
    expect(read({ architectures: ["LlamaForTokenClassification"], num_labels: 3 }).classifier).toMatchObject({
      task: "token",
      labels: ["LABEL_0", "LABEL_1", "LABEL_2"],
    });
    expect(read({ architectures: ["LlamaForSequenceClassification"] }).classifier?.labels).toHaveLength(2);
    // Configurations of other model classes have label keys too, which mean nothing there.
    expect(read({ architectures: ["LlamaForCausalLM"], id2label: { 0: "LABEL_0" } }).classifier).toBeUndefined();
  });

  test("round-trips, and stores settings unknown to transformers under heddle's keys", () => {
    for (const classifier of [
      { task: "sequence", labels: ["a", "b", "c"], pooling: "mean", temperature: 1.7 },
      { task: "sequence", labels: ["score"], problemType: "regression", pooling: "first" },
      { task: "token", labels: ["O", "B-PER"] },
    ] as const) {
      for (const modelType of ["llama", "gpt2", "qwen2"] as const) {
        const labels = [...classifier.labels];
        const config = parseModelConfig({
          modelType,
          hiddenSize: 16,
          numHiddenLayers: 1,
          vocabSize: 9,
          classifier: { ...classifier, labels },
        });
        const json = modelConfigToJson(config);
        const task = classifier.task === "token" ? "Token" : "Sequence";
        const prefix = { llama: "Llama", gpt2: "GPT2", qwen2: "Qwen2" }[modelType];
        expect(json.architectures).toEqual([`${prefix}For${task}Classification`]);
        expect(json.id2label).toEqual(Object.fromEntries(labels.map((l, i) => [i, l])));
        expect(json.label2id).toEqual(Object.fromEntries(labels.map((l, i) => [l, i])));
        expect(parseModelConfig(json, "config.json").classifier).toEqual(config.classifier);
      }
    }
  });

  test("is rejected with an error that names the invalid field", async () => {
    const broken: [object, RegExp][] = [
      [{ id2label: { 0: "a", 2: "b" } }, /id2label: expected a name for each of 0 to 1, got \["0", "2"\]$/],
      [{ id2label: ["a"] }, /id2label: expected an object/],
      [{ id2label: { 0: "a", 1: "a" } }, /labels: expected distinct names/],
      [{ num_labels: 0 }, /num_labels: expected 1 to 65536, got 0/],
      [{ num_labels: 1e12 }, /num_labels: expected 1 to 65536/],
      [{ classifier_temperature: -1 }, /temperature: expected a number above 0/],
      [{ problem_type: "x" }, /problem_type: expected one of/],
    ];
    for (const [keys, message] of broken)
      await expectError(
        () => read({ architectures: ["LlamaForSequenceClassification"], ...keys }),
        "INVALID_FILE",
        message,
      );
  });
});

/** A head's logits for each token of one sequence. */
async function headOutput(model: Model, ids: number[], kind: "classifier" | "value" = "classifier") {
  const program = compile(() => {
    const forward = sequenceForward(model, rowInputs(ids.length), { sequenceLength: ids.length });
    const head = kind === "value" ? valueHeadOutput : classifierLogits;
    return { logits: head(forward, model.config, forward.hidden) };
  });
  const executable = program.bind(model.device, model.tensors);
  const { logits } = await executable.run({ ids: Int32Array.from(ids), positions: Int32Array.from(ids, (_, i) => i) });
  executable.dispose();
  return logits as Float32Array;
}

describe("heads on a trunk", () => {
  test.each(["llama", "gpt2", "qwen3", "gemma"] as const)(
    "are initialized, used, saved and loaded: %s",
    async (modelType) => {
      const tied = modelType === "gemma" || modelType === "gpt2";
      await using language = tinyModel({}, { modelType, tieWordEmbeddings: tied, numKeyValueHeads: 4 });
      const { model } = language;
      const before = await model.weight(trunkNames(model.config)[1]!).toFloat32();
      await model.addClassifier({ task: "sequence", labels: ["no", "yes", "maybe"] }, { seed: 5 });
      expect(headNames(model.config)).toEqual(["score.weight"]);
      expect(model.weightNames).toContain("score.weight");
      expect(model.weightNames.some((n) => n.includes("lm_head"))).toBe(false);
      expect(await model.weight(trunkNames(model.config)[1]!).toFloat32()).toEqual(before);
      const logits = await headOutput(model, [1, 2, 3]);
      expect(new Set(logits).size).toBe(9);

      const path = join(folder, modelType);
      await language.save(path);
      const json = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
      expect(json.architectures[0]).toMatch(/ForSequenceClassification$/);
      const files = await openModelFiles(path);
      expect(files.weights.info("score.weight").shape).toEqual([3, model.config.hiddenSize]);
      expect(files.weights.has("lm_head.weight")).toBe(false);
      files.close();
      await using loaded = await LanguageModel.load(path);
      expect(loaded.config.classifier).toEqual(model.config.classifier);
      expect(await headOutput(loaded.model, [1, 2, 3])).toEqual(logits);
      if (!tied)
        await expectError(
          () => loaded.complete([1, 2], { maxTokens: 1 }),
          "UNSUPPORTED",
          /expected a language-modeling head/,
        );
    },
  );

  test("remove or keep the language head's bias together with the head", async () => {
    const make = () => tinyModel({}, { modelType: "phi", headDim: 8 });
    const head = ["lm_head.bias", "lm_head.weight"];
    const own = ({ model }: LanguageModel) => model.weightNames.filter((name) => name.startsWith("lm_head")).sort();
    await using model = make();
    expect(own(model)).toEqual(head);
    expect(trunkNames(model.config).some((name) => name.startsWith("lm_head"))).toBe(false);
    await model.model.addClassifier({ task: "sequence", labels: ["no", "yes"] }, { seed: 1, keepLanguageHead: true });
    expect(own(model)).toEqual(head);
    await using bare = make();
    await bare.model.addClassifier({ task: "sequence", labels: ["no", "yes"] }, { seed: 1 });
    expect(own(bare)).toEqual([]);
    await bare.save(join(folder, "phi"));
    await using again = await LanguageModel.load(join(folder, "phi"));
    expect(own(again)).toEqual([]);
    expect(await headOutput(again.model, [1, 2])).toEqual(await headOutput(bare.model, [1, 2]));
  });

  test("are deterministic for a seed, and can keep the language modeling head", async () => {
    await using a = tinyModel({}, { tieWordEmbeddings: false });
    await using b = tinyModel({}, { tieWordEmbeddings: false });
    const wanted = await a.complete([1, 2, 3], { maxTokens: 4, temperature: 0, ignoreEos: true });
    for (const { model } of [a, b])
      await model.addClassifier({ task: "sequence", labels: ["x", "y"] }, { seed: 3, keepLanguageHead: true });
    expect(await headOutput(a.model, [4, 5])).toEqual(await headOutput(b.model, [4, 5]));
    const got = await a.complete([1, 2, 3], { maxTokens: 4, temperature: 0, ignoreEos: true });
    expect(got.tokens).toEqual(wanted.tokens);
    // Adding an equal head keeps its weights; a different head is initialized.
    const first = await headOutput(a.model, [4, 5]);
    await a.model.addClassifier({ task: "sequence", labels: ["x", "y"] }, { seed: 9, keepLanguageHead: true });
    expect(await headOutput(a.model, [4, 5])).toEqual(first);
    await a.model.addClassifier({ task: "sequence", labels: ["x", "z"] }, { seed: 9, keepLanguageHead: true });
    expect(await headOutput(a.model, [4, 5])).not.toEqual(first);
    const both = join(folder, "both");
    await a.save(both);
    await using loaded = await LanguageModel.load(both);
    const again = await loaded.complete([1, 2, 3], { maxTokens: 4, temperature: 0, ignoreEos: true });
    expect(again.tokens).toEqual(wanted.tokens);
  });

  test("have a bias for token classification, and GPT-2's token head is named `classifier`", async () => {
    await using language = tinyModel({}, { modelType: "gpt2", numKeyValueHeads: 4 });
    await language.model.addClassifier({ task: "token", labels: ["O", "PER"] });
    expect(headNames(language.config)).toEqual(["classifier.weight", "classifier.bias"]);
    const before = await headOutput(language.model, [1, 2]);
    await language.model.weight("classifier.bias").write(Float32Array.of(1, -2));
    const after = await headOutput(language.model, [1, 2]);
    after.forEach((v, i) => {
      expect(v).toBeCloseTo(before[i]! + (i % 2 ? -2 : 1), 5);
    });
  });

  test("a value head coexists with the language modeling head, and loads from TRL checkpoints", async () => {
    await using language = tinyModel();
    await language.model.addValueHead({ seed: 2 });
    expect(headNames(language.config)).toEqual(["v_head.summary.weight", "v_head.summary.bias"]);
    const values = await headOutput(language.model, [3, 1, 2], "value");
    expect(values).toHaveLength(3);
    const path = join(folder, "value");
    await language.save(path);
    const json = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    delete json.value_head; // TRL does not write this field
    await writeFile(join(path, "config.json"), JSON.stringify(json));
    await using loaded = await LanguageModel.load(path);
    expect(await headOutput(loaded.model, [3, 1, 2], "value")).toEqual(values);
    expect((await loaded.complete([1, 2], { maxTokens: 1 })).tokens).toHaveLength(1);
  });

  test("do not change in language-model training, and can be trained alone", async () => {
    await using language = tinyModel();
    const { model } = language;
    await model.addValueHead({ seed: 2 });
    const batch = {
      tokens: Int32Array.of(1, 2, 3, 4),
      targets: Int32Array.of(2, 3, 4, 5),
      tokenCount: 4,
      byteCount: 0,
    };
    const shape = { sequences: 1, sequenceLength: 4, dtype: "f32" } as const;
    const valuesOf = (names: readonly string[]) => Promise.all(names.map((name) => model.weight(name).toFloat32()));
    const [untrained, norm] = [await valuesOf(headNames(model.config)), await valuesOf(["model.norm.weight"])];
    const tokens = await TrainStep.create(model, languageModeling, shape);
    const { config } = model;
    expect(new Set(tokens.optimizer.names)).toEqual(new Set([...trunkNames(config), ...languageHead(config)]));
    await tokens.run([batch], 1e-3);
    expect(await valuesOf(headNames(model.config))).toEqual(untrained);
    expect(await valuesOf(["model.norm.weight"])).not.toEqual(norm);
    tokens.dispose();

    const towardsOne: Stage<typeof batch> = {
      ...languageModeling,
      collate: (b) => ({ inputs: { ids: b.tokens, minusOne: new Float32Array(4).fill(-1) }, tokens: 4, counted: 4 }),
      loss({ forward, model: { config } }) {
        const { hidden, linear } = forward();
        const error = add(valueHeadOutput({ linear }, config, hidden), input("minusOne", "f32", [4, 1]));
        return sum(mul(error, error));
      },
    };
    const trunk = await model.weight("model.norm.weight").toFloat32();
    const head = await TrainStep.create(model, towardsOne, shape, { names: headNames(model.config), weightDecay: 0 });
    const losses: number[] = [];
    for (let i = 0; i < 60; i++) losses.push((await head.run([batch], 0.05)).loss);
    expect(losses.at(-1)!).toBeLessThan(0.05 * losses[0]!);
    expect(await model.weight("model.norm.weight").toFloat32()).toEqual(trunk);
    head.dispose();
  });

  test("are rejected if missing in the checkpoint or of another shape", async () => {
    await using language = tinyModel({}, { tieWordEmbeddings: true });
    await language.model.addClassifier({ task: "sequence", labels: ["a", "b"] });
    const path = join(folder, "misfit");
    await language.save(path);
    const file = join(path, "config.json");
    const json = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...json, id2label: { 0: "a", 1: "b", 2: "c" } }));
    await expectError(() => LanguageModel.load(path), "INVALID_FILE", /score\.weight: expected \(3, \d+\).*got \(2, /);
    await writeFile(file, JSON.stringify({ ...json, architectures: ["LlamaForCausalLM"] }));
    await expectError(() => LanguageModel.load(path), "INVALID_FILE", /unexpected weight score\.weight/);
    await writeFile(file, JSON.stringify({ ...json, architectures: ["LlamaForTokenClassification"] }));
    await expectError(() => LanguageModel.load(path), "INVALID_FILE", /expected a weight score\.bias/);
    await expectError(
      () => headOutput(tinyModel().model, [1]),
      "UNSUPPORTED",
      /expected a classification head, got a llama without one/,
    );
  });

  test("can be part of a new model", () => {
    const model = tinyModel({}, { classifier: { task: "sequence", labels: ["a", "b"] }, tieWordEmbeddings: false });
    expect(model.model.weightNames).toContain("score.weight");
    expect(model.model.weightNames).not.toContain("lm_head.weight");
    void model.dispose();
  });
});
