// heddle: the API for applications. heddle/graph has what authors of model families, losses and training stages need.
import "./core/node-version.ts";

export type { ConvertResult } from "./convert/convert.ts";
export { HeddleError, type HeddleErrorCode } from "./core/errors.ts";
export type { Run } from "./core/run.ts";
export type { RowSource } from "./data/rows.ts";
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
  type ChoiceAnswer,
  type ChoiceOptions,
  type ChoiceResult,
  type ComparedModel,
  type CompareOptions,
  type CompareTrainedOptions,
  type ComparisonRow,
  compareClassifiers,
  compareTrainedClassifiers,
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
  EmbeddingConfig,
  ModelConfig,
  ModelConfigInput,
  PoolingMode,
} from "./formats/config/config-types.ts";
export type { GenerationConfig } from "./formats/config/generation-config.ts";
export type {
  ModelCard,
  ModelCardData,
  ModelCardEvaluation,
  ModelCardInput,
  ModelCardStage,
} from "./formats/model-card.ts";
export type { QuantizedTarget } from "./formats/quantization-choice.ts";
export type { WriteProgress } from "./formats/tensor-data.ts";
export { type PulledModel, type PullOptions, type PullProgress, pullModel } from "./hub/pull.ts";
export type { ModelKind } from "./hub/repository-files.ts";
export type { AssistantModel } from "./inference/generation-options.ts";
export type { EmbedOptions } from "./language-model/embed/embed.ts";
export {
  type AnswerFormat,
  Batcher,
  type BatcherCounts,
  type BatcherOptions,
  type CallFormatName,
  type CallPart,
  Chat,
  type ChatCompletion,
  type ChatOptions,
  type ChatPiece,
  type ChatReply,
  type ChatReplyIn,
  type ChatState,
  type ChatTemplate,
  type Classification,
  type ClassifierInput,
  type Completion,
  type CompletionIn,
  type ConvertOptions,
  type CreateModelAsyncOptions,
  type CreateModelOptions,
  convertModel,
  createModel,
  createModelAsync,
  type FinishReason,
  type GenerateOptions,
  type JsonFormat,
  type JsonSchema,
  LanguageModel,
  type LoadOptions,
  type LogitContext,
  type LogitProcessor,
  type LogitsOptions,
  type NamedSchema,
  type OptionsIn,
  type Parsed,
  type Piece,
  type Prompt,
  type RankedDocument,
  type ReadTextOptions,
  type ReasoningEffort,
  type Reply,
  type RerankOptions,
  type RespondOptions,
  type ResponseFormat,
  type ScoreOptions,
  type SendOptions,
  Session,
  type SessionOptions,
  type StandardSchema,
  type StopCondition,
  type StopContext,
  type TextMessage,
  type TextPair,
  type Timings,
  type TokenClassification,
  type ToolCall,
  type ToolCallsFormat,
  type ToolChoice,
  type TopCandidate,
  type Usage,
  type Validated,
} from "./language-model/index.ts";
export { type LifecycleOptions, lifecycle } from "./lifecycle/lifecycle.ts";
export type { LifecycleEvent, LifecycleResult, StageMetrics, StageName, StageResult } from "./lifecycle/types.ts";
export { type Calibration, type CalibrationOptions, calibration, type ReliabilityBin } from "./metrics/calibration.ts";
export { type ClassificationReport, classificationReport } from "./metrics/classification.ts";
export { type RetrievalReport, retrieval, spearman } from "./metrics/retrieval.ts";
export { fitTemperature } from "./metrics/temperature.ts";
export type { LoraOptions } from "./models/adapters/lora.ts";
export type { CacheDType } from "./models/cache-shape.ts";
export type { LoadDType } from "./models/loading/load.ts";
export type { BuiltInModelType, ModelType } from "./models/registry.ts";
export type { CustomSchedule } from "./optim/schedule.ts";
export { openRanking, type Ranking, type RankOptions } from "./rank/index.ts";
export type { RankState } from "./rank/session.ts";
export { type ChatMessage, Tokenizer } from "./tokenizer/index.ts";
export type { TrainingPrompt, TrainingPrompts } from "./train/examples/embed-prompts.ts";
export type {
  ClassifyRow,
  EmbedRow,
  KtoRow,
  PairRow,
  PromptRow,
  ScoredRow,
  SftRow,
} from "./train/examples/row-types.ts";
export type { EvalEvent, StepEvent, TrainEvent, TrainResult } from "./train/loop/trainer.ts";
export type { ParameterGroup } from "./train/options/optimizer-options.ts";
export type { ParameterMatch } from "./train/options/parameter-match.ts";
export type { Evaluate, EvaluateAt } from "./train/options/shared-options.ts";
export type { CorpusPart, TextData, TextSource } from "./train/options/text-data.ts";
export type { Reward, RewardFunction, RewardInput, RewardModel } from "./train/rollout/rewards.ts";
export { type TrainClassifierOptions, trainClassifier } from "./train/stages/classify.ts";
export { type DpoOptions, dpo } from "./train/stages/dpo.ts";
export { type TrainEmbeddingOptions, trainEmbedding } from "./train/stages/embed.ts";
export { type GrpoOptions, grpo } from "./train/stages/grpo.ts";
export { type KtoOptions, kto } from "./train/stages/kto.ts";
export { type OrpoOptions, orpo } from "./train/stages/orpo.ts";
export { type PpoOptions, ppo } from "./train/stages/ppo.ts";
export { type PretrainOptions, pretrain } from "./train/stages/pretrain.ts";
export { type TrainRewardOptions, trainReward } from "./train/stages/reward.ts";
export { type SftOptions, sft } from "./train/stages/sft.ts";
export { type SimpoOptions, simpo } from "./train/stages/simpo.ts";
export { tensorBoard } from "./train/tracking/tensorboard/tensorboard.ts";
export type { SampledCompletion, TrackedRun, Tracker, TrackerStatus } from "./train/tracking/tracker.ts";
export { type OpenWorld, openWorld, type WorldOptions } from "./train/world/open-world.ts";
export type { World } from "./train/world/world.ts";
