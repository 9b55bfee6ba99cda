import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, input, openDevice } from "../../../lib/graph/index.ts";
import { createModel } from "../../../lib/language-model/create.ts";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { dotProduct } from "../../../lib/metrics/retrieval.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import type { StepEvent } from "../../../lib/train/loop/trainer.ts";
import { candidateMask, normalizedRows } from "../../../lib/train/losses/embed-loss.ts";
import { type TrainEmbeddingOptions, trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { expectError } from "../../formats/helpers.ts";
import { failureOf } from "../../inference/helpers.ts";

let folder: string;
let tokenizer: Tokenizer;

const things =
  "cat dog oak rose saw drill lake hill bread cheese king ship moon road hat fish tree bell coat lamp wolf sand milk door".split(
    " ",
  );
const left = ["I saw a WORD today", "the old WORD over there", "is this a WORD"];
const right = ["a WORD it was", "we all know the WORD", "my WORD is gone"];

/** Sentences about the same thing in different words. */
const pairs = things.flatMap((word, w) =>
  left.map((frame, i) => ({
    anchor: frame.replace("WORD", word),
    positive: right[(i + w) % 3]!.replace("WORD", word),
  })),
);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-embed-"));
  const texts = pairs.flatMap((p) => [p.anchor, p.positive]);
  tokenizer = await Tokenizer.train(texts, { vocabSize: 330 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newModel = () =>
  createModel(
    {
      modelType: "llama",
      hiddenSize: 32,
      intermediateSize: 64,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 48,
      tieWordEmbeddings: false,
    },
    { tokenizer, seed: 5 },
  );

const options = (more: Partial<TrainEmbeddingOptions> = {}): TrainEmbeddingOptions => ({
  data: pairs,
  maxSteps: 60,
  perDeviceTrainBatchSize: 24,
  learningRate: 5e-3,
  warmupSteps: 5,
  seed: 2,
  ...more,
});

const cosineOf = async (model: LanguageModel, a: string, b: string) => {
  const [x, y] = await model.embed([a, b]);
  return dotProduct(x!, y!);
};

describe("trainEmbedding", () => {
  test.each(["mean", "last"] as const)(
    "%s pooling: learns, retrieves held-out texts, and gives the same vectors when loaded",
    async (pooling) => {
      await using base = newModel();
      const outputDir = join(folder, pooling);
      const head = await base.model.weight("lm_head.weight").toFloat32();
      const near = () => cosineOf(base, "is this a cat", "my cat is gone");
      const far = () => cosineOf(base, "is this a cat", "my ship is gone");
      const gapBefore = (await near()) - (await far());
      const result = await trainEmbedding(base, options({ pooling, outputDir, evalFraction: 0.2 }));
      expect(result.loss).toBeLessThan(0.6);
      expect(result.evalMetrics!.recallAt1).toBeGreaterThan(0.5);
      expect(result.evalMetrics!.recallAt5).toBeGreaterThanOrEqual(result.evalMetrics!.recallAt1!);
      expect((await near()) - (await far())).toBeGreaterThan(gapBefore + 0.2);
      expect(await base.model.weight("lm_head.weight").toFloat32()).toEqual(head); // the vectors do not depend on the head

      const vectors = await base.embed(pairs.slice(0, 7).map((p) => p.anchor));
      for (const v of vectors) {
        expect(v).toHaveLength(32);
        expect(dotProduct(v, v)).toBeCloseTo(1, 5);
      }
      await using loaded = await LanguageModel.load(outputDir);
      expect(loaded.config.embedding).toEqual({ pooling, normalize: true });
      const again = await loaded.embed(pairs[3]!.anchor);
      expect(dotProduct(again, vectors[3]!)).toBeCloseTo(1, 5);
      const modules = JSON.parse(await readFile(join(outputDir, "modules.json"), "utf8"));
      expect(modules.map((m: { type: string; path: string }) => [m.type.split(".").at(-1), m.path])).toEqual([
        ["Transformer", ""],
        ["Pooling", "1_Pooling"],
        ["Normalize", "2_Normalize"],
      ]);
      expect(JSON.parse(await readFile(join(outputDir, "1_Pooling", "config.json"), "utf8"))).toMatchObject({
        word_embedding_dimension: 32,
        pooling_mode_mean_tokens: pooling === "mean",
        pooling_mode_lasttoken: pooling === "last",
        pooling_mode_cls_token: false,
      });
    },
  );

  test("learns from hard negatives with a symmetric loss, scores pairs, and resumes", async () => {
    const rows = pairs.map((p, i) => ({
      ...p,
      ...(i % 3 && {
        negative: i % 2 ? pairs[(i + 9) % pairs.length]!.positive : [pairs[(i + 6) % pairs.length]!.positive, "a hat"],
      }),
    }));
    const evalScores = pairs.slice(0, 12).flatMap((p, i) => [
      { sentence1: p.anchor, sentence2: p.positive, score: 5 },
      { sentence1: p.anchor, sentence2: pairs[(i + 15) % pairs.length]!.positive, score: 1 },
    ]);
    const outputDir = join(folder, "resume");
    const given = options({ data: rows, symmetric: true, evalScores, maxSteps: 40, outputDir, saveSteps: 20 });
    const losses = async (more: Partial<TrainEmbeddingOptions>) => {
      await using base = newModel();
      const out: number[] = [];
      for await (const event of trainEmbedding(base, { ...given, ...more }))
        if ("loss" in event) out.push((event as StepEvent).loss);
      return out;
    };
    const straight = await losses({});
    expect(straight.at(-1)!).toBeLessThan(straight[0]! / 2);
    await rm(join(outputDir, "checkpoint-40"), { recursive: true });
    expect(await losses({ resume: true })).toEqual(straight.slice(20));
    await using base = newModel();
    const { evalMetrics } = await trainEmbedding(base, { ...given, outputDir: undefined });
    expect(evalMetrics!.spearman).toBeGreaterThan(0.8);
  });

  test("a correlation of equal similarities is NaN, and does not end the training", async () => {
    const evalScores = [1, 2, 3].map((score) => ({ sentence1: "a hat", sentence2: "a hat", score }));
    const said: string[] = [];
    await using base = newModel();
    const given = options({
      ...{ evalScores, evalFraction: 0.2, maxSteps: 2, evalSteps: 2 },
      ...{ metricForBestModel: "spearman", earlyStoppingPatience: 1 },
      onWarning: (message: string) => void said.push(message),
    });
    const { steps, evalMetrics } = await trainEmbedding(base, given);
    expect([steps, evalMetrics!.spearman]).toEqual([2, Number.NaN]);
    expect(said).toEqual([
      expect.stringMatching(/^metricForBestModel: expected a finite spearman at step 2, got NaN;/),
    ]);
  });

  test("hard negatives raise the first loss, and a symmetric loss is the mean of both directions", async () => {
    const first = async (data: TrainEmbeddingOptions["data"], more: Partial<TrainEmbeddingOptions> = {}) => {
      await using base = newModel();
      return (await trainEmbedding(base, options({ data, maxSteps: 1, ...more }))).loss;
    };
    const plain = await first(pairs);
    const swapped = await first(pairs.map(({ anchor, positive }) => ({ anchor: positive, positive: anchor })));
    expect(Math.abs(swapped - plain)).toBeGreaterThan(1e-3);
    expect(await first(pairs, { symmetric: true })).toBeCloseTo((plain + swapped) / 2, 5);
    const negative = (i: number) => pairs[(i + 9) % pairs.length]!.positive;
    expect(await first(pairs.map((pair, i) => ({ ...pair, negative: negative(i) })))).toBeGreaterThan(plain + 0.1);
  });

  test("any model can embed: a vector does not depend on the other texts of the batch, and is normalized unless disabled", async () => {
    await using base = newModel();
    const texts = [
      "a",
      "we all know the king",
      pairs
        .map((p) => p.anchor)
        .join(" ")
        .slice(0, 60),
    ];
    const together = await base.embed(texts);
    for (const [i, text] of texts.entries()) expect(dotProduct(await base.embed(text), together[i]!)).toBeCloseTo(1, 5);
    const raw = await base.embed(texts[1]!, { pooling: "last", normalize: false });
    expect(Math.abs(dotProduct(raw, raw) - 1)).toBeGreaterThan(1e-3);
    await expectError(() => base.embed(""), "INVALID_ARGUMENT", /expected at least one token/);
  });

  test("texts longer than one forward pass are pooled over all of their positions", async () => {
    await using base = createModel(
      {
        modelType: "llama",
        hiddenSize: 16,
        numHiddenLayers: 1,
        numAttentionHeads: 2,
        maxPositionEmbeddings: 700,
        vocabSize: 90,
      },
      { seed: 1 },
    );
    const ids = Array.from({ length: 600 }, (_, i) => (i * 7) % 90);
    const mean = await base.embed(ids, { normalize: false });
    // In a causal model, the state of a position is the last state of the prefix that ends there. So the last states of prefixes are the
    // expected values of pooling `all`.
    const every = await base.embed(
      [1, 255, 256, 257, 400, 600].map((n) => ids.slice(0, n)),
      { pooling: "last", normalize: false },
    );
    expect(every).toHaveLength(6);
    const { pooledOutputs } = await import("../../../lib/language-model/embed/text-forward.ts");
    const [all] = await pooledOutputs(base.model, [ids], { pooling: "all", contextLength: 700 });
    for (const [i, n] of [1, 255, 256, 257, 400, 600].entries())
      every[i]!.forEach((v, c) => {
        expect(v).toBeCloseTo(all![(n - 1) * 16 + c]!, 4);
      });
    for (let c = 0; c < 16; c++) {
      let sum = 0;
      for (let i = 0; i < 600; i++) sum += all![i * 16 + c]!;
      expect(mean[c]).toBeCloseTo(sum / 600, 4);
    }
  });

  test("LoRA keeps the trunk's bytes, and the adapter's folder loads onto the base", async () => {
    const basePath = join(folder, "base");
    await using fresh = newModel();
    await fresh.save(basePath);
    await using base = await LanguageModel.load(basePath);
    const trunk = base.model.weightNames;
    const before = await Promise.all(trunk.map((name) => base.model.weight(name).toFloat32()));
    const [anchor, near, far] = ["is this a cat", "my cat is gone", "my ship is gone"] as const;
    const gap = async (model: LanguageModel) =>
      (await cosineOf(model, anchor, near)) - (await cosineOf(model, anchor, far));
    base.model.setEmbedding({ pooling: "last", normalize: true });
    const gapBefore = await gap(base);
    const outputDir = join(folder, "lora");
    const lora = { r: 8, alpha: 16, targetModules: "all-linear" } as const;
    const result = await trainEmbedding(
      base,
      options({ lora, outputDir, pooling: "last", evalFraction: 0.2, maxSteps: 150, learningRate: 1e-2 }),
    );
    expect(result.evalMetrics!.recallAt1).toBeGreaterThan(0.5);
    expect(await gap(base)).toBeGreaterThan(gapBefore + 0.2);
    for (const [i, name] of trunk.entries()) expect(await base.model.weight(name).toFloat32()).toEqual(before[i]);

    const wanted = await base.embed([anchor, near, far]);
    await using loaded = await LanguageModel.load(outputDir);
    await using other = await LanguageModel.load(basePath);
    await other.loadAdapter(outputDir);
    for (const model of [loaded, other])
      for (const [i, vector] of (await model.embed([anchor, near, far])).entries())
        expect(dotProduct(vector, wanted[i]!)).toBeCloseTo(1, 5);
    // Without the adapter, vectors are the base's; merged, they are unchanged.
    other.model.setActiveAdapters([]);
    expect(await gap(other)).toBeCloseTo(gapBefore, 4);
    await loaded.model.mergeAdapter("default");
    expect(dotProduct((await loaded.embed(anchor))!, wanted[0]!)).toBeCloseTo(1, 4);
  });

  test("the positive of an anchor is not among its negatives", () => {
    const ids = (...values: number[]) => Uint32Array.from(values);
    const batch = [
      { anchor: ids(1), positive: ids(5, 6), negatives: [ids(9)] },
      { anchor: ids(2), positive: ids(5, 6), negatives: [] }, // the same positive as the first pair
      { anchor: ids(1), positive: ids(7), negatives: [ids(8)] }, // the first pair's anchor, so both have two positives: (5, 6) and 7
      { anchor: ids(56), positive: ids(1), negatives: [ids(56)] }, // the positive is another pair's anchor, the negative its own anchor
      { anchor: ids(3), positive: ids(4), negatives: [ids(5, 6)] }, // the negative is another pair's positive
    ];
    const mask = candidateMask(batch, { pairs: 6, negatives: 1 });
    const chosenAmong = Array.from({ length: 6 }, (_, a) =>
      Array.from(mask.subarray(a * 12, a * 12 + 12), (m, c) => (m === 0 ? c : -1)).filter((c) => c >= 0),
    );
    // Candidates 0 to 5 are the positives of pairs 0 to 5, and 6 to 11 their negatives. 5, 7 and 11 are missing.
    expect(chosenAmong).toEqual([
      [0, 4, 6, 8, 9],
      [1, 2, 3, 4, 6, 8, 9],
      [2, 4, 6, 8, 9],
      [0, 1, 2, 3, 4, 6, 8, 9, 10],
      [0, 1, 2, 3, 4, 6, 8, 9, 10],
      [],
    ]);
    expect(mask.every((m) => m === 0 || m <= -1e4)).toBe(true);
  });

  test("normalized rows have length 1", async () => {
    const program = compile(() => ({ y: normalizedRows(input("x", "f32", [2, 3]), 3) }));
    const executable = program.bind(openDevice(), new Map());
    const unitScale = new Float32Array(3).fill(1 / Math.sqrt(3));
    const { y } = await executable.run({ x: Float32Array.of(3, 0, 4, 1e-3, 0, 0), unitScale });
    executable.dispose();
    for (const [i, v] of [0.6, 0, 0.8, 1, 0, 0].entries()) expect(y[i]).toBeCloseTo(v, 4);
  });
});

describe("invalid data and folders", () => {
  test.each<[string, unknown[], string]>([
    ["a row without a positive", [{ anchor: "a" }], "bad.jsonl:1: positive: expected a string, got nothing"],
    [
      "a negative that is not a text",
      [{ anchor: "a", positive: "b", negative: [1] }],
      "bad.jsonl:1: negative[0]: expected a string",
    ],
    [
      "a negative equal to the positive",
      [{ anchor: "a", positive: "b", negative: ["c", "b"] }],
      'bad.jsonl:1: negative: expected another text than the row\'s positive, got "b"',
    ],
    [
      "the same positive everywhere",
      [
        { anchor: "a", positive: "b" },
        { anchor: "c", positive: "b" },
      ],
      "bad.jsonl: expected at least two different positives to tell apart, got one text everywhere",
    ],
    ["an empty anchor", [{ anchor: " ", positive: "b" }], "bad.jsonl:1: anchor: expected a text"],
    [
      "a positive that is too long",
      [{ anchor: "a", positive: "word ".repeat(90) }],
      "bad.jsonl:1: positive: expected at most 48 tokens",
    ],
  ])("are rejected: data with %s", async (_, lines, message) => {
    const path = join(folder, "bad.jsonl");
    await writeFile(path, lines.map((l) => JSON.stringify(l)).join("\n"));
    await using base = newModel();
    const failure = await failureOf(() => trainEmbedding(base, options({ data: path })));
    expect(failure.code).toBe("INVALID_FILE");
    expect(failure.message).toContain(message);
  });

  test("are rejected: sentence-transformers folders with unsupported pooling", async () => {
    await using base = newModel();
    base.model.setEmbedding({ pooling: "mean", normalize: false });
    const path = join(folder, "foreign");
    await base.save(path);
    await using loaded = await LanguageModel.load(path);
    expect(loaded.config.embedding).toEqual({ pooling: "mean", normalize: false });
    const modules = join(path, "modules.json");
    const pooling = join(path, "1_Pooling", "config.json");
    const good = await readFile(modules, "utf8");
    for (const [file, content, code, message] of [
      [pooling, { pooling_mode_of_tomorrow: true }, "UNSUPPORTED", /got "pooling_mode_of_tomorrow"/],
      [pooling, { pooling_mode: "sum" }, "UNSUPPORTED", /expected one of cls, .*, got "sum"/],
      [pooling, {}, "UNSUPPORTED", /got none$/],
      [modules, [{ type: "sentence_transformers.models.CNN", path: "2_CNN" }], "UNSUPPORTED", /Dense, .* got .*CNN/],
      [
        modules,
        [{ type: "sentence_transformers.models.Pooling", path: "../../.." }],
        "INVALID_FILE",
        /a folder's name/,
      ],
      [modules, {}, "INVALID_FILE", /an array of modules/],
    ] as const) {
      await mkdir(join(path, "1_Pooling"), { recursive: true });
      await writeFile(modules, good);
      await writeFile(file, JSON.stringify(content));
      await expectError(() => LanguageModel.load(path), code, message);
    }
  });
});
