import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCorpus } from "../../../lib/data/corpus.ts";
import { writeTokenShards } from "../../../lib/data/token-shards/write-token-shards.ts";
import { createModel } from "../../../lib/language-model/create.ts";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import type { EvalEvent, StepEvent, TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { packedLanguageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";

let folder: string;
let tokenizer: Tokenizer;

/** Simple sentences with enough structure to learn in a few dozen steps. */
function text(count: number, seed: number): string {
  const names = ["Anna", "Ben", "Clara", "Dan"];
  const verbs = ["likes", "sees", "finds", "wants"];
  const things = ["a red ball", "the old tree", "a small boat", "the green hat"];
  let s = seed;
  const pick = (list: string[]) => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return list[(s >>> 16) % list.length]!; // this generator's low bits have a short period
  };
  return Array.from(
    { length: count },
    () => `${pick(names)} ${pick(verbs)} ${pick(things)}. ${pick(names)} does not.`,
  ).join("\n\n");
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-pretrain-"));
  await writeFile(join(folder, "train.txt"), text(400, 1));
  await writeFile(
    join(folder, "held-out.jsonl"),
    text(20, 99)
      .split("\n\n")
      .map((t) => JSON.stringify({ text: t }))
      .join("\n"),
  );
  tokenizer = await Tokenizer.train([text(100, 1)], { vocabSize: 320 });
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
      maxPositionEmbeddings: 64,
      tieWordEmbeddings: true,
    },
    { tokenizer, seed: 3 },
  );

const options = (more: Partial<PretrainOptions> = {}): PretrainOptions => ({
  data: join(folder, "train.txt"),
  maxSteps: 12,
  perDeviceTrainBatchSize: 4,
  maxSeqLength: 32,
  learningRate: 5e-3,
  warmupSteps: 2,
  seed: 7,
  ...more,
});

const isStep = (e: TrainEvent): e is StepEvent => "loss" in e;

async function losses(base: LanguageModel, given: PretrainOptions): Promise<number[]> {
  const out: number[] = [];
  for await (const event of pretrain(base, given)) if (isStep(event)) out.push(event.loss);
  return out;
}

describe("pretrain", () => {
  test("learns, evaluates on held-out text, and writes a model that loads and continues text", async () => {
    await using base = newModel();
    const outputDir = join(folder, "learns");
    const events: TrainEvent[] = [];
    const run = pretrain(
      base,
      options({
        maxSteps: 80,
        evalData: join(folder, "held-out.jsonl"),
        evalSteps: 40,
        outputDir,
        trainingCutoffDate: "2026-01",
      }),
    );
    for await (const event of run) events.push(event);
    const result = await run;
    const steps = events.filter(isStep);
    const evaluations = events.filter((e): e is EvalEvent => !isStep(e));
    expect(steps.map((e) => e.step)).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
    expect(steps[0]!.loss).toBeGreaterThan(5);
    expect(steps.at(-1)!.loss).toBeLessThan(1.5);
    expect(steps.at(-1)!.tokensSeen).toBe(80 * 4 * 32);
    expect(steps[1]!.learningRate).toBe(5e-3); // the end of the warm-up
    expect(steps.at(-1)!.learningRate).toBeLessThan(1e-4); // the end of the cosine
    expect(evaluations.map((e) => e.step)).toEqual([40, 80]);
    expect(evaluations[1]!.evalLoss).toBeLessThan(evaluations[0]!.evalLoss!);
    expect(result).toMatchObject({ steps: 80, path: outputDir, evalLoss: evaluations[1]!.evalLoss });

    await using loaded = await LanguageModel.load(outputDir);
    expect(loaded.card).toMatchObject({
      stage: "pretrain",
      parent: null,
      tokensSeen: 80 * 4 * 32,
      trainingCutoffDate: "2026-01",
    });
    const { text: continuation } = await loaded.complete("Anna likes", { maxTokens: 4, temperature: 0 });
    expect(continuation).toMatch(/^ (a|the) /);
  });

  test("a resumed run has the losses of an uninterrupted one, bit for bit", async () => {
    await using whole = newModel();
    const expected = await losses(whole, options({ gradientAccumulationSteps: 2 }));

    const outputDir = join(folder, "resumed");
    const controller = new AbortController();
    await using first = newModel();
    const before: number[] = [];
    const interrupted = async () => {
      for await (const event of pretrain(
        first,
        options({ gradientAccumulationSteps: 2, outputDir, signal: controller.signal }),
      )) {
        if (!isStep(event)) continue;
        before.push(event.loss);
        if (event.step === 5) controller.abort();
      }
    };
    await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
    expect(await readdir(outputDir)).toContain("checkpoint-5");

    await using second = newModel();
    const after = await losses(second, options({ gradientAccumulationSteps: 2, outputDir, resume: "auto" }));
    expect([...before, ...after]).toEqual(expected);
    const weight = "model.layers.1.mlp.down_proj.weight";
    expect(await second.model.weight(weight).toFloat32()).toEqual(await whole.model.weight(weight).toFloat32());
  });

  test("keeps saveTotalLimit checkpoints, each a model that loads", async () => {
    await using base = newModel();
    const outputDir = join(folder, "limited");
    await pretrain(base, options({ outputDir, saveSteps: 3, saveTotalLimit: 2 }));
    const kept = (await readdir(outputDir)).filter((name) => name.startsWith("checkpoint-")).sort();
    expect(kept).toEqual(["checkpoint-12", "checkpoint-9"]);
    await using loaded = await LanguageModel.load(join(outputDir, "checkpoint-9"));
    expect(loaded.card?.tokensSeen).toBe(9 * 4 * 32);
    expect(existsSync(join(outputDir, "tokenizer.json"))).toBe(true);
    const config = JSON.parse(await readFile(join(outputDir, "config.json"), "utf8"));
    expect(config).toMatchObject({ model_type: "llama", architectures: ["LlamaForCausalLM"], hidden_size: 32 });
  });

  test("continues pre-training of a loaded 16-bit checkpoint, and the card names its parent", async () => {
    await using base = newModel();
    const outputDir = join(folder, "parent");
    await pretrain(base, options({ outputDir, saveDtype: "bf16", name: "small" }));
    await using loaded = await LanguageModel.load(outputDir);
    const start = (await losses(loaded, options({ maxSteps: 2, outputDir: join(folder, "child") })))[0]!;
    expect(start).toBeLessThan(4.5);
    await using child = await LanguageModel.load(join(folder, "child"));
    expect(child.card).toMatchObject({ parent: "small", tokensSeen: 14 * 4 * 32 });
  });

  test("losses in f32 and bf16 agree within 1 %", async () => {
    await using a = newModel();
    await using b = newModel();
    const [f32, bf16] = [await losses(a, options()), await losses(b, options({ dtype: "bf16" }))];
    f32.forEach((loss, i) => {
      expect(Math.abs(bf16[i]! / loss - 1)).toBeLessThan(0.01);
    });
  });

  test.each(["f32", "bf16"] as const)("training with fp8 learns nearly as much as without, in %s", async (dtype) => {
    await using a = newModel();
    await using b = newModel();
    const longer = options({ dtype, maxSteps: 40 });
    const [plain, fp8] = [await losses(a, longer), await losses(b, { ...longer, fp8: true })];
    expect(fp8).not.toEqual(plain);
    // e4m3 rounds a number by at most 2⁻⁴ of it. A product of two numbers thus changes by about 2 · 2⁻⁴ at most.
    const learned = plain[0]! - plain.at(-1)!;
    expect(learned).toBeGreaterThan(1);
    for (const [i, loss] of plain.entries())
      expect(Math.abs(fp8[i]! - loss), `step ${i + 1}`).toBeLessThan(learned / 8);
  });

  test("resumes mixtures, packed documents and token files with the losses of an uninterrupted run", async () => {
    const shards = join(folder, "shards");
    await writeTokenShards({ files: join(folder, "train.txt"), tokenizer, outputDir: shards, shardTokens: 3000 });
    const column = text(120, 5).split("\n\n");
    const table = parquetWriteBuffer({
      columnData: [{ name: "body", data: column, type: "STRING" }],
      rowGroupSize: 50,
    });
    await writeFile(join(folder, "table.parquet"), Buffer.from(table));
    const data = [
      { data: shards, weight: 2 },
      { data: [join(folder, "table.parquet")], textField: "body" },
    ];
    for (const packing of ["concatenate", "bestFit"] as const) {
      const given = options({ data, packing, evalFraction: 0.1, evalBatches: 2 });
      await using whole = newModel();
      const expected = await losses(whole, given);
      const outputDir = join(folder, `mixed-${packing}`);
      const controller = new AbortController();
      await using second = newModel();
      const before: number[] = [];
      const interrupted = async () => {
        for await (const event of pretrain(second, { ...given, outputDir, signal: controller.signal })) {
          if (!isStep(event)) continue;
          before.push(event.loss);
          if (event.step === 7) controller.abort();
        }
      };
      await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
      await using third = newModel();
      const after = await losses(third, { ...given, outputDir, resume: true });
      expect([...before, ...after]).toEqual(expected);
      await using loaded = await LanguageModel.load(outputDir);
      expect(loaded.card?.data.map(({ name }) => name)).toEqual(["shards", "table.parquet"]);
    }
  });

  test("Muon learns and resumes bit for bit; gradient checkpointing changes no bit; evaluation excludes z-loss", async () => {
    const given = options({ optim: "muon", muonWeightDecay: 0.05, gradientAccumulationSteps: 2 });
    await using whole = newModel();
    const expected = await losses(whole, given);
    await using plain = newModel();
    expect(await losses(plain, { ...given, optim: "adamw" })).not.toEqual(expected);
    expect(expected.at(-1)!).toBeLessThan(expected[0]! - 1);
    await using again = newModel();
    expect(await losses(again, { ...given, gradientCheckpointing: true })).toEqual(expected);
    const outputDir = join(folder, "muon");
    await using first = newModel();
    const controller = new AbortController();
    const before: number[] = [];
    const interrupted = async () => {
      for await (const event of pretrain(first, { ...given, outputDir, signal: controller.signal })) {
        if (!isStep(event)) continue;
        before.push(event.loss);
        if (event.step === 5) controller.abort();
      }
    };
    await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
    await using second = newModel();
    expect([...before, ...(await losses(second, { ...given, outputDir, resume: true }))]).toEqual(expected);
    const weight = "model.layers.1.mlp.down_proj.weight";
    expect(await second.model.weight(weight).toFloat32()).toEqual(await whole.model.weight(weight).toFloat32());

    const evaluated = async (zLoss: number) => {
      await using base = newModel();
      const held = join(folder, "held-out.jsonl");
      return await pretrain(base, options({ maxSteps: 1, learningRate: 1e-12, evalData: held, zLoss }));
    };
    const [without, with_] = [await evaluated(0), await evaluated(0.1)];
    expect(with_.loss).toBeGreaterThan(without.loss + 1); // z-loss adds about log(320)² / 10
    expect(with_.evalLoss).toBeCloseTo(without.evalLoss!, 5);
  });

  test("packed documents have the loss and gradients of one document per row", async () => {
    await using base = newModel();
    const open = (maxSeqLength: number, batchSize: number) =>
      openCorpus({ files: join(folder, "train.txt"), tokenizer, maxSeqLength, batchSize, packing: "bestFit" });
    using corpus = await open(64, 2);
    const packed = await corpus.next();
    // The same documents, one per row.
    const rows: number[][] = [];
    for (let i = 0; i < packed.tokens.length; i++) {
      if (packed.documents![i]! < 0) continue;
      if (packed.positions![i] === 0) rows.push([]);
      rows.at(-1)!.push(i);
    }
    expect(rows.length).toBeGreaterThan(5);
    const size = rows.length * 64;
    const padded = {
      tokens: new Int32Array(size),
      targets: new Int32Array(size).fill(-100),
      positions: new Int32Array(size),
      documents: new Int32Array(size).fill(-1),
      tokenCount: packed.tokenCount,
      byteCount: packed.byteCount,
    };
    for (const [r, places] of rows.entries())
      for (const [i, from] of places.entries()) {
        for (const name of ["tokens", "targets", "positions"] as const) padded[name][64 * r + i] = packed[name]![from]!;
        padded.documents[64 * r + i] = 0;
      }
    const run = async (batch: typeof padded, sequences: number) => {
      const shape = { sequences, sequenceLength: 64, dtype: "f32" as const };
      const step = await TrainStep.create(base.model, packedLanguageModeling, shape);
      const { loss } = await step.accumulate([batch]);
      const gradients = new Map<string, Float32Array>();
      for (const [name, t] of step.optimizer.gradients) gradients.set(name, await t.toFloat32());
      step.dispose();
      return { loss, gradients };
    };
    const a = await run(packed as typeof padded, 2);
    const b = await run(padded, rows.length);
    expect(Math.abs(a.loss / b.loss - 1)).toBeLessThan(1e-6);
    for (const [name, expected] of b.gradients) {
      const error = Math.hypot(...expected.map((v, i) => v - a.gradients.get(name)![i]!));
      expect(error, name).toBeLessThan(1e-5 * Math.hypot(...expected) + 1e-9);
    }
  });

  test("the model can generate with its current weights between steps, which does not change the training", async () => {
    await using alone = newModel();
    const losses: number[] = [];
    for await (const event of pretrain(alone, options({ maxSteps: 3, lrScheduler: "constant", warmupSteps: 0 })))
      if (isStep(event)) losses.push(event.loss);
    await using base = newModel();
    await using copy = newModel();
    const complete = (model: LanguageModel) => model.complete("Ben", { maxTokens: 4, temperature: 0, ignoreEos: true });
    const seen: number[] = [];
    const probabilities = new Set<number>();
    for await (const event of pretrain(base, options({ maxSteps: 3, lrScheduler: "constant", warmupSteps: 0 })))
      if (isStep(event)) {
        seen.push(event.loss);
        const { tokens, logprobs } = await complete(base);
        for (const name of base.model.weightNames)
          await copy.model.weight(name).write(await base.model.weight(name).toFloat32());
        expect(await complete(copy)).toMatchObject({ tokens, logprobs });
        probabilities.add(logprobs[0]!);
      }
    expect(seen).toEqual(losses);
    expect(probabilities.size).toBe(3);
  });
});

describe("an invalid run of pretrain", () => {
  const cases: [string, Record<string, unknown>, { code: string; message: RegExp }][] = [
    [
      "an unknown option",
      { learnignRate: 1 },
      { code: "INVALID_ARGUMENT", message: /learnignRate: expected a known option \(nearest: learningRate\)/ },
    ],
    [
      "an invalid number",
      { learningRate: -1 },
      { code: "INVALID_ARGUMENT", message: /learningRate: expected .* above 0, got -1/ },
    ],
    [
      "an invalid schedule",
      { lrScheduler: "cosin" },
      {
        code: "INVALID_ARGUMENT",
        message:
          /lrScheduler: expected one of cosine, linear, constant, constant_with_warmup, warmup_stable_decay, or a function of \{ step, maxSteps \}, got "cosin"/,
      },
    ],
    [
      "a sequence beyond the context",
      { maxSeqLength: 65 },
      { code: "INVALID_ARGUMENT", message: /maxSeqLength: expected at most the model's 64 positions, got 65/ },
    ],
    [
      "an unknown option of a corpus",
      { data: [{ data: "a.txt", wieght: 2 }] },
      { code: "INVALID_ARGUMENT", message: /pretrain\.data\.0\.wieght: expected a known option \(nearest: weight\)/ },
    ],
    [
      "a weight of zero",
      { data: [{ data: "a.txt", weight: 0 }] },
      { code: "INVALID_ARGUMENT", message: /data\.0\.weight: expected a number above 0, got 0/ },
    ],
    [
      "data of the wrong type",
      { data: 7 },
      { code: "INVALID_ARGUMENT", message: /data: expected a path, an array of paths, or an array of objects/ },
    ],
    [
      "an unknown packing",
      { packing: "best" },
      { code: "INVALID_ARGUMENT", message: /packing: expected one of concatenate, bestFit, got "best"/ },
    ],
    [
      "an unknown optimizer",
      { optim: "moun" },
      { code: "INVALID_ARGUMENT", message: /optim: expected one of adamw, muon, got "moun"/ },
    ],
    [
      "a negative z-loss",
      { zLoss: -1 },
      { code: "INVALID_ARGUMENT", message: /zLoss: expected a number of at least 0, got -1/ },
    ],
    ["a missing file", { data: "/nowhere/text.txt" }, { code: "NOT_FOUND", message: /\/nowhere\/text\.txt/ }],
    [
      "a resume without a checkpoint",
      { resume: true, outputDir: "/tmp/heddle-no-such-run" },
      { code: "NOT_FOUND", message: /expected a checkpoint in .*, got none/ },
    ],
    [
      "a loss that explodes",
      { learningRate: 1e30, maxGradNorm: 0, lrScheduler: "constant", warmupSteps: 0 },
      { code: "NUMERICAL", message: /step \d+: expected a finite (loss|gradient)/ },
    ],
  ];
  test.each(cases)("is rejected for %s", async (_, wrong, { code, message }) => {
    await using base = newModel();
    const attempt = async () => pretrain(base, { ...options(), ...wrong } as PretrainOptions);
    await expect(attempt()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
