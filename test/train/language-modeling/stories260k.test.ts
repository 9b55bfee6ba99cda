import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openModelFiles } from "../../../lib/formats/model-files.ts";
import { openWeights } from "../../../lib/formats/weights.ts";
import { openDevice } from "../../../lib/graph/index.ts";
import { loadModel } from "../../../lib/models/loading/load.ts";
import { SftSource } from "../../../lib/train/examples/sft-source.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { supervised } from "../../../lib/train/losses/supervised.ts";
import { AnswerScorer } from "../../../lib/train/preference/scorer.ts";
import { dpoStage } from "../../../lib/train/stages/dpo.ts";
import { fixtures } from "../../helpers/fixtures.ts";

if (!fixtures) console.warn("training against stories260K: skipped, ../shared/fixtures is missing");

describe.skipIf(!fixtures)("stories260K, a trained model", () => {
  const folder = join(fixtures ?? "", "stories260K");

  test("supervised fine-tuning has the reference's loss over the answer's tokens, padded and packed", async () => {
    const { sft } = JSON.parse(readFileSync(join(folder, "reference/training.json"), "utf8"));
    const files = await openModelFiles(folder);
    const model = await loadModel(files.config, files.weights, { device: openDevice() });
    const ids = Uint32Array.from(sft.ids as number[]);
    const mask = Uint8Array.from(ids, (_, i) => (i >= sft.first_answer_index ? 1 : 0));
    expect(mask.filter((m) => m).length).toBe(sft.answer_tokens);
    for (const { copies, packing, sequenceLength } of [
      { copies: 1, packing: false, sequenceLength: ids.length },
      { copies: 2, packing: false, sequenceLength: 64 },
      { copies: 2, packing: true, sequenceLength: 64 },
    ]) {
      const batchSize = packing ? 1 : copies;
      const examples = Array.from({ length: copies }, () => ({ ids, mask }));
      const source = new SftSource(examples, { batchSize, sequenceLength, packing, seed: 0 });
      const step = await TrainStep.create(model, supervised, { sequences: batchSize, sequenceLength, dtype: "f32" });
      const batch = await source.next();
      expect(batch.tokenCount).toBe(copies * ids.length);
      const { loss } = await step.evaluate(batch);
      expect(Math.abs(loss / sft.masked_mean_loss - 1)).toBeLessThan(1e-4);
      step.dispose();
    }
    model.dispose();
    files.close();
  });

  test("loss, gradients, ten AdamW steps and a DPO step have a relative error of at most 1e-4", async () => {
    const reference = JSON.parse(readFileSync(join(folder, "reference/training.json"), "utf8"));
    const files = await openModelFiles(folder);
    const model = await loadModel(files.config, files.weights, { device: openDevice() });
    const T = reference.batch_ids[0].length - 1;
    const step = await TrainStep.create(
      model,
      languageModeling,
      { sequences: reference.batch_ids.length, sequenceLength: T, dtype: "f32" },
      { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 },
    );
    const tokens = Int32Array.from(reference.batch_ids.flatMap((row: number[]) => row.slice(0, T)));
    const targets = Int32Array.from(reference.batch_ids.flatMap((row: number[]) => row.slice(1)));
    const batch = { tokens, targets, tokenCount: targets.length, byteCount: 0 };
    const { loss } = await step.accumulate([batch]);
    expect(Math.abs(loss / reference.loss - 1)).toBeLessThan(1e-4);

    const expected = await openWeights(join(folder, "reference/grads.safetensors"));
    for (const name of expected.names()) {
      const stored = expected.tensor(name);
      const want = new Float32Array(stored.file.bytes(stored.offset, stored.bytes));
      const got = await step.optimizer.gradients.get(`gradient.${name}`)!.toFloat32();
      const error = Math.sqrt(want.reduce((sum, w, i) => sum + (w - got[i]!) ** 2, 0));
      expect(error, name).toBeLessThan(1e-4 * Math.sqrt(want.reduce((sum, w) => sum + w * w, 0)));
    }
    expected.close();

    const { lr, loss_before_step, grad_norm_before_clip } = reference.adamw;
    for (const [i, want] of loss_before_step.entries()) {
      const got = await step.run([batch], lr);
      expect(Math.abs(got.loss / want - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);
      expect(Math.abs(got.gradNorm / grad_norm_before_clip[i] - 1), `norm of step ${i + 1}`).toBeLessThan(1e-4);
    }
    step.dispose();

    // DPO with the trained weights as the policy and the file's weights as the reference.
    const { beta, prompt_tokens: promptLength, chosen_ids, rejected_ids, ...dpo } = reference.dpo;
    const answers = [chosen_ids, rejected_ids].map((ids: number[]) => ({ ids: Int32Array.from(ids), promptLength }));
    const shape = { sequences: 2, sequenceLength: 24, dtype: "f32" } as const;
    const original = await loadModel(files.config, files.weights, { device: openDevice() });
    const [policy, before] = await Promise.all(
      [model, original].map((of) => new AnswerScorer(of, shape)).map((scorer) => scorer.sums(answers)),
    );
    for (const i of [0, 1]) {
      expect(Math.abs(policy![i]! / dpo.policy_logp[i] - 1)).toBeLessThan(1e-4);
      expect(Math.abs(before![i]! / dpo.reference_logp[i] - 1)).toBeLessThan(1e-4);
    }
    const stage = dpoStage({ beta, lossType: "sigmoid", labelSmoothing: 0, rpoAlpha: 0, sequenceLength: 24, pairs: 1 });
    const preference = await TrainStep.create(model, stage, shape);
    const pair = {
      chosen: answers[0]!,
      rejected: answers[1]!,
      reference: { chosen: before![0]!, rejected: before![1]! },
    };
    const got = await preference.accumulate([[pair]]);
    expect(Math.abs(got.loss / dpo.loss - 1)).toBeLessThan(1e-4);
    expect(Math.abs(got.metrics.rewardMargin! / dpo.margin - 1)).toBeLessThan(1e-4);
    preference.dispose();
    original.dispose();
    model.dispose();
    files.close();
  });
});
