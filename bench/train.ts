// Whole training steps (forward, backward, clipping, AdamW) at the shapes of the project's tables, in both dtypes, against
// plain PyTorch models in the same run (bench/peers/torch_train.py), whose better dtype the ratio is taken with.
// `npm run bench -- train [--only TEXT] [--rounds N]`
import type { Batch } from "../lib/data/corpus.ts";
import { parseModelConfig } from "../lib/formats/config.ts";
import type { Device, FloatDType } from "../lib/graph/index.ts";
import { Model } from "../lib/models/model.ts";
import { languageModelling } from "../lib/train/language-modelling.ts";
import { TrainStep } from "../lib/train/step.ts";
import { Ceilings } from "./ceilings.ts";
import { interleave, peakResident, report, seconds, settle, type Timing } from "./measure.ts";
import { openTorch } from "./peers/torch.ts";

const SHAPES = [
  {
    name: "Llama 3M",
    sequences: 16,
    sequenceLength: 256,
    config: {
      modelType: "llama",
      vocabSize: 2048,
      hiddenSize: 192,
      intermediateSize: 512,
      numHiddenLayers: 6,
      numAttentionHeads: 6,
      numKeyValueHeads: 6,
    },
  },
  {
    name: "Llama 10M",
    sequences: 16,
    sequenceLength: 256,
    config: {
      modelType: "llama",
      vocabSize: 4096,
      hiddenSize: 320,
      intermediateSize: 864,
      numHiddenLayers: 8,
      numAttentionHeads: 5,
      numKeyValueHeads: 5,
    },
  },
  {
    name: "GPT-2 14M",
    sequences: 8,
    sequenceLength: 256,
    config: { modelType: "gpt2", vocabSize: 8192, hiddenSize: 384, numHiddenLayers: 6, numAttentionHeads: 6 },
  },
  {
    name: "GPT-2 124M",
    sequences: 4,
    sequenceLength: 64,
    config: { modelType: "gpt2", vocabSize: 50257, hiddenSize: 768, numHiddenLayers: 12, numAttentionHeads: 12 },
  },
  {
    name: "Llama 135M",
    sequences: 2,
    sequenceLength: 256,
    config: {
      modelType: "llama",
      vocabSize: 49152,
      hiddenSize: 576,
      intermediateSize: 1536,
      numHiddenLayers: 30,
      numAttentionHeads: 9,
      numKeyValueHeads: 3,
    },
  },
];
type Shape = (typeof SHAPES)[number];

interface Figures {
  tokensPerSecond: number;
  bestTokensPerSecond: number;
  peakMB: number | undefined;
}

export async function benchTrain(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  const ceilings = await Ceilings.open(device.threads);
  for (const shape of SHAPES) {
    if (!shape.name.includes(only)) continue;
    const ceiling = await ceilings?.measure();
    const figures: Record<"f32" | "bf16", { heddle: Figures; torch?: Figures }> = {
      f32: await compare(device, shape, "f32", rounds, peers),
      bf16: await compare(device, shape, "bf16", rounds, peers),
    };
    const best = (who: "heddle" | "torch", of: "tokensPerSecond" | "bestTokensPerSecond") =>
      Math.max(...Object.values(figures).map((f) => f[who]?.[of] ?? 0));
    const ratio = (of: "tokensPerSecond" | "bestTokensPerSecond") => {
      const theirs = best("torch", of);
      return theirs ? Number((best("heddle", of) / theirs).toFixed(2)) : undefined;
    };
    report({
      name: `train step ${shape.name} B${shape.sequences} T${shape.sequenceLength}`,
      ceilingGflops: ceiling,
      ...figures,
      ratio: ratio("tokensPerSecond"),
      bestRatio: ratio("bestTokensPerSecond"),
    });
  }
  ceilings?.close();
}

async function compare(device: Device, shape: Shape, dtype: FloatDType, rounds: number, peers: boolean) {
  const { sequences, sequenceLength, config } = shape;
  const rows = sequences * sequenceLength;
  const parsed = parseModelConfig({ ...config, maxPositionEmbeddings: sequenceLength, tieWordEmbeddings: true });
  const ids = Int32Array.from({ length: rows + 1 }, (_, i) => (i * 7919) % parsed.vocabSize);
  const batch: Batch = { tokens: ids.slice(0, -1), targets: ids.slice(1), tokenCount: rows, byteCount: 0 };
  const torch = peers ? await openTorch("torch_train", device.threads) : undefined;
  const timings: Timing[] = [];
  let theirPeak: number | undefined;
  const ourPeak = await peakResident(async () => {
    const model = await Model.initialise(parsed, device, 1);
    const step = await TrainStep.create(model, languageModelling, { sequences, sequenceLength, dtype });
    const ours = async () => {
      await settle();
      return seconds(() => step.run([batch], 1e-3));
    };
    const theirs = async () => {
      await settle();
      const timing = await torch!.time({ sequences, sequenceLength, config, dtype }, 1);
      theirPeak = timing.peakBytes;
      return timing.seconds;
    };
    const contenders = [{ name: "heddle", run: ours }, ...(torch ? [{ name: "torch", run: theirs }] : [])];
    timings.push(...(await interleave(contenders, rounds)));
    step.dispose();
    model.dispose();
  });
  torch?.close();
  const figures = (t: Timing, peak: number | undefined): Figures => ({
    tokensPerSecond: Math.round(rows / t.median),
    bestTokensPerSecond: Math.round(rows / t.best),
    peakMB: peak && Math.round(peak / 1e6),
  });
  const [a, b] = timings;
  return { heddle: figures(a!, ourPeak), ...(b && { torch: figures(b, theirPeak) }) };
}
