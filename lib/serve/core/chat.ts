// Answers a conversation. Every dialect converts its requests to this form, and the answer to its own.
import { formatType } from "../../constrain/index.ts";
import { HeddleError } from "../../core/errors.ts";
import { atOnce, inSlices, type Slices } from "../../core/slices.ts";
import { isTokenId } from "../../inference/logit-bias.ts";
import { overflow } from "../../inference/sequence.ts";
import {
  type ChatTemplate,
  conversationPrompt,
  messageInSlices,
  type Renderer,
  rendererInSlices,
} from "../../language-model/chat/conversation.ts";
import type { GenerateOptions, LanguageModel } from "../../language-model/index.ts";
import { MAX_CHARACTERS_A_TOKEN } from "../../language-model/prompt.ts";
import type { ChatMessage } from "../../tokenizer/index.ts";
import { LONG_TEXT } from "../../tokenizer/text-codec.ts";
import { invalid, unsupported } from "../http/http-error.ts";
import { inTurn } from "../http/semaphore.ts";
import type { Begun } from "./answer.ts";
import type { Exchange } from "./context.ts";
import { type Answers, type Generation, generate } from "./generate.ts";
import { MAX_MESSAGES, messagesInSlices } from "./messages.ts";
import { generating, type Served } from "./models.ts";
import { charactersInSlices } from "./prompts.ts";
import { toolUse } from "./tool-use.ts";

/** A conversation to answer. Messages and tools are in the form of OpenAI's chat completions. */
export interface ChatRequest {
  messages: unknown[];
  tools?: unknown[] | undefined;
  /** `"none"`, `"auto"`, `"required"` or `{ type: "function", function: { name } }`. */
  toolChoice?: unknown;
  /** Whether an answer may have several calls. Default: true if the model chooses whether to call, false if a call is required. */
  parallelToolCalls?: boolean | undefined;
  /** Variables of the chat template. */
  variables?: Readonly<Record<string, unknown>> | undefined;
  /** Maximum number of tokens of the reasoning. Default: no limit. */
  maxReasoningTokens?: number | undefined;
  /** The beginning of the answer, which the model continues. It is not part of the answer that is sent. */
  prefill?: string | undefined;
  /** Tokens that the answer begins with, as part of the answer that is sent. */
  beginning?: readonly number[] | undefined;
  options: GenerateOptions;
  /** Drops the oldest turns so that this many tokens of the context stay free. Default: a conversation that is too long is refused. */
  fit?: { reserve: number } | undefined;
}

/**
 * Checks a conversation and generates its answers.
 * @param send as for `generate`
 * @throws Refusal, HeddleError before anything is sent; ClientLost; as `send`
 */
export async function answerChat(
  exchange: Exchange,
  served: Served,
  request: ChatRequest,
  send: (answers: Answers) => Promise<void>,
): Promise<void> {
  generating(served);
  const { prompt, ...rest } = await chatPrompt(exchange, served, request);
  await generate(exchange, served, { ...rest, prompts: { count: 1, ids: async () => [await prompt()] } }, send);
}

/** Returns the ids of a conversation up to the answer. @throws Refusal, HeddleError */
export async function promptIdsOf(exchange: Exchange, served: Served, request: ChatRequest): Promise<number[]> {
  const { prompt } = await chatPrompt(exchange, served, request);
  return prompt();
}

/**
 * Checks a conversation.
 * @returns a function that renders and encodes the conversation, and the other inputs of `generate` @throws Refusal, HeddleError
 */
export async function chatPrompt(
  { service, signal }: Exchange,
  { model }: Served,
  request: ChatRequest,
): Promise<{ prompt: () => Promise<number[]> } & Omit<Generation, "prompts">> {
  const given = request.toolChoice === "none" ? undefined : request.tools;
  const counting = sizeOf(model, request.messages, [given, request.variables, request.prefill]);
  const size = await inSlices(counting, "request", signal);
  const { tools, options: toolOptions, callFormat, reasoningLimit, reading } = toolUse(request, model);
  const checking = () => checkedConversation(request.messages, model, { tools, variables: request.variables });
  const isShort = size < LONG_TEXT;
  const { renderer, messages } = isShort ? atOnce(checking()) : await inTurn(service.preparing, checking, signal);
  const { beginning = [] } = request;
  if (beginning.length > 0 && (callFormat || formatType(request.options.responseFormat) !== "text"))
    throw unsupported(
      "continue_token_ids",
      "expected no response_format and no required call, because they constrain the answer from its first token",
    );
  if (beginning.length > model.contextLength)
    throw invalid("continue_token_ids", `at most ${model.contextLength} token ids, the context length`, beginning);
  const wrong = beginning.findIndex((id) => !isTokenId(id, model.config.vocabSize));
  if (wrong >= 0) throw invalid("continue_token_ids", `token ids below ${model.config.vocabSize}`, beginning[wrong]);
  const encoded = async () => {
    const ids = await conversationPrompt(model, renderer, messages, { fit: request.fit, signal });
    if (request.prefill) return continued(model, ids, request.prefill, signal);
    return [...Array.from(ids), ...beginning];
  };
  return {
    prompt: () => (isShort ? encoded() : service.encoding.run(encoded, signal)),
    options: { ...request.options, ...toolOptions },
    formatFor: callFormat,
    // If the ids end with `beginning`, they do not show whether the prompt opened the reasoning. The reasoning then has no limit.
    processorFor: reasoningLimit,
    reading,
    begun: begunWith(model, beginning, toolOptions.visibleTokens),
  };
}

/** Returns the number and the text of the tokens that an answer begins with. */
function begunWith(
  { tokenizer }: LanguageModel,
  ids: readonly number[],
  visible: readonly string[] = [],
): Begun | undefined {
  if (ids.length === 0) return undefined;
  const hidden = new Set([...tokenizer!.specialTokens].flatMap(([text, id]) => (visible.includes(text) ? [] : [id])));
  return { tokens: ids.length, text: tokenizer!.decode(ids.filter((id) => !hidden.has(id))) };
}

/** Adds the beginning of an answer to its prompt. @throws HeddleError CONTEXT_OVERFLOW */
async function continued(
  { tokenizer, contextLength }: LanguageModel,
  ids: Uint32Array,
  prefill: string,
  signal: AbortSignal,
): Promise<number[]> {
  const more = await tokenizer!.encodeAsync(prefill, { addSpecialTokens: false, addPrefixSpace: false, signal });
  const length = ids.length + more.length;
  if (length > contextLength) throw overflow(contextLength, length, { name: "messages" });
  return [...Array.from(ids), ...Array.from(more)];
}

function* checkedConversation(
  given: unknown,
  model: LanguageModel,
  template: ChatTemplate,
): Slices<{ renderer: Renderer; messages: ChatMessage[] }> {
  const renderer = yield* rendererInSlices(model, template);
  const messages = yield* messagesInSlices(given, model);
  const checked: ChatMessage[] = [];
  for (const message of messages) {
    checked.push(yield* messageInSlices(renderer, message));
    yield;
  }
  return { renderer, messages: checked };
}

/** Counts the characters of a conversation. @throws Refusal 400; HeddleError CONTEXT_OVERFLOW if it cannot fit the context */
function* sizeOf({ contextLength }: LanguageModel, messages: readonly unknown[], more: unknown): Slices<number> {
  if (messages.length > MAX_MESSAGES) throw invalid("messages", `at most ${MAX_MESSAGES} messages`, messages);
  const most = contextLength * MAX_CHARACTERS_A_TOKEN;
  const length = messages.length > contextLength ? 0 : yield* charactersInSlices([messages, more], most);
  if (length <= most && messages.length <= contextLength) return length;
  const got = length > most ? `more than ${most} characters` : `${messages.length} messages`;
  throw new HeddleError(
    "CONTEXT_OVERFLOW",
    `messages: expected at most ${contextLength} tokens, the context length, got ${got}`,
  );
}
