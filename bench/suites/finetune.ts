// Benchmarks steps of common fine-tuning jobs at real shapes: LoRA on a Llama, and an encoder as classifier and embedder. Compares with
// plain PyTorch in the same run (torch_finetune.py), in its faster dtype. `npm run bench -- finetune [--only TEXT]
// [--rounds N]`
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import type { Device, FloatDType } from "../../lib/graph/index.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { Model } from "../../lib/models/model.ts";
import { type Contender, interleave, peakResident, report, seconds, settle } from "../measure.ts";
import { openTorch } from "../peers/torch/torch.ts";
import { type StageName, stageStep } from "../stage-steps.ts";

interface Job {
  name: string;
  job: "lora" | "classify" | "embed";
  stage: StageName;
  sequences: number;
  sequenceLength: number;
  rank?: number;
  config: Record<string, unknown>;
}

const llama135M = {
  modelType: "llama",
  vocabSize: 49152,
  hiddenSize: 576,
  intermediateSize: 1536,
  numHiddenLayers: 30,
  numAttentionHeads: 9,
  numKeyValueHeads: 3,
};
const bert = { modelType: "bert", vocabSize: 30522, maxPositionEmbeddings: 512 };
const bertBase = { ...bert, hiddenSize: 768, intermediateSize: 3072, numHiddenLayers: 12, numAttentionHeads: 12 };
const miniLM = { ...bert, hiddenSize: 384, intermediateSize: 1536, numHiddenLayers: 6, numAttentionHeads: 12 };

const JOBS: readonly Job[] = [
  {
    name: "LoRA r16, Llama 135M",
    job: "lora",
    stage: "sft",
    sequences: 2,
    sequenceLength: 256,
    rank: 16,
    config: llama135M,
  },
  {
    name: "classifier, BERT base 110M",
    job: "classify",
    stage: "classify",
    sequences: 8,
    sequenceLength: 64,
    config: bertBase,
  },
  {
    name: "vectors by pairs, MiniLM 23M",
    job: "embed",
    stage: "embed",
    sequences: 32,
    sequenceLength: 32,
    config: miniLM,
  },
];

export async function benchFinetune(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  for (const job of JOBS) {
    if (!job.name.includes(only)) continue;
    const figures: Record<string, Record<string, Figures>> = {};
    for (const dtype of ["f32", "bf16"] as const) figures[dtype] = await compare(device, job, dtype, rounds, peers);
    const best = (who: string) => Math.max(...Object.values(figures).map((f) => f[who]?.tokensPerSecond ?? 0));
    const theirs = best("torch");
    report({
      name: `fine-tuning step ${job.name} B${job.sequences} T${job.sequenceLength}`,
      ...figures,
      ratio: theirs ? Number((best("heddle") / theirs).toFixed(2)) : undefined,
    });
  }
}

interface Figures {
  tokensPerSecond: number;
  bestTokensPerSecond: number;
  peakMB: number | undefined;
}

async function compare(device: Device, job: Job, dtype: FloatDType, rounds: number, peers: boolean) {
  const { sequences, sequenceLength, config, rank } = job;
  // As in bench/suites/train.ts: if the processor has no bf16 products, torch's autocast is not a fair reference.
  const torch =
    peers && (dtype === "f32" || device.multipliesBf16) ? await openTorch("torch_finetune", device.threads) : undefined;
  const peaks: Record<string, number | undefined> = {};
  const figures: Record<string, Figures> = {};
  peaks.heddle = await peakResident(async () => {
    const model = await Model.initialize(parseModelConfig({ tieWordEmbeddings: true, ...config }), device, 1);
    const names = rank ? adapterTensors(await model.addAdapter("lora", { r: rank })) : undefined;
    const size = { sequences, sequenceLength, promptLength: 1, dtype };
    const { step, run } = await stageStep(job.stage, model, size, names && { names });
    const contenders: Contender[] = [
      {
        name: "heddle",
        run: async () => {
          await settle();
          return seconds(run);
        },
      },
    ];
    if (torch)
      contenders.push({
        name: "torch",
        run: async () => {
          await settle();
          const timing = await torch.time({ job: job.job, sequences, sequenceLength, rank, config, dtype }, 1);
          peaks.torch = timing.peakBytes;
          return timing.seconds;
        },
      });
    for (const { name, median, best } of await interleave(contenders, rounds))
      figures[name] = {
        tokensPerSecond: Math.round((sequences * sequenceLength) / median),
        bestTokensPerSecond: Math.round((sequences * sequenceLength) / best),
        peakMB: undefined,
      };
    step.dispose();
    model.dispose();
  });
  torch?.close();
  for (const [name, f] of Object.entries(figures)) f.peakMB = peaks[name] && Math.round(peaks[name]! / 1e6);
  return figures;
}
