// Compares a step of every stage, and a LoRA step, with a fine-tuning step on the same tokens, interleaved. Reports planned memory relative
// to batch × vocabulary. Also reports processor time, which is more reliable than the clock on a shared machine.
import { median } from "../../lib/bench/measure.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import type { Device, FloatDType } from "../../lib/graph/index.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { Model } from "../../lib/models/model.ts";
import { interleave, pairedRatio, report, seconds, type Timing } from "../measure.ts";
import { type StageName, type StageStep, stageNames, stageStep } from "../stage-steps.ts";

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

interface Contender extends StageStep {
  name: string;
  model: Model;
}

export async function benchPreference(device: Device, { rounds = 7, only = "" } = {}): Promise<void> {
  const open = async (name: StageName, width: number, dtype: FloatDType, r?: number): Promise<Contender> => {
    const model = await Model.initialize(configOf(width), device, 1);
    const names = r === undefined ? undefined : adapterTensors(await model.addAdapter("lora", { r }));
    const size = { sequences, sequenceLength, promptLength, dtype };
    const step = await stageStep(name, model, size, names && { names });
    return { ...step, model, name: names ? "lora" : name };
  };
  for (const dtype of ["f32", "bf16"] as FloatDType[]) {
    const kinds = ["lora", ...stageNames.filter((name) => name !== "sft")].filter((name) => name.includes(only));
    const all = [await open("sft", 288, dtype)];
    for (const name of kinds)
      all.push(await (name === "lora" ? open("sft", 288, dtype, 8) : open(name as StageName, 288, dtype)));
    await compare(all, `${dtype}`, rounds);
    // The relative cost of rank-8 products falls with the layer's width.
    if (kinds.includes("lora"))
      await compare(
        [await open("sft", 576, dtype), await open("sft", 576, dtype, 8)],
        `${dtype}, twice as wide`,
        rounds,
      );
  }
}

/** Compares all contenders with the first one, and disposes of them. */
async function compare(all: readonly Contender[], label: string, rounds: number): Promise<void> {
  const processor = all.map(() => [] as number[]);
  const timings = await interleave(
    all.map(({ name, run }, i) => ({
      name,
      run: async () => {
        const before = process.cpuUsage();
        const clock = await seconds(run);
        const { user, system } = process.cpuUsage(before);
        processor[i]!.push((user + system) / 1e6);
        return clock;
      },
    })),
    rounds,
  );
  const [base, ...others] = timings as [Timing, ...Timing[]];
  for (const [i, timing] of others.entries()) {
    const { step } = all[i + 1]!;
    // The first round warms up.
    const shares = processor[i + 1]!.map((s, round) => s / processor[0]![round]!).slice(1);
    report({
      name: `${timing.name} step over sft step ${label}`,
      ratio: pairedRatio(timing, base),
      bestRatio: Number((timing.best / base.best).toFixed(3)),
      processorRatio: Number(median(shares).toFixed(3)),
      plannedMB: Math.round(step.arenaBytes / 1e6),
      sftPlannedMB: Math.round(all[0]!.step.arenaBytes / 1e6),
      batchTimesVocabularyMB: Math.round((4 * rows * vocabSize) / 1e6),
    });
  }
  for (const { step, model } of all) {
    step.dispose();
    model.dispose();
  }
}
