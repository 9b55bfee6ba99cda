// heddle: the whole life of a language model. Public exports only.
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
// Types in the signatures above.
export type { CeilingName } from "./bench/types.ts";
export type { ConvertResult } from "./convert/convert.ts";
export { HeddleError, type HeddleErrorCode } from "./core/errors.ts";
export type { Run } from "./core/run.ts";
export type { CorpusEncodeOptions, CorpusTokenizer } from "./data/encode.ts";
export { type LocatedRow, type RowSource, readRows } from "./data/rows.ts";
export type { TokenShardProgress } from "./data/token-shards/write-token-shards.ts";
export {
  type TokenShard,
  type WriteTokenShardsOptions,
  writeTokenShards,
} from "./data/token-shards/write-token-shards.ts";
export type { Match } from "./eval/answers.ts";
export type { Normalization, TaskResult } from "./eval/choice.ts";
export type { Declines } from "./eval/decline.ts";
export {
  type Abstention,
  type AskOptions,
  type BothKindsOptions,
  type ChoiceAnswer,
  type ChoiceOptions,
  type ChoiceResult,
  type ComparedModel,
  type CompareOptions,
  type ComparisonRow,
  compareClassifiers,
  compareKinds,
  DECLINE_PATTERNS,
  type DeclineOption,
  LABEL_TEMPLATE,
  multipleChoice,
  normalizeAnswer,
  type PerplexityOptions,
  type PerplexityResult,
  perplexity,
  type QaAnswer,
  type QaOptions,
  type QaResult,
  QUESTION_TEMPLATE,
  questionAnswering,
} from "./eval/index.ts";
export type {
  ClassifierConfig,
  ClassifierConfigInput,
  DynamicRopeScaling,
  EmbeddingConfig,
  EmbeddingLayer,
  FactorsRopeScaling,
  LinearRopeScaling,
  Llama3RopeScaling,
  LongRopeScaling,
  ModelConfig,
  ModelConfigInput,
  PoolingMode,
  RopeScaling,
  YarnRopeScaling,
} from "./formats/config/config-types.ts";
export type {
  BidirectionalFormat,
  ConfigField,
  ConfigValues,
  ExpertsFormat,
  FamilyFacts,
  GgufFormat,
  GgufSizes,
  LlamaCppLimits,
  OwnValue,
  OwnValues,
} from "./formats/config/family-format.ts";
export type { GenerationConfig } from "./formats/config/generation-config.ts";
export type { WindowRule } from "./formats/config/windows.ts";
export type {
  ModelCard,
  ModelCardData,
  ModelCardEvaluation,
  ModelCardInput,
  ModelCardStage,
} from "./formats/model-card.ts";
export type { QuantisedTarget } from "./formats/quantization-choice.ts";
export type { WriteProgress } from "./formats/tensor-data.ts";
export type { FloatDtype } from "./formats/weight-dtype.ts";
export {
  type BuildInfo,
  type CpuInfo,
  type CudaDeviceInfo,
  Device,
  type DeviceInfo,
  type DeviceOptions,
  deviceInfo,
  type FloatDType,
  formatProfile,
  openDevice,
  type Profile,
  type ProfiledOperand,
  type ProfiledOperation,
  type ProfileFormat,
  profile,
} from "./graph/index.ts";
export type { AssistantModel } from "./inference/generation-options.ts";
export type { EmbedTextOptions } from "./language-model/embed/embed.ts";
export {
  Batcher,
  type BatcherCounts,
  type BatcherOptions,
  Chat,
  type ChatCompletion,
  type ChatOptions,
  type ChatReply,
  type ChatState,
  type ChatTemplate,
  type Classification,
  type Completion,
  type ConvertOptions,
  type CreateModelAsyncOptions,
  type CreateModelOptions,
  convertModel,
  createModel,
  createModelAsync,
  type FinishReason,
  type GenerateOptions,
  type JsonSchema,
  LanguageModel,
  type LoadOptions,
  type LogitContext,
  type LogitProcessor,
  type NamedSchema,
  type Piece,
  type Prompt,
  type ReadTextOptions,
  type Reply,
  type ResponseFormat,
  type SendOptions,
  Session,
  type SessionOptions,
  type StopCondition,
  type StopContext,
  type TextMessage,
  type Timings,
  type TokenClassification,
  type ToolCall,
  type ToolCallsFormat,
  type ToolChoice,
  type TopCandidate,
  type Usage,
} from "./language-model/index.ts";
export { type LifecycleOptions, lifecycle } from "./lifecycle/lifecycle.ts";
export type { LifecycleEvent, LifecycleResult, StageMetrics, StageName, StageResult } from "./lifecycle/types.ts";
export { type Calibration, type CalibrationOptions, calibration, type ReliabilityBin } from "./metrics/calibration.ts";
export { type ClassificationReport, classificationReport } from "./metrics/classification.ts";
export { type RetrievalReport, retrieval, spearman } from "./metrics/retrieval.ts";
export { fitTemperature } from "./metrics/temperature.ts";
export type { Adapter, LowRank } from "./models/adapters/adapters.ts";
export type { LoraConfig, LoraOptions } from "./models/adapters/lora.ts";
export type { CacheDType } from "./models/cache-shape.ts";
export { registerFamily, rotateHeads } from "./models/custom-family.ts";
export type { DecoderWeightFlags, ExpertWeights } from "./models/decoder-weights.ts";
export {
  type DecoderFamily,
  type DecoderShapeOptions,
  decoderFamily,
  type FeedForward,
} from "./models/define-decoder.ts";
export type {
  EncoderHeads,
  Family,
  FamilyDefinition,
  Head,
  OwnConfig,
  WeightSpec,
  WidenedValue,
} from "./models/family.ts";
export type { Forward, Rows } from "./models/forward.ts";
export type { LoadDType } from "./models/loading/load.ts";
export type { Model } from "./models/model.ts";
export type { BuiltInModelType, ModelType } from "./models/registry.ts";
export type { ForwardContext, Heads } from "./nn/context.ts";
export type { DecoderShape } from "./nn/decoder.ts";
export type { DecoderNames } from "./nn/decoder-names.ts";
export type { ExpertsShape } from "./nn/experts.ts";
export type { Rotary } from "./nn/rotary.ts";
export type { OwnSchedule } from "./optim/schedule.ts";
export { openRanking, type Ranking, type RankOptions } from "./rank/index.ts";
export type { RankState } from "./rank/session.ts";
export {
  type ChatMessage,
  type DecodeOptions,
  type EncodeOptions,
  type EncodingWithOffsets,
  type TokenDecoder,
  Tokenizer,
  type TokenizerConfig,
} from "./tokenizer/index.ts";
export type { TrainingPrompt, TrainingPrompts } from "./train/examples/embed-prompts.ts";
export type { ExamplePosition, ExampleSourceOptions } from "./train/examples/example-source.ts";
export { ExampleSource } from "./train/examples/example-source.ts";
export type {
  ClassifyRow,
  EmbedRow,
  KtoRow,
  OpenRow,
  PairRow,
  PromptRow,
  RowLabel,
  RowMessage,
  RowText,
  ScoredRow,
  SftRow,
} from "./train/examples/row-types.ts";
export type { StageSetup, Trainable } from "./train/loop/run-stage.ts";
export type { ForwardOptions, LossContext, LossOutputs, Metrics, MicroBatch, Stage } from "./train/loop/stage.ts";
export type { StageCard } from "./train/loop/stage-card.ts";
export { type TrainOptions, train } from "./train/loop/train.ts";
export type { BatchSource, EvalEvent, StepEvent, TrainEvent, TrainResult } from "./train/loop/trainer.ts";
export type { ParameterGroup } from "./train/options/optimizer-options.ts";
export type { ParameterMatch } from "./train/options/parameter-match.ts";
export type { Evaluate, EvaluateAt, SharedOptions } from "./train/options/shared-options.ts";
export type {
  AdapterOptions,
  CallOptions,
  CrossEntropyOptions,
  EpochOptions,
  HeldOutOptions,
  StepOptions,
} from "./train/options/stage-options.ts";
export type { CorpusPart, ReplayOptions, TextData, TextSource } from "./train/options/text-data.ts";
export type { PairOptions, PreferenceOptions, PreferenceTrainable } from "./train/preference/options.ts";
export type { PolicyOptions } from "./train/rollout/options.ts";
export type { Reward, RewardFunction, RewardInput, RewardModel } from "./train/rollout/rewards.ts";
export type { TrainableClassifier } from "./train/stages/classify.ts";
export { type ClassifyOptions, trainClassifier, trainClassifier as classify } from "./train/stages/classify.ts";
export { type DpoLoss, type DpoLossInput, type DpoOptions, dpo } from "./train/stages/dpo.ts";
export { type EmbedOptions, type TrainableEmbedder, trainEmbedding } from "./train/stages/embed.ts";
export { type GrpoOptions, grpo } from "./train/stages/grpo.ts";
export { type KtoOptions, kto } from "./train/stages/kto.ts";
export { type OrpoOptions, orpo } from "./train/stages/orpo.ts";
export { type PpoOptions, ppo } from "./train/stages/ppo.ts";
export { type PretrainOptions, pretrain } from "./train/stages/pretrain.ts";
export { type RewardOptions, trainReward } from "./train/stages/reward.ts";
export type { SftTrainable } from "./train/stages/sft.ts";
export { type SftOptions, sft } from "./train/stages/sft.ts";
export { type NcclWorldOptions, openNcclWorld } from "./train/world/nccl-world.ts";
export type { World } from "./train/world/world.ts";
