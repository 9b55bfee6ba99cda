// Runs one case of memory.ts in a separate process: trains some steps, and reports their cost on stdout.
import { SHAPES } from "../../../lib/bench/models.ts";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { type Device, type FloatDType, openDevice } from "../../../lib/graph/index.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { linearLayers } from "../../../lib/models/adapters/linear-layers.ts";
import { Model } from "../../../lib/models/model.ts";
import { type SftBatch, SftSource } from "../../../lib/train/examples/sft-source.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { supervised } from "../../../lib/train/losses/supervised.ts";
import { median, peakResident, seconds } from "../../measure.ts";
import { benchModel, type FileType } from "../../models.ts";
import { stageStep } from "../../stage-steps.ts";

export interface MemoryCase {
  shape: "15M" | "135M";
  threads: number;
  /** f32: master weights in memory. Otherwise: a mapped file of this type, frozen under an adapter. */
  weights: "f32" | FileType;
  dtype: FloatDType;
  lora?: boolean;
  gradientCheckpointing?: boolean;
  muon?: boolean;
  /** A stage other than fine-tuning, over sequences without padding. */
  stage?: "ppo" | "reward";
  /** How rows of different lengths form sequences. Default: rows fill their sequences. */
  rows?: "padding" | "packing";
}

export interface MemoryFigures {
  /** Peak of the resident set. Includes the runtime, the mapped file's touched pages and JavaScript's heap. */
  peakBytes: number;
  /** Resident set before the model is created. */
  beforeBytes: number;
  /** Size of the gradient program's arena as planned. */
  plannedBytes: number;
  /** Gradients and moments. */
  stateBytes: number;
  stepSeconds: number;
  /** Tokens per second, not counting padding. */
  tokensPerSecond: number;
}

const SEQUENCES = { "15M": 8, "135M": 4 } as const;
const LENGTH = 256;
const STEPS = 3;

const given = JSON.parse(process.argv[2]!) as MemoryCase;
const sequences = SEQUENCES[given.shape];
const { vocabSize } = SHAPES[given.shape];

async function modelOf(device: Device): Promise<Model> {
  if (given.weights !== "f32")
    return (await LanguageModel.load(await benchModel(given.shape, device, given.weights), { device })).model;
  const config = { modelType: "llama", tieWordEmbeddings: true, maxPositionEmbeddings: 2048, ...SHAPES[given.shape] };
  return Model.initialize(parseModelConfig({ ...config }), device, 1);
}

/** Rows whose lengths are spread evenly from 16 tokens to a whole sequence, or whole sequences. */
async function batches(count: number): Promise<SftBatch[]> {
  const lengths = Array.from({ length: 1024 }, (_, i) => (given.rows ? 16 + ((i * 97) % (LENGTH - 15)) : LENGTH));
  const examples = lengths.map((length, row) => ({
    ids: Uint32Array.from({ length }, (_, i) => ((row * 131 + i) * 7919) % vocabSize),
    mask: new Uint8Array(length).fill(1),
  }));
  const packing = given.rows === "packing";
  const source = new SftSource(examples, { batchSize: sequences, sequenceLength: LENGTH, packing, seed: 1 });
  const out: SftBatch[] = [];
  while (out.length < count) out.push(await source.next());
  return out;
}

const device = openDevice({ threads: given.threads });
const data = await batches(STEPS + 1);
const beforeBytes = process.memoryUsage.rss();
const times: number[] = [];
let plannedBytes = 0;
let stateBytes = 0;
const peakBytes = await peakResident(async () => {
  const model = await modelOf(device);
  const names = given.lora ? adapterTensors(await model.addAdapter("lora", { r: 8, alpha: 16 }, 1)) : undefined;
  const { dtype, gradientCheckpointing = false } = given;
  const matrices = [...linearLayers(model).keys()].map((name) => `${name}.weight`);
  const muon = given.muon ? { names: new Set(matrices), rateRatio: 20, momentum: 0.95, weightDecay: 0 } : undefined;
  const shape = { sequences, sequenceLength: LENGTH, dtype, gradientCheckpointing };
  const options = { ...(names && { names }), muon };
  const other = given.stage && (await stageStep(given.stage, model, { ...shape, promptLength: 16 }, options));
  const step = other?.step ?? (await TrainStep.create(model, supervised, shape, options));
  // The first step touches all memory, and does not count.
  for (const batch of data) times.push(await seconds(() => (other ? other.run() : step.run([batch], 1e-4))));
  plannedBytes = step.arenaBytes;
  for (const tensor of [...step.optimizer.gradients.values(), ...step.optimizer.moments.values()])
    stateBytes += tensor.bytes;
});
if (peakBytes === undefined)
  throw new Error("memory: /proc/self/clear_refs cannot be written: peak memory is measured on Linux only");
const stepSeconds = median(times.slice(1));
const tokens = data.slice(1).reduce((sum, { tokenCount }) => sum + tokenCount, 0) / STEPS;
const figures: MemoryFigures = {
  peakBytes,
  beforeBytes,
  plannedBytes,
  stateBytes,
  stepSeconds,
  tokensPerSecond: tokens / stepSeconds,
};
process.stdout.write(JSON.stringify(figures));
