// Language models: loading, generation, sessions, chats and embeddings.
export type { JsonSchema, NamedSchema, ResponseFormat, ToolCallsFormat } from "../constrain/index.ts";
export { rejectUnknownNames } from "../core/generation-option-names.ts";
export {
  DEFAULT_MAX_TOKENS,
  DEFAULT_TEMPERATURE,
  type GenerateOptions,
  type LogitContext,
  type LogitProcessor,
  type StopCondition,
  type StopContext,
} from "../inference/generation-options.ts";
export type { FinishReason, Piece, TopCandidate } from "../inference/sequence.ts";
export { Batcher, type BatcherCounts, type BatcherOptions } from "./batcher.ts";
export {
  Chat,
  type ChatCompletion,
  type ChatOptions,
  type ChatReply,
  type ChatState,
  type SendOptions,
} from "./chat/chat.ts";
export type { ChatTemplate, TextMessage } from "./chat/conversation.ts";
export type { ToolCall } from "./chat/tool-calls.ts";
export type { ToolChoice } from "./chat/tool-choice.ts";
export type { Completion, Timings, Usage } from "./completion.ts";
export { type ConvertOptions, convertModel } from "./convert.ts";
export { type CreateModelAsyncOptions, type CreateModelOptions, createModel, createModelAsync } from "./create.ts";
export type { Classification, TokenClassification } from "./embed/classify.ts";
export { LanguageModel, type Parts } from "./language-model.ts";
export { loadTokenizerOf, modelPath } from "./load.ts";
export type { LoadOptions } from "./load-options.ts";
export type { Prompt, ReadTextOptions } from "./prompt.ts";
export type { Reply } from "./reply.ts";
export { Session, type SessionOptions } from "./session.ts";
