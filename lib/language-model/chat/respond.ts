// Answers a conversation: renders it, generates, and splits the answer into text, reasoning and tool calls.
import type { ReasoningEffort } from "../../answers/effort.ts";
import type { AnswerParser, CallPart } from "../../answers/parts.ts";
import { type AnswerFormat, formatType, type Parsed } from "../../constrain/index.ts";
import { checkObject, invalidArgument } from "../../core/errors.ts";
import { checkFlag, checkWhole } from "../../core/option-values.ts";
import { DEFAULT_MAX_TOKENS, type GenerateOptions } from "../../inference/generation-options.ts";
import type { Piece } from "../../inference/sequence.ts";
import type { ChatMessage } from "../../tokenizer/index.ts";
import type { Completion } from "../completion.ts";
import { generated } from "../generation-request.ts";
import type { LanguageModel } from "../language-model.ts";
import { Reply } from "../reply.ts";
import { AnswerForm, jsonFormat } from "./answer-format.ts";
import {
  type ChatTemplate,
  chatTemplateNames,
  checkedMessage,
  checkedRenderer,
  conversationPrompt,
  type Renderer,
} from "./conversation.ts";
import { CallGatherer, type ToolCall } from "./tool-calls.ts";
import { checkedToolChoice, type ToolChoice } from "./tool-choice.ts";

/** Options of one answer in a chat. */
export interface SendOptions<Format extends AnswerFormat = AnswerFormat> extends GenerateOptions<Format> {
  /**
   * Which of the chat's tools the answer calls, as in OpenAI's API. `"auto"` (default) leaves it to the model. `"none"` hides the tools.
   * `"required"` forces a call of any tool, and `{ type: "function", function: { name } }` a call of that tool, with arguments that
   * match its schema. Calls have the form of the model's chat template.
   */
  toolChoice?: ToolChoice | undefined;
  /** Whether a required answer may have several calls. Default false. */
  parallelToolCalls?: boolean | undefined;
  /**
   * How much the model reasons before it answers. It sets the chat template's variables for reasoning, such as
   * `enable_thinking`. Many templates only switch reasoning on and off. Default: the template's default.
   */
  reasoning?: ReasoningEffort | undefined;
  /**
   * Maximum number of reasoning tokens, over all reasoning messages of the answer. At the limit, the closing mark is
   * forced, and the answer follows. It has no effect on templates without reasoning. Default: no limit.
   */
  maxReasoningTokens?: number | undefined;
}

/** Options of `model.respond`. */
export interface RespondOptions<Format extends AnswerFormat = AnswerFormat> extends SendOptions<Format>, ChatTemplate {}

/** One step of an answer in a chat. Text, reasoning and calls are final, and often empty. */
export interface ChatPiece extends Piece {
  /** The next text of the answer, without reasoning and tool calls. */
  text: string;
  /** The next text of the reasoning. */
  reasoning: string;
  /** The next parts of tool calls. Parts of a call that an earlier piece began precede `reasoning` and `text`. Others follow them. */
  calls: CallPart[];
  /** The model's next text before it is split, with the marks around reasoning and tool calls. */
  rawText: string;
}

/** The complete answer of a chat. */
export interface ChatCompletion extends Completion {
  /** The text of the answer, without reasoning and tool calls. */
  text: string;
  /** The model's reasoning before its answer. Set if there is any. */
  reasoning?: string;
  /** The tool calls. Set if there are any. Send their results as messages `{ role: "tool", tool_call_id, content }`. */
  toolCalls?: ToolCall[];
  /** The model's text before it is split, with the marks around reasoning and tool calls. */
  rawText: string;
}

/** A streaming answer. Iterate over its pieces, `await` the complete answer, or first iterate and then await. */
export type ChatReply = Reply<ChatCompletion, ChatPiece>;

/**
 * A streaming answer of a chat, for a `responseFormat` of the type `Format`. If the format has a Standard Schema, `parsed` of the complete
 * answer has the type of the schema's output.
 */
export type ChatReplyIn<Format> = Reply<Parsed<ChatCompletion, Format>, ChatPiece>;

/** Generates from a prompt, with or without a session. */
type Generate = (prompt: Uint32Array, options: GenerateOptions) => AsyncGenerator<Piece, Completion, undefined>;

/**
 * Answers messages that have been checked.
 * @throws HeddleError as generate; INVALID_ARGUMENT for a required call together with another response format;
 * UNSUPPORTED for a tool choice or an effort that the template does not support
 */
export async function* answerTo(
  languageModel: LanguageModel,
  renderer: Renderer,
  messages: readonly ChatMessage[],
  {
    toolChoice,
    parallelToolCalls: parallel,
    reasoning: effort,
    maxReasoningTokens: maxTokens,
    ...options
  }: SendOptions,
  generate: Generate,
): AsyncGenerator<ChatPiece, ChatCompletion, undefined> {
  const choice = checkedToolChoice(toolChoice);
  checkFlag("parallelToolCalls", parallel);
  if (maxTokens !== undefined) checkWhole("maxReasoningTokens", maxTokens, 0);
  const { tools, ...rest } = renderer.template;
  const own: ChatTemplate = choice === "none" ? rest : renderer.template;
  const probe = new AnswerForm(languageModel, own);
  const variables = effort === undefined ? own.variables : { ...probe.effortVariables(effort), ...own.variables };
  const template: ChatTemplate = variables === undefined ? own : { ...own, variables };
  const form = new AnswerForm(languageModel, template);
  const prompt = await promptOf(languageModel, { ...renderer, template }, messages, options);
  const otherwise = choice === "auto" ? jsonFormat(options.responseFormat) : undefined;
  const format = form.callFormat(choice, { parallel, prompt, otherwise });
  const formatted = formatType(options.responseFormat);
  const isFormatted = formatted !== "text";
  if (format && isFormatted && !otherwise)
    throw invalidArgument("responseFormat", "no format together with a required tool call", formatted);
  // An answer in a given format has neither reasoning nor calls, unless the model chooses between the format and a call.
  const isCallOrJson = isFormatted && format !== undefined;
  const parser = isFormatted && !format ? undefined : form.parser({ prompt, isCallOrJson });
  const limit = parser && maxTokens !== undefined ? form.reasoningLimit({ maxTokens, prompt }) : undefined;
  const hidden = choice === "none" && tools?.length ? new AnswerForm(languageModel, renderer.template).callTokens : [];
  const pieces = generate(prompt, {
    ...options,
    ...(format && { responseFormat: format }),
    ...(parser && { visibleTokens: withTokens(options.visibleTokens, form.visibleTokens) }),
    ...(limit && { logitProcessors: [...(options.logitProcessors ?? []), limit] }),
    ...(hidden.length > 0 && { logitBias: withForbidden(options.logitBias, hidden) }),
  });
  const gathered = new CallGatherer();
  let [text, reasoning] = ["", ""];
  let completion: Completion | undefined;
  try {
    for (;;) {
      const step = await pieces.next();
      if (step.done) {
        completion = step.value;
        break;
      }
      const piece = partsOf(step.value, parser);
      text += piece.text;
      reasoning += piece.reasoning;
      gathered.add(piece.calls);
      yield piece;
    }
  } finally {
    // If the caller has left the loop, end the generation.
    if (!completion) await pieces.return(undefined as never);
  }
  const { calls } = gathered;
  return {
    ...completion,
    text,
    ...(reasoning !== "" && { reasoning }),
    ...(calls.length > 0 && { toolCalls: [...calls] }),
    rawText: completion.text,
  };
}

function partsOf(piece: Piece, parser: AnswerParser | undefined): ChatPiece {
  const part = parser?.push(piece.text) ?? { text: piece.text, reasoning: "", calls: [] };
  const rest = parser && piece.finishReason ? parser.flush() : undefined;
  return {
    ...piece,
    text: part.text + (rest?.text ?? ""),
    reasoning: part.reasoning + (rest?.reasoning ?? ""),
    calls: [...part.calls, ...(rest?.calls ?? [])],
    rawText: piece.text,
  };
}

async function promptOf(
  languageModel: LanguageModel,
  renderer: Renderer,
  messages: readonly ChatMessage[],
  { maxTokens, contextOverflow, signal }: GenerateOptions,
): Promise<Uint32Array> {
  // Values that are not numbers are rejected later, when the options are checked.
  const wanted = typeof maxTokens === "number" ? maxTokens : DEFAULT_MAX_TOKENS;
  const reserve = Math.min(wanted, Math.floor(languageModel.contextLength / 2));
  const fit = contextOverflow === "truncateLeft" ? { reserve } : undefined;
  return conversationPrompt(languageModel, renderer, messages, { fit, signal });
}

/** Adds tokens to the caller's tokens. Values other than arrays are rejected later, when the options are checked. */
function withTokens(
  given: GenerateOptions["visibleTokens"],
  more: readonly string[],
): GenerateOptions["visibleTokens"] {
  return given === undefined || Array.isArray(given) ? [...(given ?? []), ...more] : given;
}

/**
 * Adds a bias of −∞ for the tokens that start a call. Earlier calls in the conversation may lead the model to another
 * call.
 */
function withForbidden(bias: GenerateOptions["logitBias"], tokens: readonly number[]): ReadonlyMap<number, number> {
  const given =
    bias instanceof Map ? [...bias] : Object.entries(bias ?? {}).map(([id, value]) => [Number(id), value] as const);
  return new Map([...given, ...tokens.map((id) => [id, Number.NEGATIVE_INFINITY] as const)]);
}

/** Returns the message that a chat stores for an answer, with the fields that templates read in the next turn. */
export function keptMessage({ text, reasoning, toolCalls }: ChatCompletion): ChatMessage {
  return {
    role: "assistant",
    content: text,
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
    ...(toolCalls && { tool_calls: toolCalls }),
  };
}

/** Makes the reply of `model.respond`. */
export function respond(
  languageModel: LanguageModel,
  given: readonly ChatMessage[],
  options: RespondOptions,
): ChatReply {
  checkObject("options", options);
  if (!Array.isArray(given) || given.length === 0)
    throw invalidArgument("messages", "an array of at least one message", given);
  const template: Record<string, unknown> = {};
  const rest: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options))
    ((chatTemplateNames as string[]).includes(name) ? template : rest)[name] = value;
  const renderer = checkedRenderer(languageModel, template as ChatTemplate);
  const messages = given.map((message) => checkedMessage(renderer, message));
  if ((options.n ?? 1) !== 1) throw invalidArgument("n", "1 (respond gives a single answer)", options.n);
  return new Reply(async function* () {
    const held = languageModel.model.hold(); // the model may change while the messages are rendered
    const generate = async function* (prompt: Uint32Array, more: GenerateOptions) {
      const [completion] = yield* generated(languageModel, [prompt], more, held);
      return completion!;
    };
    try {
      return yield* answerTo(languageModel, renderer, messages, rest as SendOptions, generate);
    } finally {
      held.release();
    }
  });
}
