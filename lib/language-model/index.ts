// Language models: loading, generation, sessions, chats and embeddings.
export type { CallFormatName } from "../answers/call-formats.ts";
export type { ReasoningEffort } from "../answers/effort.ts";
export type { CallPart } from "../answers/parts.ts";
export type {
  AnswerFormat,
  JsonFormat,
  JsonSchema,
  NamedSchema,
  Parsed,
  ResponseFormat,
  StandardIssue,
  StandardSchema,
  ToolCallsFormat,
  Validated,
} from "../constrain/index.ts";
export { rejectUnknownNames } from "../core/unknown-options.ts";
export type {
  GenerateOptions,
  LogitContext,
  LogitProcessor,
  OptionsIn,
  StopCondition,
  StopContext,
} from "../inference/generation-options.ts";
export type { FinishReason, Piece, TopCandidate } from "../inference/sequence.ts";
export { Batcher, type BatcherCounts, type BatcherOptions } from "./batcher.ts";
export { Chat, type ChatOptions, type ChatState } from "./chat/chat.ts";
export type { ChatTemplate, TextMessage } from "./chat/conversation.ts";
export type {
  ChatCompletion,
  ChatPiece,
  ChatReply,
  ChatReplyIn,
  RespondOptions,
  SendOptions,
} from "./chat/respond.ts";
export type { ToolCall } from "./chat/tool-calls.ts";
export type { ToolChoice } from "./chat/tool-choice.ts";
export type { Completion, CompletionIn, Timings, Usage } from "./completion.ts";
export { type ConvertOptions, convertModel } from "./convert.ts";
export { type CreateModelAsyncOptions, type CreateModelOptions, createModel, createModelAsync } from "./create.ts";
export type { Classification, TokenClassification } from "./embed/classify.ts";
export type { ClassifierInput } from "./embed/classify-texts.ts";
export type { RankedDocument, RerankOptions } from "./embed/rerank.ts";
export type { TextPair } from "./embed/text-pairs.ts";
export { LanguageModel } from "./language-model.ts";
export { loadTokenizerOf, modelPath } from "./load.ts";
export type { LoadOptions } from "./load-options.ts";
export type { LogitsOptions, ScoreOptions } from "./logits.ts";
export type { Prompt, ReadTextOptions } from "./prompt.ts";
export type { Reply } from "./reply.ts";
export { Session, type SessionOptions } from "./session.ts";
