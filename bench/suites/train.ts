// Benchmarks whole training steps (forward, backward, clipping, AdamW) at the shapes of the project's tables, in both dtypes. Compares with
// plain PyTorch models in the same run (torch_train.py), in their faster dtype. Also compares GPT-2 with llm.c, which supports
// only f32, if HEDDLE_BENCH_LLMC names its checkout. `npm run bench -- train [--only TEXT] [--rounds N]`
import type { Batch } from "../../lib/data/corpus.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import type { Device, FloatDType } from "../../lib/graph/index.ts";
import { Model } from "../../lib/models/model.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { languageModeling } from "../../lib/train/losses/language-modeling.ts";
import { Ceilings } from "../ceilings.ts";
import { interleave, peakResident, report, seconds, settle, type Timing } from "../measure.ts";
import { openLlmC } from "../peers/llmc.ts";
import { openTorch, type TorchTiming } from "../peers/torch/torch.ts";

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

type Contender = "heddle" | "torch" | "llm.c";
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
    const figures: Record<"f32" | "bf16", Partial<Record<Contender, Figures>>> = {
      f32: await compare(device, shape, "f32", rounds, peers),
      bf16: await compare(device, shape, "bf16", rounds, peers),
    };
    const best = (who: Contender, of: "tokensPerSecond" | "bestTokensPerSecond") =>
      Math.max(...Object.values(figures).map((f) => f[who]?.[of] ?? 0));
    const ratio = (of: "tokensPerSecond" | "bestTokensPerSecond", peer: Contender = "torch") => {
      const theirs = best(peer, of);
      return theirs ? Number((best("heddle", of) / theirs).toFixed(2)) : undefined;
    };
    report({
      name: `train step ${shape.name} B${shape.sequences} T${shape.sequenceLength}`,
      ceilingGflops: ceiling,
      ...figures,
      ratio: ratio("tokensPerSecond"),
      bestRatio: ratio("bestTokensPerSecond"),
      ratioToLlmC: ratio("tokensPerSecond", "llm.c"),
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
  // On a processor without bf16 products, torch's autocast is far slower than its f32.
  const itsDtype = dtype === "f32" || device.multipliesBf16;
  const torch = peers && itsDtype ? await openTorch("torch_train", device.threads) : undefined;
  const itsShape = peers && config.modelType === "gpt2" && dtype === "f32";
  const llmC = itsShape ? await openLlmC(device.threads, config, sequences, sequenceLength) : undefined;
  const peaks: Partial<Record<Contender, number>> = {};
  const timings: Timing[] = [];
  const peak = await peakResident(async () => {
    const model = await Model.initialize(parsed, device, 1);
    const step = await TrainStep.create(model, languageModeling, { sequences, sequenceLength, dtype });
    const ours = async () => {
      await settle();
      return seconds(() => step.run([batch], 1e-3));
    };
    const peer = (name: Contender, time: () => Promise<TorchTiming>) => ({
      name,
      run: async () => {
        await settle();
        const timing = await time();
        if (timing.peakBytes) peaks[name] = timing.peakBytes;
        return timing.seconds;
      },
    });
    const contenders = [
      { name: "heddle", run: ours },
      ...(torch ? [peer("torch", () => torch.time({ sequences, sequenceLength, config, dtype }, 1))] : []),
      ...(llmC ? [peer("llm.c", () => llmC.step())] : []),
    ];
    timings.push(...(await interleave(contenders, rounds)));
    step.dispose();
    model.dispose();
  });
  torch?.close();
  llmC?.close();
  if (peak) peaks.heddle = peak;
  const figures: Partial<Record<Contender, Figures>> = {};
  for (const t of timings) {
    const name = t.name as Contender;
    figures[name] = {
      tokensPerSecond: Math.round(rows / t.median),
      bestTokensPerSecond: Math.round(rows / t.best),
      peakMB: peaks[name] && Math.round(peaks[name] / 1e6),
    };
  }
  return figures;
}
