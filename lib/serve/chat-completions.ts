// POST /v1/chat/completions

import { atOnce, type Slices } from "../core/slices.ts";
import {
  checkedMessage,
  checkedRenderer,
  conversationPrompt,
  type Renderer,
} from "../language-model/chat/conversation.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { ChatMessage } from "../tokenizer/index.ts";
import type { Delta } from "./answer.ts";
import { checkModel, type Exchange, generating } from "./context.ts";
import { type Form, generate } from "./generate.ts";
import { invalid, Refusal } from "./http-error.ts";
import { type ChatLogprobs, chatLogprobs } from "./logprobs.ts";
import { messagesInSlices } from "./messages.ts";
import { inTurn } from "./places.ts";
import { charactersOf, LONG_PROMPT } from "./prompts.ts";
import { generateOptions, includesUsage, responseFormat } from "./sampling.ts";
import { chatSchema, parsed } from "./schema.ts";
import { toolUse } from "./tool-use.ts";

export async function chatCompletions(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { model, settings } = service;
  generating(service);
  const given = parsed(chatSchema, body);
  checkModel(given.model, service);
  const { tools, options: toolOptions, calls } = toolUse(given, model);
  const size = checkSize(model, [given.messages, tools, given.chat_template_kwargs], given.messages.length);
  const renderer = checkedRenderer(model.tokenizer, { tools, variables: given.chat_template_kwargs });
  const checking = () => checkedMessages(given.messages, model, renderer);
  const isShort = size < LONG_PROMPT;
  const messages = isShort ? atOnce(checking()) : await inTurn(service.preparing, checking, signal);
  if (given.top_logprobs && given.logprobs !== true)
    throw invalid("top_logprobs", "none unless logprobs is true", given.top_logprobs);
  const usage = includesUsage(given);
  const form = responseFormat(given.response_format);
  if (toolOptions.responseFormat && (form.responseFormat?.type ?? "text") !== "text")
    throw invalid("response_format", "no format together with a required tool call", form.responseFormat?.type);
  const options = {
    ...form,
    ...generateOptions(given, {
      maxTokens:
        given.max_completion_tokens ?? given.max_tokens ?? model.generation.maxNewTokens ?? model.contextLength,
      limit: settings.maxTokens,
      topLogprobs: given.top_logprobs ?? 0,
    }),
    ...toolOptions,
  };
  const ids = async () => {
    const encoded = () => conversationPrompt(model, renderer, messages, { signal });
    return [Array.from(await (isShort ? encoded() : service.encoding.run(encoded, signal)))];
  };
  await generate(exchange, { count: 1, ids }, options, {
    form: chatForm(model, given.logprobs === true),
    stream: given.stream === true,
    ...{ usage, calls },
  });
}

function* checkedMessages(given: unknown, model: LanguageModel, renderer: Renderer): Slices<ChatMessage[]> {
  const messages = yield* messagesInSlices(given, model);
  const checked: ChatMessage[] = [];
  for (const message of messages) {
    checked.push(checkedMessage(renderer, message));
    yield;
  }
  return checked;
}

function chatForm({ tokenizer }: LanguageModel, wantsLogprobs: boolean): Form {
  const calls = new Map<number, number>(); // number of tool calls so far, by choice
  const logprobsOf = (tokens: Delta["tokens"]): ChatLogprobs | null =>
    wantsLogprobs ? chatLogprobs(tokens, tokenizer!) : null;
  const chunk = (index: number, delta: object, finish: string | null, logprobs: ChatLogprobs | null = null) => ({
    index,
    delta,
    logprobs,
    finish_reason: finish,
  });
  return {
    id: "chatcmpl",
    object: "chat.completion",
    chunk: "chat.completion.chunk",
    opening: (index) => [chunk(index, { role: "assistant", content: "" }, null)],
    more(index, { text, calls: made, tokens, finishReason }) {
      const out: object[] = [];
      const logprobs = tokens.length > 0 ? logprobsOf(tokens) : null;
      if (text !== "" || (logprobs && made.length === 0)) out.push(chunk(index, { content: text }, null, logprobs));
      for (const [i, call] of made.entries()) {
        const at = calls.get(index) ?? 0;
        calls.set(index, at + 1);
        const first = text === "" && i === 0;
        out.push(chunk(index, { tool_calls: [{ index: at, ...call }] }, null, first ? logprobs : null));
      }
      if (finishReason) out.push(chunk(index, {}, finishReason));
      return out;
    },
    whole(index, parts) {
      const text = parts.map((part) => part.text).join("");
      const made = parts.flatMap((part) => part.calls);
      const content = text === "" && made.length > 0 ? null : text;
      return {
        index,
        message: { role: "assistant", content, refusal: null, ...(made.length > 0 && { tool_calls: made }) },
        logprobs: logprobsOf(parts.flatMap((part) => part.tokens)),
        finish_reason: parts.at(-1)!.finishReason!,
      };
    },
  };
}

/** Upper bound of the average number of characters per token in a conversation. */
const MOST_CHARACTERS_A_TOKEN = 128;

/**
 * Refuses conversations that cannot fit the context, before rendering blocks the event loop.
 * @returns the number of characters @throws Refusal 400
 */
function checkSize({ contextLength }: LanguageModel, content: unknown, messages: number): number {
  const most = contextLength * MOST_CHARACTERS_A_TOKEN;
  const length = charactersOf(content, most);
  if (length <= most && messages <= contextLength) return length;
  const got = length > most ? `more than ${most} characters` : `${messages} messages`;
  throw new Refusal(400, `messages: expected at most ${contextLength} tokens, the context length, got ${got}`, {
    param: "messages",
    code: "context_length_exceeded",
  });
}
