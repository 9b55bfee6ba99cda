// heddle/graph: the API for writing model families, losses and training stages. It exports the graph, devices, kernel benchmarks and
// autotuning, building blocks of models and training stages, and the launch and NCCL world of distributed training.
import "./core/node-version.ts";

export {
  type AutotuneOptions,
  type AutotuneReport,
  autotune,
  type BenchOptions,
  type BenchReport,
  type BenchResult,
  type BenchSuiteName,
  type BenchUnit,
  bench,
  benchSuites,
  markdownSummary,
  type TunedProduct,
} from "./bench/index.ts";
export type { CeilingName } from "./bench/types.ts";
export type { CorpusEncodeOptions, CorpusTokenizer } from "./data/encode.ts";
export { type LocatedRow, readRows } from "./data/rows.ts";
export type {
  DynamicRopeScaling,
  EmbeddingLayer,
  FactorsRopeScaling,
  LinearRopeScaling,
  Llama3RopeScaling,
  LongRopeScaling,
  RopeScaling,
  YarnRopeScaling,
} from "./formats/config/config-types.ts";
export type {
  BidirectionalFormat,
  ConfigField,
  ConfigValues,
  CustomValue,
  CustomValues,
  ExpertsFormat,
  FamilyFacts,
  GgufFormat,
  GgufSizes,
  LlamaCppLimits,
} from "./formats/config/family-format.ts";
export type { WindowRule } from "./formats/config/windows.ts";
export * from "./graph/index.ts";
export type { Adapter, LowRank } from "./models/adapters/adapters.ts";
export type { LoraConfig } from "./models/adapters/lora.ts";
export type { DecoderWeightFlags, ExpertWeights } from "./models/decoder-weights.ts";
export {
  type DecoderFamily,
  type DecoderShapeOptions,
  decoderFamily,
  type FeedForward,
} from "./models/define-decoder.ts";
export type {
  CustomConfig,
  EncoderHeads,
  Family,
  FamilyDefinition,
  Head,
  WeightSpec,
  WidenedValue,
} from "./models/family.ts";
export type { Forward, Rows } from "./models/forward.ts";
export type { Model } from "./models/model.ts";
export { registerFamily } from "./models/registry.ts";
export { rotateHeads } from "./models/rotate-heads.ts";
export type { ForwardContext, Heads } from "./nn/context.ts";
export type { DecoderShape } from "./nn/decoder.ts";
export type { DecoderNames } from "./nn/decoder-names.ts";
export type { ExpertsShape } from "./nn/experts.ts";
export type { Rotary } from "./nn/rotary.ts";
export { type ExamplePosition, ExampleSource, type ExampleSourceOptions } from "./train/examples/example-source.ts";
export type { OpenRow, RowLabel, RowMessage, RowText } from "./train/examples/row-types.ts";
export type { StageSetup, Trainable } from "./train/loop/run-stage.ts";
export type { ForwardOptions, LossContext, LossOutputs, Metrics, MicroBatch, Stage } from "./train/loop/stage.ts";
export type { StageCard } from "./train/loop/stage-card.ts";
export { type TrainOptions, train } from "./train/loop/train.ts";
export type { BatchSource } from "./train/loop/trainer.ts";
export type { SharedOptions } from "./train/options/shared-options.ts";
export type {
  AdapterOptions,
  CallOptions,
  EpochOptions,
  HeldOutOptions,
  NextTokenLossOptions,
  StepOptions,
} from "./train/options/stage-options.ts";
export type { ReplayOptions } from "./train/options/text-data.ts";
export type { PairOptions, PreferenceOptions, PreferenceTrainable } from "./train/preference/options.ts";
export type { PolicyOptions } from "./train/rollout/options.ts";
export type { TrainableClassifier } from "./train/stages/classify.ts";
export type { DpoLoss, DpoLossInput } from "./train/stages/dpo.ts";
export type { TrainableEmbedder } from "./train/stages/embed.ts";
export type { SftTrainable } from "./train/stages/sft.ts";
export { describeLaunch, type Launch, type Launcher } from "./train/world/launch.ts";
export { type NcclWorldOptions, openNcclWorld } from "./train/world/nccl-world.ts";
