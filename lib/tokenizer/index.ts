// heddle/tokenizer: the tokenizer without any model code.
import "../core/node-version.ts";

export { HeddleError, type HeddleErrorCode } from "../core/errors.ts";
export type { ChatMessage, ChatTemplateOptions, Fit, FitOptions } from "./chat/chat.ts";
export { chatMlTemplate, plainTemplate } from "./chat/default-templates.ts";
export type { MessageSpan } from "./chat/spans.ts";
export { type Compression, compressionReport } from "./compression.ts";
export type { EncodeOptions } from "./encode-options.ts";
export type { TokenizerConfig } from "./files/config.ts";
export type { TokenizerTexts } from "./files/folder.ts";
export type { GgufRecord } from "./files/gguf.ts";
export type { TiktokenOptions } from "./files/tiktoken.ts";
export type { AddedToken } from "./files/tokenizer-file.ts";
export type { InputOptions, InputText, ModelInput } from "./inputs.ts";
export type { Padding } from "./padding.ts";
export type { TokenDecoder } from "./streaming-decoder.ts";
export type { DecodeOptions, EncodingWithOffsets } from "./text-codec.ts";
export { Tokenizer } from "./tokenizer.ts";
export type { TrainAlgorithm, TrainOptions, TrainProgress } from "./training/train-options.ts";
export type { Truncation } from "./truncation.ts";
