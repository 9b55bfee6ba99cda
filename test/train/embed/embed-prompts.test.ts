// Training prepends the same prompts as `embed`, and pools over them unless includePrompt is false.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PoolingMode } from "../../../lib/formats/config/config.ts";
import { embeddedIds } from "../../../lib/language-model/embed/embed.ts";
import { trunkNames } from "../../../lib/models/heads.ts";
import { columnPrompts } from "../../../lib/train/examples/embed-prompts.ts";
import { readPairs } from "../../../lib/train/examples/embed-rows.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import type { StepEvent } from "../../../lib/train/loop/trainer.ts";
import { candidateMask, contrastive } from "../../../lib/train/losses/embed-loss.ts";
import { type TrainEmbeddingOptions, trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import {
  close,
  MODES,
  newModel,
  pooledBy,
  statesOf,
  texts,
  tokenizer,
  unit,
  WIDTH,
} from "../../formats/sentence-transformers/embedding-folders.ts";

const prompts = { query: "query: ", passage: "passage: " };
const data = ["cat", "dog", "tree", "mat"].flatMap((word) => [
  { anchor: `the ${word} sat`, positive: `a ${word} is there`, negative: "in the old" },
  { anchor: `${word} in the tree`, positive: `on the ${word}` },
]);
const evalScores = data.map(({ anchor, positive }, i) => ({ sentence1: anchor, sentence2: positive, score: i }));
const options = { maxSteps: 3, perDeviceTrainBatchSize: 4, learningRate: 5e-3, warmupSteps: 0, seed: 1 };

/** Returns the losses, the last evaluation, and the vector of a text after training. */
async function run(embedding: Parameters<typeof newModel>[1], more: Partial<TrainEmbeddingOptions>) {
  await using model = newModel("bert", embedding);
  const training = trainEmbedding(model, { data, ...options, ...more });
  const losses: number[] = [];
  for await (const event of training) if ("loss" in event) losses.push((event as StepEvent).loss);
  return { losses, metrics: (await training).evalMetrics, vector: [...(await model.embed("the cat", { prompt: "" }))] };
}

describe("prompts in training", () => {
  test("give the same results as rows whose texts begin with them, whether given by name or as text", async () => {
    const written = (rows: typeof data) =>
      rows.map(({ anchor, positive, negative }) => ({
        anchor: prompts.query + anchor,
        positive: prompts.passage + positive,
        ...(negative && { negative: prompts.passage + negative }),
      }));
    const sentences = evalScores.map(({ sentence1, sentence2, score }) => ({
      ...{ sentence1: `search ${sentence1}`, sentence2: `search ${sentence2}`, score },
    }));
    const by = await run({ prompts }, { data: written(data), evalData: written(data), evalScores: sentences });
    expect(by.losses).toHaveLength(3);
    const given = { data, evalData: data, evalScores };
    const named = {
      anchor: { promptName: "query" },
      document: { promptName: "passage" },
      sentence: "search ",
    };
    expect(await run({ prompts }, { ...given, prompts: named })).toEqual(by);
    const spelt = { anchor: prompts.query, document: prompts.passage, sentence: "search " };
    expect(await run({}, { ...given, prompts: spelt })).toEqual(by);
    // A single column may have a prompt. By default none is added, even if the model has a default prompt.
    const anchors = data.map((row) => ({ ...row, anchor: prompts.query + row.anchor }));
    const one = await run({ prompts }, { prompts: { anchor: { promptName: "query" } } });
    expect(one).toEqual(await run({}, { data: anchors }));
    expect(one.losses).not.toEqual(by.losses);
    expect(await run({ prompts, defaultPromptName: "query" }, {})).toEqual(await run({}, {}));
  });

  test.each([...MODES, ["max", "mean", "first"]] as (PoolingMode | PoolingMode[])[])(
    "includePrompt: false, pooling %s: only the text's tokens are pooled, and gradients are those of the loss",
    async (pooling) => {
      await using model = newModel("llama", { pooling, prompts, includePrompt: false });
      const ways = [pooling].flat();
      const columns = columnPrompts(
        { anchor: { promptName: "query" }, document: "search " },
        model.config.embedding!,
        tokenizer,
      );
      const batch = texts.map((text, i) => ({
        anchor: tokenizer.encode(prompts.query + text),
        positive: tokenizer.encode(`search ${texts[(i + 1) % 3]!.slice(0, 9)}`),
        negatives: [],
      }));
      const shape = { sequences: 8, sequenceLength: 19, dtype: "f32" as const };
      const width = WIDTH * ways.length;
      const stage = contrastive({
        // Room for four pairs, though the batch has three.
        ...{ width, pairs: 4, negatives: 0, pooling, temperature: 0.5, symmetric: true, padTokenId: 0 },
        ...{ sequenceLength: shape.sequenceLength, prompts: columns },
      });
      let vectors = new Float32Array();
      const names = trunkNames(model.config);
      const metrics = (outputs: readonly Record<string, unknown>[]) => {
        vectors = (outputs[0]!.vectors as Float32Array).slice();
        return {};
      };
      const step = await TrainStep.create(model.model, { ...stage, metrics }, shape, { names });
      await step.evaluate(batch);
      for (const [i, text] of texts.entries()) {
        const states = await statesOf(model, prompts.query + text);
        const before = tokenizer.encode("query: ").length - tokenizer.closingCount;
        expect(before).toBeGreaterThan(1);
        const wanted = unit(ways.flatMap((mode) => pooledBy(mode, states, before)));
        close(vectors.subarray(i * width, (i + 1) * width), wanted, 2e-5);
        close(await model.embed(text, { promptName: "query" }), wanted, 2e-5);
      }
      // With pooling `first`, the pooled token belongs to the prompt. A causal model then gives the same vector for all texts.
      if (pooling !== "first") {
        await step.accumulate([batch]);
        const gradients = new Map<string, Float32Array>();
        for (const name of names)
          gradients.set(name, await step.optimizer.gradients.get(`gradient.${name}`)!.toFloat32());
        const square = [...gradients.values()].reduce((n, g) => g.reduce((m, v) => m + v * v, n), 0);
        const before = new Map<string, Float32Array>();
        for (const name of names) before.set(name, await model.model.weight(name).toFloat32());
        const lossAt = async (by: number) => {
          for (const name of names)
            await model.model.weight(name).write(before.get(name)!.map((w, i) => w + by * gradients.get(name)![i]!));
          return (await step.evaluate(batch)).loss;
        };
        const by = 2e-3 / Math.sqrt(square);
        const slope = ((await lossAt(by)) - (await lossAt(-by))) / (2 * by);
        expect(slope / square).toBeGreaterThan(0.98);
        expect(slope / square).toBeLessThan(1.02);
      }
      step.dispose();
    },
  );

  test("are ignored when equal texts are masked in the loss", () => {
    const columns = columnPrompts(
      { anchor: "query: ", document: "passage: " },
      { pooling: "mean", normalize: true },
      tokenizer,
    );
    const pair = (anchor: string, positive: string) => ({
      anchor: tokenizer.encode(`query: ${anchor}`),
      positive: tokenizer.encode(`passage: ${positive}`),
      negatives: [],
    });
    const batch = [pair("a cat", "the cat"), pair("a dog", "a cat"), pair("the tree", "old")];
    const mask = candidateMask(batch, { pairs: 3, negatives: 0, prompts: columns });
    // The second document equals the first anchor.
    expect(Array.from(mask, (m) => m === 0)).toEqual([true, false, true, true, true, true, true, true, true]);
  });

  test("are validated, and errors name the option", async () => {
    const refused = (given: unknown, message: RegExp, embedding = { prompts, includePrompt: false }) =>
      expectError(() => run(embedding, { prompts: given as never }), "INVALID_ARGUMENT", message);
    await refused(
      { anchor: { promptName: "qery" } },
      / prompts.anchor.promptName: expected one of query, passage \(nearest: query\), got "qery"/,
    );
    await refused({ anchor: 7 }, /prompts.anchor: expected a text, or \{ promptName \} .*, got 7/);
    await refused({ document: { name: "query" } }, /prompts.document: expected a text, or \{ promptName \}/);
    await refused(
      { documnt: "a" },
      /prompts\.documnt: expected a known option \(nearest: document\), got an unknown one/,
    );
    await refused("query: ", /prompts: expected an object with anchor, document or sentence, got "query: "/);
    // If the tokenizer appends no closing token, truncation can leave nothing but the prompt.
    const open = { encode: (text: string) => tokenizer.encode(text).slice(0, -1), closingCount: 0 };
    const columns = columnPrompts(
      { anchor: "query: " },
      { pooling: "mean", normalize: true, includePrompt: false },
      open,
    );
    const reading = {
      name: "data",
      tokenizer: open,
      prompts: columns,
      lowercase: false,
      maxLength: 3,
      truncation: true,
    };
    await expectError(
      () => readPairs([{ anchor: "the cat", positive: "old" }], { ...reading, signal: undefined }),
      "INVALID_ARGUMENT",
      /data: row 1: anchor: expected more tokens than the prompt's 3, got 3 tokens/,
    );
  });

  test("texts with and without a prompt have the ids of embed, which parses special tokens", async () => {
    await using model = newModel("bert", { prompts });
    const text = "the cat [SEP] a dog";
    expect(tokenizer.encode(text, { allowSpecial: true })).not.toEqual(tokenizer.encode(text));
    for (const [given, prompt] of [
      [{}, ""] as const,
      [{ anchor: "query: ", document: "query: " }, "query: "] as const,
    ]) {
      const columns = columnPrompts(given, model.config.embedding!, tokenizer);
      const reading = { name: "data", tokenizer, prompts: columns, lowercase: false, maxLength: 40, truncation: false };
      const [pair] = await readPairs([{ anchor: text, positive: `old ${text}` }], { ...reading, signal: undefined });
      const { ids } = await embeddedIds([text, `old ${text}`], model, { prompt });
      expect([[...pair!.anchor], [...pair!.positive]], prompt).toEqual(ids);
    }
  });

  test("are part of a run's data, so another prompt is rejected on resume", async () => {
    const outputDir = join(temporaryFolder(), "run");
    const first = { outputDir, saveSteps: 1, maxSteps: 2, prompts: { anchor: "query: " } };
    await run({}, first);
    await expectError(
      () => run({}, { ...first, resume: true, maxSteps: 3, prompts: { anchor: "search " } }),
      "INVALID_ARGUMENT",
      /resume: expected the data and seed of the resumed run/,
    );
  });
});
