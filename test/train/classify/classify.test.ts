import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { trunkNames } from "../../../lib/models/heads.ts";
import type { StepEvent } from "../../../lib/train/loop/trainer.ts";
import { type TrainClassifierOptions, trainClassifier } from "../../../lib/train/stages/classify.ts";
import { expectError } from "../../formats/helpers.ts";
import { kinds, newModel, options, rows, tokenizer } from "../options/named-things.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-classify-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function losses(base: LanguageModel, given: TrainClassifierOptions): Promise<number[]> {
  const out: number[] = [];
  for await (const event of trainClassifier(base, given)) if ("loss" in event) out.push((event as StepEvent).loss);
  return out;
}

describe("classification of texts", () => {
  test("learns, is calibrated on held-out rows, and gives the same answers when loaded", async () => {
    await using base = newModel();
    const outputDir = join(folder, "whole");
    const path = join(folder, "rows.jsonl");
    await writeFile(
      path,
      rows(48)
        .map((r) => JSON.stringify(r))
        .join("\n"),
    );
    const result = await trainClassifier(base, options({ data: path, evalFraction: 0.2, outputDir, evalSteps: 20 }));
    expect(result.loss).toBeLessThan(0.1);
    const { accuracy, macroF1, ece, temperature, calibratedEce } = result.evalMetrics!;
    expect(accuracy).toBeGreaterThanOrEqual(0.9);
    expect(macroF1).toBeGreaterThan(0.85);
    expect(temperature).toBeGreaterThan(0);
    expect(ece).toBeGreaterThanOrEqual(0);
    expect(calibratedEce).toBeGreaterThanOrEqual(0);
    expect(base.card?.evaluations).toContainEqual({ name: "held-out rows", metric: "accuracy", value: accuracy });

    const texts = rows(12).map((r) => r.text);
    const answers = await base.classify(texts);
    expect(answers.map((a) => a.label)).toEqual(rows(12).map((r) => r.label));
    for (const { label, probabilities } of answers) {
      expect(Object.keys(probabilities)).toEqual(["animal", "plant", "tool"]);
      expect(Object.values(probabilities).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
      expect(probabilities[label]).toBe(Math.max(...Object.values(probabilities)));
    }

    const json = JSON.parse(await readFile(join(outputDir, "config.json"), "utf8"));
    expect(json).toMatchObject({
      architectures: ["LlamaForSequenceClassification"],
      id2label: { 0: "animal", 1: "plant", 2: "tool" },
      classifier_temperature: temperature,
    });
    await using loaded = await LanguageModel.load(outputDir);
    expect(loaded.card).toMatchObject({ stage: "classify" });
    for (const [i, answer] of (await loaded.classify(texts)).entries())
      for (const [label, p] of Object.entries(answer.probabilities))
        expect(p).toBeCloseTo(answers[i]!.probabilities[label]!, 5);
    // An answer depends neither on other texts in the batch nor on padding.
    const alone = await loaded.classify(texts[3]!);
    const many = await loaded.classify(texts);
    for (const [label, p] of Object.entries(alone.probabilities))
      expect(p).toBeCloseTo(many[3]!.probabilities[label]!, 5);
  });

  test.each(["mean", "first"] as const)("saves the pooling mode %s with the model", async (pooling) => {
    await using base = newModel();
    const first = (await losses(base, options({ pooling, maxSteps: 30 }))).at(-1)!;
    // A causal model's first token sees only itself, so it can learn only the label frequencies.
    if (pooling === "first") expect(first).toBeGreaterThan(0.5);
    else expect(first).toBeLessThan(0.5);
    const path = join(folder, pooling);
    await base.save(path);
    await using loaded = await LanguageModel.load(path);
    expect(loaded.config.classifier?.pooling).toBe(pooling);
    const { text } = rows(1)[0]!;
    const [a, b] = [await base.classify(text), await loaded.classify(text)];
    expect(a.probabilities.animal).toBeCloseTo(b.probabilities.animal!, 6);
  });

  test('with trainable "head", classification keeps the bytes of the trunk', async () => {
    await using base = newModel({ initializerRange: 0.2 });
    const before = new Map<string, Float32Array>();
    for (const name of trunkNames(base.config)) before.set(name, await base.model.weight(name).toFloat32());
    const curve = await losses(base, options({ trainable: "head", maxSteps: 40, learningRate: 5e-2 }));
    expect(curve.at(-1)!).toBeLessThan(curve[0]! * 0.8);
    for (const [name, bytes] of before) expect(await base.model.weight(name).toFloat32()).toEqual(bytes);
  });

  test("LoRA saves the head with the adapter, and the folder loads onto the base", async () => {
    const basePath = join(folder, "base");
    await using fresh = newModel({ initializerRange: 0.2 });
    await fresh.save(basePath);
    await using base = await LanguageModel.load(basePath);
    const outputDir = join(folder, "lora");
    const lora = { r: 4, alpha: 8, targetModules: "all-linear" } as const;
    const curve = await losses(base, options({ lora, outputDir, maxSteps: 40, evalFraction: 0.2 }));
    expect(curve.at(-1)!).toBeLessThan(0.3);
    expect(JSON.parse(await readFile(join(outputDir, "adapter_config.json"), "utf8"))).toMatchObject({
      task_type: "SEQ_CLS",
      modules_to_save: ["score"],
    });
    const texts = rows(12).map((r) => r.text);
    const wanted = await base.classify(texts);
    await using loaded = await LanguageModel.load(outputDir);
    for (const [i, { label, probabilities }] of (await loaded.classify(texts)).entries()) {
      expect(label).toBe(wanted[i]!.label);
      expect(probabilities[label]).toBeCloseTo(wanted[i]!.probabilities[label]!, 4);
    }
    const again = join(folder, "lora-saved");
    await base.saveAdapter(again);
    await using third = await LanguageModel.load(basePath);
    await third.loadAdapter(again);
    expect((await third.classify(texts)).map((a) => a.label)).toEqual(wanted.map((a) => a.label));
  });

  test("a run resumed from a checkpoint has the losses of an uninterrupted one", async () => {
    await using whole = newModel();
    const straight = await losses(whole, options({ maxSteps: 8, evalFraction: 0.2 }));
    const outputDir = join(folder, "resume");
    await using first = newModel();
    const begun = await losses(first, options({ maxSteps: 8, evalFraction: 0.2, outputDir, saveSteps: 4 }));
    await rm(join(outputDir, "checkpoint-8"), { recursive: true });
    await using second = newModel();
    const resumed = await losses(second, options({ maxSteps: 8, evalFraction: 0.2, outputDir, resume: true }));
    expect([...begun.slice(0, 4), ...resumed]).toEqual(straight);
  });

  test("a class weight makes its label more frequent in answers, and label smoothing lowers the highest probability", async () => {
    const few = [
      ...rows(36).filter((r) => r.label !== "tool"),
      ...rows(36)
        .filter((r) => r.label === "tool")
        .slice(0, 2),
    ];
    const recall = async (more: Partial<TrainClassifierOptions>) => {
      await using base = newModel();
      await trainClassifier(base, options({ data: few, trainable: "head", maxSteps: 25, pooling: "mean", ...more }));
      const answers = await base.classify(rows(48).map((r) => r.text));
      return answers.filter((a) => a.label === "tool").length;
    };
    expect(await recall({ classWeights: { tool: 50 } })).toBeGreaterThan(await recall({}));
    await using sharp = newModel();
    await using smooth = newModel();
    await trainClassifier(sharp, options());
    await trainClassifier(smooth, options({ labelSmoothingFactor: 0.2 }));
    const most = async (m: LanguageModel) =>
      Math.max(...Object.values((await m.classify(rows(1)[0]!.text)).probabilities));
    expect(await most(smooth)).toBeLessThan(await most(sharp));
  });

  test("supports numeric labels, several labels per text, and regression", async () => {
    await using numbers = newModel();
    await trainClassifier(numbers, options({ data: rows(24).map((r, i) => ({ text: r.text, label: (i % 3) + 9 })) }));
    expect(numbers.config.classifier?.labels).toEqual(["9", "10", "11"]);

    await using several = newModel();
    const both = rows(48).map(({ text, label }) => ({
      text,
      labels: [label, ...(text.includes("?") ? ["question"] : [])],
    }));
    const problemType = "multi_label_classification";
    const result = await trainClassifier(
      several,
      options({ data: both, problemType, evalFraction: 0.2, maxSteps: 80 }),
    );
    expect(result.evalMetrics!.microF1).toBeGreaterThan(0.9);
    const answers = await several.classify(both.map((r) => r.text));
    const right = answers.filter((a, i) => a.labels!.sort().join() === both[i]!.labels.sort().join());
    expect(right.length).toBeGreaterThan(42);

    await using score = newModel();
    const numbersOf = { animal: 1, plant: -1, tool: 0 };
    const scored = rows(48).map(({ text, label }) => ({ text, label: numbersOf[label] + 0.5 }));
    const regression = await trainClassifier(
      score,
      options({ data: scored, problemType: "regression", evalFraction: 0.2 }),
    );
    expect(regression.evalMetrics!.mae).toBeLessThan(0.3);
    expect((await score.classify("The oak is old.")).value).toBeCloseTo(-0.5, 0);
    const saved = join(folder, "regression");
    await score.save(saved);
    await using loaded = await LanguageModel.load(saved);
    expect((await loaded.classify("The oak is old.")).value).toBeCloseTo(-0.5, 0);
  });

  test("continues an existing head, and replaces it if the labels are new", async () => {
    await using base = newModel();
    await trainClassifier(base, options());
    const [next] = await losses(base, options({ maxSteps: 1, learningRate: 1e-5 }));
    expect(next).toBeLessThan(0.1);
    const renamed = rows(48).map((r) => ({ ...r, label: r.label.toUpperCase() }));
    const [first] = await losses(base, options({ data: renamed, maxSteps: 1 }));
    expect(first).toBeGreaterThan(0.2);
    expect(base.config.classifier?.labels).toEqual(["ANIMAL", "PLANT", "TOOL"]);
  });
});

describe("classification of words", () => {
  test("puts a word's label at the token of its last character, in any script", async () => {
    const { wordTokens } = await import("../../../lib/language-model/embed/classify.ts");
    const words = ["my", "naïve", "日本語", "rose?", "𝄞", "a"];
    const { ids, tokens, text, starts } = wordTokens(tokenizer, words);
    const { offsets } = tokenizer.encodeWithOffsets(text);
    for (const [w, word] of words.entries()) {
      const end = starts[w]! + word.length;
      const token = tokens[w]!;
      expect(text.slice(starts[w]!, end)).toBe(word);
      expect(offsets[2 * token + 1]).toBeGreaterThanOrEqual(end);
      expect(offsets[2 * token]).toBeLessThan(end);
      // The next token, if any, belongs to the following text.
      if (token + 1 < ids.length) expect(offsets[2 * token + 3]).toBeGreaterThan(end);
    }
  });

  test("an empty word has no token", async () => {
    const { wordTokens } = await import("../../../lib/language-model/embed/classify.ts");
    for (const words of [["a", "", "b"], ["", "a"], ["a", ""], [""]]) {
      const { tokens } = wordTokens(tokenizer, words);
      expect(Array.from(tokens, (token) => token < 0)).toEqual(words.map((word) => word === ""));
    }
  });

  const tagged = (count: number) =>
    rows(count).map(({ text, label }) => {
      const tokens = text.split(" ");
      const words = Object.values(kinds).flat();
      return { tokens, labels: tokens.map((t) => (words.includes(t.replace(/[.?]/, "")) ? label : "O")) };
    });

  test("learns a label for each word, and finds the words of a text", async () => {
    await using base = newModel();
    const result = await trainClassifier(base, options({ data: tagged(96), evalFraction: 0.2, maxSteps: 160 }));
    // Some words' labels depend on the following words, which a causal model does not see: 5 of the 93 held-out ones.
    expect(result.evalMetrics!.accuracy).toBeGreaterThan(0.93);
    const text = "  Do you like\nmy rose?";
    const words = await base.classifyTokens(text);
    expect(words.map((w) => [w.text, w.label])).toEqual([
      ["Do", "O"],
      ["you", "O"],
      ["like", "O"],
      ["my", "O"],
      ["rose?", "plant"],
    ]);
    for (const { text: word, start, end } of words) expect(text.slice(start, end)).toBe(word);
    expect((await base.classifyTokens(["my", "hammer"])).at(-1)).toMatchObject({ label: "tool", start: 3, end: 9 });
    await expectError(
      () => base.classifyTokens(["a", "", "b"]),
      "INVALID_ARGUMENT",
      /^INVALID_ARGUMENT words\[1\]: expected a word with a token, got ""$/,
    );
    const path = join(folder, "words");
    await base.save(path);
    await using loaded = await LanguageModel.load(path);
    expect((await loaded.classifyTokens(text)).map((w) => w.label)).toEqual(words.map((w) => w.label));
    await expectError(() => loaded.classify("a text"), "UNSUPPORTED", /expected a sequence classification head/);
  });
});
