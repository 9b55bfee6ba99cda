// A DPO step, a GRPO step and a LoRA step beside a fine-tuning step on the same tokens, interleaved; planned memory beside batch × vocabulary.
import { parseModelConfig } from "../lib/formats/config.ts";
import type { Device, FloatDType } from "../lib/graph/index.ts";
import { adapterTensors } from "../lib/models/adapters.ts";
import { Model } from "../lib/models/model.ts";
import { dpoStage } from "../lib/train/dpo.ts";
import { grpoStage } from "../lib/train/grpo.ts";
import { TrainStep } from "../lib/train/step.ts";
import { supervised } from "../lib/train/supervised.ts";
import { interleave, pairedRatio, report, seconds } from "./measure.ts";

const [sequences, sequenceLength, promptLength, vocabSize] = [8, 128, 16, 8192];
const rows = sequences * sequenceLength;
const configOf = (hiddenSize: number) =>
  parseModelConfig({
    modelType: "llama",
    vocabSize,
    hiddenSize,
    intermediateSize: (hiddenSize * 8) / 3,
    numHiddenLayers: 6,
    numAttentionHeads: hiddenSize / 48,
    numKeyValueHeads: hiddenSize / 48,
    maxPositionEmbeddings: 256,
    tieWordEmbeddings: true,
  });
const config = configOf(288);

export async function benchPreference(device: Device, { rounds = 7 } = {}): Promise<void> {
  const answers = Array.from({ length: sequences }, (_, s) => ({
    ids: Int32Array.from({ length: sequenceLength + 1 }, (_, i) => ((s * 131 + i) * 7919) % vocabSize),
    promptLength,
  }));
  for (const dtype of ["f32", "bf16"] as FloatDType[]) {
    const model = await Model.initialise(config, device, 1);
    const shape = { sequences, sequenceLength, dtype };
    const places = { sequenceLength, pairs: sequences / 2, answers: sequences };
    const sft = await TrainStep.create(model, supervised, shape);
    const objective = { beta: 0.1, lossType: "sigmoid", labelSmoothing: 0, rpoAlpha: 0 } as const;
    const dpo = await TrainStep.create(model, dpoStage({ ...places, ...objective }), shape);
    const grpo = await TrainStep.create(
      model,
      grpoStage({
        ...places,
        lossType: "dapo",
        epsilon: 0.2,
        epsilonHigh: 0.2,
        beta: 0,
        importanceSamplingLevel: "token",
        maxCompletionLength: sequenceLength,
        temperature: 1,
      }),
      shape,
    );
    const adapted = await Model.initialise(config, device, 1);
    const names = adapterTensors(await adapted.addAdapter("lora", { r: 8 }));
    const lora = await TrainStep.create(adapted, supervised, shape, { names });
    // Products of rank 8 cost the less beside those of the layer, the wider it is.
    const wide = configOf(576);
    const wideModel = await Model.initialise(wide, device, 1);
    const wideSft = await TrainStep.create(wideModel, supervised, shape);
    const wideAdapted = await Model.initialise(wide, device, 1);
    const wideNames = adapterTensors(await wideAdapted.addAdapter("lora", { r: 8 }));
    const wideLora = await TrainStep.create(wideAdapted, supervised, shape, { names: wideNames });
    const targets = answers.flatMap(({ ids }) =>
      Array.from(ids.slice(1), (id, i) => (i + 1 < promptLength ? -100 : id)),
    );
    const examples = {
      tokens: Int32Array.from(answers.flatMap(({ ids }) => [...ids.subarray(0, -1)])),
      targets: Int32Array.from(targets),
      positions: Int32Array.from({ length: rows }, (_, i) => i % sequenceLength),
      documents: new Int32Array(rows),
      counted: targets.filter((t) => t >= 0).length,
      tokenCount: rows,
    };
    const pairs = Array.from({ length: sequences / 2 }, (_, i) => ({
      chosen: answers[i]!,
      rejected: answers[i + sequences / 2]!,
      reference: { chosen: -1000, rejected: -1000 },
    }));
    const drawn = answers.map((answer, i) => ({
      answer,
      advantage: i % 2 ? 1 : -1,
      logprobs: new Float32Array(sequenceLength + 1 - promptLength).fill(-9),
    }));
    const [base, ...others] = await interleave(
      [
        { name: "sft", run: () => seconds(() => sft.run([examples], 1e-5)) },
        { name: "dpo", run: () => seconds(() => dpo.run([pairs], 1e-5)) },
        { name: "lora", run: () => seconds(() => lora.run([examples], 1e-4)) },
        { name: "grpo", run: () => seconds(() => grpo.run([{ answers: drawn, report: {} }], 1e-5)) },
      ],
      rounds,
    );
    for (const [i, step] of [dpo, lora, grpo].entries())
      report({
        name: `${others[i]!.name} step over sft step ${dtype}`,
        ratio: pairedRatio(others[i]!, base!),
        bestRatio: Number((others[i]!.best / base!.best).toFixed(3)),
        plannedMB: Math.round(step.arenaBytes / 1e6),
        sftPlannedMB: Math.round(sft.arenaBytes / 1e6),
        batchTimesVocabularyMB: Math.round((4 * rows * vocabSize) / 1e6),
      });
    const [wideBase, wideOther] = await interleave(
      [
        { name: "sft", run: () => seconds(() => wideSft.run([examples], 1e-5)) },
        { name: "lora", run: () => seconds(() => wideLora.run([examples], 1e-4)) },
      ],
      rounds,
    );
    report({
      name: `lora step over sft step ${dtype}, twice as wide`,
      ratio: pairedRatio(wideOther!, wideBase!),
      bestRatio: Number((wideOther!.best / wideBase!.best).toFixed(3)),
      plannedMB: Math.round(wideLora.arenaBytes / 1e6),
      sftPlannedMB: Math.round(wideSft.arenaBytes / 1e6),
    });
    for (const step of [sft, dpo, lora, grpo, wideSft, wideLora]) step.dispose();
    for (const m of [model, adapted, wideModel, wideAdapted]) m.dispose();
  }
}
