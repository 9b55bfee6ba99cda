// POST /v1/chat/completions

import type { LanguageModel } from "../../language-model/index.ts";
import { type Answer, addPart, type Delta } from "../core/answer.ts";
import { answerChat } from "../core/chat.ts";
import type { Exchange } from "../core/context.ts";
import { answerFormOf } from "../core/tool-use.ts";
import { invalid } from "../http/http-error.ts";
import { type Form, sendForm } from "./form.ts";
import { type ChatLogprobs, chatLogprobs, type LogprobExtensions } from "./logprobs.ts";
import { generateOptions, includesUsage, responseFormat } from "./sampling.ts";
import { chatSchema, parsed } from "./schema.ts";

/** Answers POST /v1/chat/completions. */
export function chatCompletions(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { settings, models } = service;
  const given = parsed(chatSchema, body);
  return models.use(given.model, signal, async (served) => {
    const { model } = served;
    if (given.top_logprobs && given.logprobs !== true)
      throw invalid("top_logprobs", "none unless logprobs is true", given.top_logprobs);
    if (given.return_entropy && !given.top_logprobs)
      throw invalid("return_entropy", "false unless top_logprobs is above 0", given.return_entropy);
    const usage = includesUsage(given);
    const options = {
      ...responseFormat(given.response_format),
      ...generateOptions(given, {
        maxTokens:
          given.max_completion_tokens ?? given.max_tokens ?? model.generation.maxNewTokens ?? model.contextLength,
        limit: settings.maxTokens,
        topLogprobs: given.top_logprobs ?? 0,
      }),
    };
    const { chat_template_kwargs: own, reasoning_effort: effort } = given;
    const use = { tools: given.tools, toolChoice: given.tool_choice };
    const variables = effort && { ...answerFormOf(model, use).effortVariables(effort), ...own };
    const request = {
      ...use,
      messages: given.messages,
      parallelToolCalls: given.parallel_tool_calls,
      variables: variables ?? own,
      maxReasoningTokens: given.reasoning?.max_tokens ?? undefined,
      beginning: given.continue_token_ids,
      options,
    };
    const extensions = { ids: given.return_token_ids === true, entropy: given.return_entropy === true };
    const form = chatForm(model, given.logprobs === true ? extensions : undefined);
    await answerChat(exchange, served, request, (answers) =>
      sendForm(exchange, answers, { form, model: served.name, stream: given.stream === true, usage }),
    );
  });
}

/** @param extensions extra fields of the log-probabilities. Undefined if the request asks for no log-probabilities */
function chatForm({ tokenizer }: LanguageModel, extensions: LogprobExtensions | undefined): Form {
  const logprobsOf = (tokens: Delta["tokens"]): ChatLogprobs | null =>
    extensions ? chatLogprobs(tokens, tokenizer!, extensions) : null;
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
    more(index, { text, reasoning, calls, tokens, finishReason }) {
      const said: object[] = [];
      if (reasoning !== "") said.push({ reasoning_content: reasoning });
      if (text !== "") said.push({ content: text });
      for (const { index: at, id, name, arguments: more } of calls) {
        const isFirst = name !== undefined;
        const called = { ...(isFirst && { name }), arguments: more };
        said.push({ tool_calls: [{ index: at, ...(isFirst && { id, type: "function" }), function: called }] });
      }
      const logprobs = tokens.length > 0 ? logprobsOf(tokens) : null;
      if (logprobs && said.length === 0) said.push({ content: "" });
      // The log-probabilities come with the first chunk of their tokens.
      const out = said.map((delta, i) => chunk(index, delta, null, i === 0 ? logprobs : null));
      if (finishReason) out.push(chunk(index, {}, finishReason));
      return out;
    },
    *whole(index, parts) {
      const answer: Answer = { text: "", reasoning: "", calls: [], tokens: [], finishReason: "stop" };
      const logprobs: ChatLogprobs | null = extensions ? { content: [] } : null;
      for (const part of parts) {
        addPart(answer, part);
        logprobs?.content.push(...logprobsOf(part.tokens)!.content);
        yield;
      }
      const { text, reasoning, calls, finishReason } = answer;
      return {
        index,
        message: {
          role: "assistant",
          content: text === "" && calls.length > 0 ? null : text,
          refusal: null,
          ...(reasoning !== "" && { reasoning_content: reasoning }),
          ...(calls.length > 0 && {
            tool_calls: calls.map(({ id, ...called }) => ({ id, type: "function", function: called })),
          }),
        },
        logprobs,
        finish_reason: finishReason,
      };
    },
  };
}
