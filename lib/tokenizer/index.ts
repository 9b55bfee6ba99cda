// heddle/tokenizer: tokenizers alone, without any model code.
import "../node-version.ts";

export { HeddleError, type HeddleErrorCode } from "../errors.ts";
export type { ChatMessage, ChatTemplateOptions, Fit, FitOptions } from "./chat.ts";
export type { MessageSpan } from "./chat-spans.ts";
export { type Compression, compressionReport } from "./compression.ts";
export type { TokenizerConfig } from "./config.ts";
export type { TokenDecoder } from "./decoder.ts";
export { chatMlTemplate, plainTemplate } from "./default-templates.ts";
export type { EncodeOptions } from "./encode-options.ts";
export type { TokenizerTexts } from "./folder.ts";
export type { GgufRecord } from "./gguf.ts";
export type { InputOptions, InputText, ModelInput } from "./inputs.ts";
export type { Padding } from "./padding.ts";
export type { DecodeOptions, EncodingWithOffsets } from "./text-codec.ts";
export type { TiktokenOptions } from "./tiktoken.ts";
export { Tokenizer } from "./tokenizer.ts";
export type { AddedToken } from "./tokenizer-file.ts";
export type { TrainAlgorithm, TrainOptions, TrainProgress } from "./train-options.ts";
export type { Truncation } from "./truncation.ts";
