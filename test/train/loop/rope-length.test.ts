// RoPE whose frequencies depend on the length of the sequence (longrope, dynamic): a training pass computes each row as if it were alone.
import { describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { dotProduct } from "../../../lib/metrics/retrieval.ts";
import { SftSource } from "../../../lib/train/examples/sft-source.ts";
import type { Stage } from "../../../lib/train/loop/stage.ts";
import { totalsOf } from "../../../lib/train/loop/stage.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { classification } from "../../../lib/train/losses/classify-loss.ts";
import { contrastive } from "../../../lib/train/losses/embed-loss.ts";
import { languageModeling, packedLanguageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { supervised } from "../../../lib/train/losses/supervised.ts";
import { AnswerScorer } from "../../../lib/train/preference/scorer.ts";
import type { AnsweredPrompt } from "../../../lib/train/preference/sequences.ts";
import { dpoStage } from "../../../lib/train/stages/dpo.ts";
import { grpoStage } from "../../../lib/train/stages/grpo.ts";
import { ktoStage } from "../../../lib/train/stages/kto.ts";
import { orpoStage } from "../../../lib/train/stages/orpo.ts";
import { ppoStage } from "../../../lib/train/stages/ppo.ts";
import { rewardStage } from "../../../lib/train/stages/reward.ts";
import { simpoStage } from "../../../lib/train/stages/simpo.ts";
import { maxDifference } from "../../helpers/max-difference.ts";
import { tinyModel } from "../../inference/helpers.ts";

/** Sequence length up to which frequencies are unscaled. */
const TRAINED = 20;
const SHORT = 12;
const LONG = 40;
/** Length of a padded sequence. */
const ROWS = 48;

const idsFrom = (seed: number, length: number) =>
  Int32Array.from({ length }, (_, i) => 3 + ((i * 7919 + seed * 104_729 + ((i * i) % 97)) % 300));
const answer = (seed: number, length: number): AnsweredPrompt => ({ ids: idsFrom(seed, length), promptLength: 4 });

function modelOf(ropeType: "longrope" | "dynamic") {
  const isLong = ropeType === "longrope";
  const scaling = isLong
    ? { originalMaxPositionEmbeddings: TRAINED, shortFactor: [1, 1, 1, 1], longFactor: [1, 2, 4, 8] }
    : { factor: 4 };
  const maxPositionEmbeddings = isLong ? 1024 : TRAINED;
  return tinyModel({}, { maxPositionEmbeddings, ropeScaling: { ropeType, ...scaling }, tieWordEmbeddings: true });
}

const f32 = "f32" as const;

/** A stage's loss of a batch, and the gradient of the embeddings. */
async function measured<Batch>(
  { model }: LanguageModel,
  stage: Stage<Batch>,
  batch: Batch,
  [sequences, sequenceLength]: readonly [number, number],
  totals = totalsOf(stage, [batch]),
) {
  const step = await TrainStep.create(model, stage, { sequences, sequenceLength, dtype: f32 });
  try {
    const { loss: evaluated, metrics } = await step.evaluate(batch, undefined, totals);
    const { loss } = await step.accumulate([batch]);
    const name = [...step.optimizer.gradients.keys()].find((key) => key.includes("embed"))!;
    return { evaluated, metrics, loss, gradient: await step.optimizer.gradients.get(name)!.toFloat32() };
  } finally {
    step.dispose();
  }
}

/** Computes the negative log-likelihood of a text's tokens from its second token on. */
async function likelihood(model: LanguageModel, ids: ArrayLike<number>) {
  const scores = await model.score(Array.from(ids));
  return -scores.reduce((sum, score) => sum + score, 0);
}

/** Decimal places to which losses agree. Sums of f32 are added in another order if rows are padded. */
const NEAR = 4;

const pair = (seed: number, length: number) => ({
  chosen: answer(seed, length),
  rejected: answer(seed + 1, length - 3),
  reference: { chosen: -length, rejected: -length },
});
const tokens = (length: number, value: number) => new Float32Array(length - 4).fill(value);

/** Stages with batches of items of given lengths. With the same totals, a batch's loss is the sum of its items' losses. */
const stages: Record<
  string,
  {
    sequencesEach: number;
    prepare?: (model: LanguageModel) => Promise<void>;
    // biome-ignore lint/suspicious/noExplicitAny: stages have different batches
    stage: (items: number, sequenceLength: number) => Stage<any>;
    batch: (lengths: readonly number[]) => unknown;
  }
> = {
  dpo: {
    sequencesEach: 2,
    stage: (pairs, sequenceLength) =>
      dpoStage({ pairs, sequenceLength, beta: 0.5, lossType: "sigmoid", labelSmoothing: 0, rpoAlpha: 1 }),
    batch: (lengths) => lengths.map((length) => pair(length, length)),
  },
  ipo: {
    sequencesEach: 2,
    stage: (pairs, sequenceLength) =>
      dpoStage({ pairs, sequenceLength, beta: 0.5, lossType: "ipo", labelSmoothing: 0, rpoAlpha: 0 }),
    batch: (lengths) => lengths.map((length) => pair(length, length)),
  },
  orpo: {
    sequencesEach: 2,
    stage: (pairs, sequenceLength) => orpoStage({ pairs, sequenceLength, beta: 0.5 }),
    batch: (lengths) => lengths.map((length) => pair(length, length)),
  },
  simpo: {
    sequencesEach: 2,
    stage: (pairs, sequenceLength) => simpoStage({ pairs, sequenceLength, beta: 2, gamma: 0.5 }),
    batch: (lengths) => lengths.map((length) => pair(length, length)),
  },
  reward: {
    sequencesEach: 2,
    prepare: ({ model }) =>
      model.addClassifier({ task: "sequence", labels: ["reward"], problemType: "regression" }, { seed: 1 }),
    stage: (pairs, sequenceLength) => rewardStage({ pairs, sequenceLength, centerRewardsCoefficient: 0 }),
    batch: (lengths) => lengths.map((length) => pair(length, length)),
  },
  grpo: {
    sequencesEach: 1,
    stage: (answers, sequenceLength) =>
      grpoStage({
        answers,
        sequenceLength,
        lossType: "dapo",
        epsilon: 0.2,
        epsilonHigh: 0.2,
        beta: 0.1,
        importanceSamplingLevel: "token",
        maxCompletionLength: LONG,
        temperature: 1,
      }),
    batch: (lengths) => ({
      answers: lengths.map((length) => ({
        answer: answer(length, length),
        advantage: 1,
        logprobs: tokens(length, -6),
        referenceLogprobs: tokens(length, -6),
      })),
      report: {},
    }),
  },
  ppo: {
    sequencesEach: 1,
    prepare: ({ model }) => model.addValueHead({ seed: 1 }),
    stage: (answers, sequenceLength) =>
      ppoStage({ answers, sequenceLength, cliprange: 0.2, cliprangeValue: 0.2, vfCoef: 1, temperature: 1 }),
    batch: (lengths) => ({
      answers: lengths.map((length) => ({
        answer: answer(length, length),
        logprobs: tokens(length, -6),
        values: tokens(length, 0),
        advantages: Float64Array.from(tokens(length, 1)),
        returns: Float64Array.from(tokens(length, 1)),
      })),
      report: {},
    }),
  },
  classify: {
    sequencesEach: 1,
    prepare: ({ model }) => model.addClassifier({ task: "sequence", labels: ["a", "b"] }, { seed: 1 }),
    stage: (sequences, sequenceLength) =>
      classification({
        sequences,
        sequenceLength,
        padTokenId: 0,
        outputs: 1,
        labelSmoothingFactor: 0,
        classifier: {
          task: "sequence",
          labels: ["a", "b"],
          problemType: "single_label_classification",
          pooling: "last",
        },
      }),
    batch: (lengths) =>
      lengths.map((length) => ({ ids: Uint32Array.from(idsFrom(1, length)), targets: Int32Array.of(1), at: [] })),
  },
};

describe.each(["longrope", "dynamic"] as const)("%s", (ropeType) => {
  test.each(Object.keys(stages))(
    "%s: the loss of a short and a long item is the sum of the losses of each item alone",
    async (name) => {
      await using model = modelOf(ropeType);
      const { sequencesEach, prepare, stage, batch } = stages[name]!;
      await prepare?.(model);
      const both = batch([SHORT, LONG]);
      const together = await measured(model, stage(2, ROWS), both, [2 * sequencesEach, ROWS]);
      const totals = totalsOf(stage(2, ROWS), [both]);
      let sum = 0;
      for (const length of [SHORT, LONG]) {
        const alone = await measured(model, stage(1, length), batch([length]), [sequencesEach, length], totals);
        // Only the shorter answer of a pair is padded. It is on the same side of TRAINED as the longer one.
        sum += alone.evaluated;
      }
      expect(together.evaluated).toBeCloseTo(sum, NEAR);
      expect(together.loss).toBeCloseTo(sum, NEAR);
    },
  );

  test("kto has the log-probabilities of score in both forward passes", async () => {
    await using model = modelOf(ropeType);
    const rows = [
      { answer: answer(1, SHORT), other: answer(3, LONG), desirable: true },
      { answer: answer(2, LONG), other: answer(4, SHORT), desirable: false },
    ];
    const scored = async ({ ids, promptLength }: AnsweredPrompt) =>
      (await model.score(Array.from(ids), { from: promptLength })).reduce((sum, score) => sum + score, 0);
    const [ratios, others] = [
      [2, -1],
      [3, -1],
    ] as const;
    const batch = [];
    // The references are chosen so that the policy's log-probabilities minus theirs are these ratios.
    for (const [i, row] of rows.entries())
      batch.push({
        ...row,
        reference: (await scored(row.answer)) - ratios[i]!,
        mismatched: { answer: row.other, reference: (await scored(row.other)) - others[i]! },
      });
    const options = { lossType: "kto", desirableWeight: 1, undesirableWeight: 1, answers: 2 } as const;
    const beta = 0.5;
    const stage = ktoStage({ ...options, beta, sequenceLength: ROWS });
    const { evaluated, metrics, loss } = await measured(model, stage, batch, [2, ROWS]);
    const kl = (others[0] + others[1]) / 2;
    expect(metrics.kl).toBeCloseTo(kl, 3);
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    const expected = (1 - sigmoid(beta * (ratios[0] - kl)) + 1 - sigmoid(-beta * (ratios[1] - kl))) / 2;
    expect(evaluated).toBeCloseTo(expected, 3);
    expect(loss).toBeCloseTo(expected, 3);
  });

  test("embed: padding changes neither the loss nor the gradient", async () => {
    await using model = modelOf(ropeType);
    const text = (seed: number) => Uint32Array.from(idsFrom(seed, SHORT));
    const batch = [1, 2].map((seed) => ({ anchor: text(seed), positive: text(seed + 2), negatives: [] }));
    const shape = { width: 32, pairs: 2, negatives: 0, pooling: "mean", temperature: 0.1, symmetric: false } as const;
    const of = (sequenceLength: number) =>
      measured(model, contrastive({ ...shape, sequenceLength, padTokenId: 0 }), batch, [4, sequenceLength]);
    const [tight, padded] = [await of(SHORT), await of(ROWS)];
    expect(padded.loss).toBeCloseTo(tight.loss, NEAR);
    const largest = tight.gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(maxDifference(padded.gradient, tight.gradient)).toBeLessThan(1e-4 * largest);
  });

  test("embed: a batch of short and long texts has the loss of the vectors of each text alone", async () => {
    await using model = modelOf(ropeType);
    const text = (seed: number, length: number) => Uint32Array.from(idsFrom(seed, length));
    const batch = [
      { anchor: text(1, SHORT), positive: text(2, LONG), negatives: [] },
      { anchor: text(3, LONG), positive: text(4, SHORT), negatives: [] },
    ];
    const shape = { width: 32, pairs: 2, negatives: 0, pooling: "mean", temperature: 0.1, symmetric: false } as const;
    const stage = contrastive({ ...shape, sequenceLength: ROWS, padTokenId: 0 });
    const { evaluated, loss } = await measured(model, stage, batch, [4, ROWS]);
    const vectorOf = (ids: Uint32Array) => model.embed(ids, { pooling: "mean" });
    const positives = await Promise.all(batch.map(({ positive }) => vectorOf(positive)));
    let expected = 0;
    for (const [i, { anchor }] of batch.entries()) {
      const vector = await vectorOf(anchor);
      const logits = positives.map((positive) => dotProduct(vector, positive) / shape.temperature);
      expected += (Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[i]!) / batch.length;
    }
    expect(evaluated).toBeCloseTo(expected, NEAR);
    expect(loss).toBeCloseTo(expected, NEAR);
  });

  test("the reference's log-probabilities are those of score", async () => {
    await using model = modelOf(ropeType);
    const scorer = new AnswerScorer(model.model, { sequences: 2, sequenceLength: ROWS, dtype: f32 });
    const answers = [answer(1, SHORT), answer(2, LONG), answer(3, SHORT)];
    const found = await scorer.tokens(answers);
    for (const [i, { ids, promptLength }] of answers.entries()) {
      const scores = await model.score(Array.from(ids), { from: promptLength });
      expect(maxDifference(found[i]!, scores.subarray(promptLength))).toBeLessThan(1e-3);
    }
    scorer.dispose();
  });

  test.each([false, true])("sft with packing %s has the likelihood of score for every row", async (packing) => {
    await using model = modelOf(ropeType);
    const rows = [SHORT, LONG, SHORT, SHORT].map((length, i) => Uint32Array.from(idsFrom(i, length)));
    const examples = rows.map((ids) => ({ ids, mask: new Uint8Array(ids.length).fill(1, 1) }));
    const source = new SftSource(examples, { batchSize: 4, sequenceLength: ROWS, packing, seed: 1, heldOut: examples });
    const batches = [];
    for await (const batch of source.evaluation!()) batches.push(batch);
    expect(batches).toHaveLength(1);
    // With packing, a sequence holds several short documents. Together they are longer than TRAINED.
    const { evaluated } = await measured(model, supervised, batches[0]!, [4, ROWS]);
    let sum = 0;
    for (const ids of rows) sum += await likelihood(model, ids);
    expect(evaluated * batches[0]!.counted).toBeCloseTo(sum, 2);
  });

  test("packed text has the likelihood of score for every document", async () => {
    await using model = modelOf(ropeType);
    const documents = new Int32Array(2 * ROWS).fill(-1);
    const batch = {
      tokens: new Int32Array(2 * ROWS),
      targets: new Int32Array(2 * ROWS).fill(-100),
      positions: new Int32Array(2 * ROWS),
      documents,
      tokenCount: 0,
      byteCount: 0,
    };
    let sum = 0;
    // The last document of a row and the first of the next row have the same number.
    for (const [seed, first, length, document] of [
      [1, 0, SHORT, 0],
      [2, SHORT, ROWS - SHORT, 1],
      [3, ROWS, SHORT, 1],
      [4, ROWS + SHORT, 16, 2],
    ] as const) {
      const ids = idsFrom(seed, length);
      batch.tokens.set(ids, first);
      batch.targets.set(ids.subarray(1), first);
      batch.positions.set(
        Int32Array.from(ids, (_, i) => i),
        first,
      );
      documents.fill(document, first, first + length);
      batch.tokenCount += length - 1;
      sum += await likelihood(model, ids);
    }
    const { evaluated } = await measured(model, packedLanguageModeling, batch, [2, ROWS]);
    expect(evaluated * batch.tokenCount).toBeCloseTo(sum, 2);
  });

  test("the partial last row of joined text has the likelihood of score", async () => {
    await using model = modelOf(ropeType);
    const [full, rest] = [idsFrom(1, ROWS + 1), idsFrom(2, SHORT)];
    const batch = {
      tokens: Int32Array.from({ length: 2 * ROWS }, (_, i) => (i < ROWS ? full[i]! : (rest[i - ROWS] ?? 0))),
      targets: Int32Array.from({ length: 2 * ROWS }, (_, i) =>
        i < ROWS ? full[i + 1]! : (rest[i - ROWS + 1] ?? -100),
      ),
      tokenCount: ROWS + SHORT - 1,
      byteCount: 0,
    };
    const { evaluated } = await measured(model, languageModeling, batch, [2, ROWS]);
    // The full row has no padding, so it is measured alone.
    const alone = { ...batch, tokens: full.subarray(0, -1), targets: full.subarray(1), tokenCount: ROWS };
    const whole = await measured(model, languageModeling, alone, [1, ROWS]);
    const sum = whole.evaluated * ROWS + (await likelihood(model, rest));
    expect(evaluated * batch.tokenCount).toBeCloseTo(sum, 2);
  });
});
