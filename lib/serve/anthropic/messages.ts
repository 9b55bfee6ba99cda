// POST /v1/messages and /v1/messages/count_tokens
import { randomUUID } from "node:crypto";
import type { GenerateOptions } from "../../language-model/index.ts";
import { type Answer, addPart, wholeAnswer } from "../core/answer.ts";
import { answerChat, promptIdsOf } from "../core/chat.ts";
import { holdingPlace } from "../core/compute.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import type { Answers, Usage } from "../core/generate.ts";
import { generating } from "../core/models.ts";
import { EventStream, NAMED_EVENTS } from "../http/event-stream.ts";
import { refusalOf } from "../http/http-error.ts";
import { sendJson } from "../http/json-answer.ts";
import { BlockEvents, blocksOf, stopOf } from "./blocks.ts";
import { chatRequest } from "./request.ts";
import { countSchema, messageSchema, parsed } from "./schema.ts";

/** Answers POST /v1/messages. */
export function createMessage(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const given = parsed(messageSchema, body);
  return service.models.use(given.model, signal, async (served) => {
    const { maxTokens: limit = Number.POSITIVE_INFINITY } = service.settings;
    const options: GenerateOptions = {
      maxTokens: Math.min(given.max_tokens, limit),
      temperature: given.temperature,
      topP: given.top_p,
      topK: given.top_k,
      stop: given.stop_sequences,
      // Only the prompt must fit the context. The answer may end before it has the maximum number of tokens.
      contextOverflow: "stop",
    };
    const request = await chatRequest(exchange, served.model, given, options);
    const send = given.stream === true ? sendStream : sendWhole;
    await answerChat(exchange, served, request, (answers) => send(exchange, answers, served.name));
  });
}

/** Counts the tokens of a conversation. Tokenization takes time, so the request counts towards the limit on running and waiting answers. */
export function countTokens(exchange: Exchange): Promise<void> {
  const { service, body, signal, response } = exchange;
  const given = parsed(countSchema, body);
  return service.models.use(given.model, signal, async (served) => {
    generating(served);
    const request = await chatRequest(exchange, served.model, given, {});
    const { length } = await holdingPlace(exchange, () => promptIdsOf(exchange, served, request));
    sendJson(response, 200, { input_tokens: length });
  });
}

const newMessage = (model: string) => ({
  id: `msg_${randomUUID().replaceAll("-", "")}`,
  type: "message",
  role: "assistant",
  model,
});

async function sendWhole(exchange: Exchange, answers: Answers, model: string): Promise<void> {
  const [answer] = await answers.read(wholeAnswer);
  await sendAnswer(exchange, {
    ...newMessage(model),
    content: blocksOf(answer!),
    ...stopOf(answer!),
    usage: usageBody(answers.usage),
  });
}

async function sendStream(exchange: Exchange, answers: Answers, model: string): Promise<void> {
  const { response, signal, service, dialect } = exchange;
  const events = new EventStream(response, { stallTimeout: service.settings.stallTimeout, signal }, NAMED_EVENTS);
  try {
    const opening = (): object[] => {
      const usage = { ...usageBody(answers.usage), output_tokens: 0 };
      const empty = { content: [], stop_reason: null, stop_sequence: null, usage };
      return [{ type: "message_start", message: { ...newMessage(model), ...empty } }, { type: "ping" }];
    };
    const [stop] = await answers.read(async (parts) => {
      const blocks = new BlockEvents();
      const answer: Answer = { text: "", reasoning: "", calls: [], tokens: [], finishReason: "stop" };
      let isFirst = true;
      for await (const part of parts) {
        addPart(answer, part);
        // The number of tokens from the prefix cache is known once the first part has arrived.
        await events.send([...(isFirst ? opening() : []), ...blocks.more(part)]);
        isFirst = false;
      }
      await events.send(blocks.end());
      return stopOf(answer);
    });
    await events.send([{ type: "message_delta", delta: stop, usage: usageBody(answers.usage) }]);
    await events.end({ type: "message_stop" });
  } catch (error) {
    events.fail(dialect.errorBody(refusalOf(error, dialect.parameterNames), exchange.requestId));
    throw error;
  }
}

/** Returns the token counts. As in Anthropic's API, tokens from the cache do not count as input tokens. */
function usageBody({ promptTokens, cachedTokens, completionTokens }: Usage): object {
  return {
    input_tokens: promptTokens - cachedTokens,
    output_tokens: completionTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
  };
}
