// POST /v1/responses
import type { Slices } from "../../../core/slices.ts";
import type { Delta } from "../../core/answer.ts";
import { answerChat, type ChatRequest } from "../../core/chat.ts";
import { type Exchange, sendAnswer } from "../../core/context.ts";
import type { Answers } from "../../core/generate.ts";
import type { Served } from "../../core/models.ts";
import { charactersOf } from "../../core/prompts.ts";
import { runSliced } from "../../core/sliced-work.ts";
import { answerFormOf } from "../../core/tool-use.ts";
import { EventStream, NAMED_EVENTS } from "../../http/event-stream.ts";
import { Refusal, refusalOf } from "../../http/http-error.ts";
import { chatLogprobs } from "../logprobs.ts";
import { generateOptions } from "../sampling.ts";
import { failed, finished, type Head, headOf, summaryOf, unfinished, usageBody } from "./body.ts";
import { type Item, itemsOf, shownId } from "./items.ts";
import { messagesOf } from "./messages.ts";
import { Output, type ResponseEvent } from "./output.ts";
import { includesLogprobs, type ResponseParameters, responseParameters } from "./schema.ts";
import { formatOptions, toolSettings } from "./settings.ts";
import { ownerOf, storeOf } from "./store.ts";

/** Answers POST /v1/responses. */
export function createResponse(exchange: Exchange): Promise<void> {
  const given = responseParameters(exchange.body);
  const { service, signal } = exchange;
  return service.models.use(given.model, signal, async (served) => {
    const request = requestOf(exchange, served, given);
    const { items, messages } = await runSliced(exchange, given.input, () => reading(exchange, given));
    const made = { given, items, head: headOf(given, served.name), output: outputOf(served, given) };
    try {
      await answerChat(exchange, served, { ...request, messages }, (answers) =>
        given.stream ? sendStream(exchange, answers, made) : sendWhole(exchange, answers, made),
      );
    } catch (error) {
      throw renamed(error);
    }
  });
}

/** Converts all parameters of a request except its conversation. @throws Refusal 400 */
export function requestOf(
  { service: { settings } }: Exchange,
  { model }: Served,
  given: ResponseParameters,
): Omit<ChatRequest, "messages"> {
  const { reasoning, chat_template_kwargs: own } = given;
  const maxTokens = given.max_output_tokens ?? model.generation.maxNewTokens ?? model.contextLength;
  const options = {
    ...formatOptions(given),
    ...generateOptions(given, {
      maxTokens,
      limit: settings.maxTokens,
      topLogprobs: given.top_logprobs ?? 0,
    }),
  };
  const tools = toolSettings(given);
  const variables = reasoning?.effort ? answerFormOf(model, tools).effortVariables(reasoning.effort) : {};
  return {
    ...tools,
    parallelToolCalls: given.parallel_tool_calls,
    variables: { ...variables, ...own },
    maxReasoningTokens: reasoning?.max_tokens ?? undefined,
    options,
    // A truncated conversation leaves room for the answer: its maximum length, but at most a quarter of the context.
    fit: given.truncation === "auto" ? { reserve: Math.min(maxTokens, model.contextLength >> 2) } : undefined,
  };
}

/** Returns the conversation of a request, including that of the previous response. @throws Refusal 400, 404 */
export function* reading(
  exchange: Exchange,
  { input = [], instructions, previous_response_id: previousId }: ResponseParameters,
): Slices<{ items: Item[]; messages: unknown[] }> {
  const [store, owner] = [storeOf(exchange), ownerOf(exchange)];
  const previous = previousId === undefined ? undefined : store.get(owner, previousId);
  if (previousId !== undefined && !previous)
    throw new Refusal(404, `previous_response_id: expected the id of a stored response, got ${shownId(previousId)}`, {
      param: "previous_response_id",
      code: "previous_response_not_found",
    });
  const own = yield* itemsOf(input, (id) => store.item(owner, id));
  const items = previous ? [...previous.input, ...previous.output, ...own] : own;
  return { items, messages: yield* messagesOf({ items, instructions }) };
}

function outputOf({ model: { tokenizer } }: Served, given: ResponseParameters): Output {
  return new Output({
    logprobs: includesLogprobs(given) ? (tokens) => chatLogprobs(tokens, tokenizer!).content : undefined,
    summary: summaryOf(given) !== undefined,
  });
}

/** Renames the parameter in an error of the core, from its name in chat completions to its name in this API. */
export function renamed(error: unknown): unknown {
  if (!(error instanceof Refusal) || error.param === null) return error;
  const { status, message, param, code, headers } = error;
  const name = param === "messages" ? "input" : param === "response_format" ? "text.format" : param;
  return new Refusal(status, message.startsWith(param) ? name + message.slice(param.length) : message, {
    ...{ param: name, code, headers },
  });
}

/** A response that is being written. */
interface Made {
  given: ResponseParameters;
  /** The conversation before the output. */
  items: readonly Item[];
  head: Head;
  output: Output;
}

/** Reads the answer to its end. @param tell gets the events of each part */
async function read(
  answers: Answers,
  { output }: Made,
  tell: (events: ResponseEvent[]) => Promise<void> | void,
): Promise<"completed" | "incomplete"> {
  let reason: Delta["finishReason"];
  await answers.read(async (parts) => {
    for await (const delta of parts) {
      await tell(output.more(delta));
      reason = delta.finishReason;
    }
  });
  const status = reason === "length" ? "incomplete" : "completed";
  await tell(output.end(status));
  return status;
}

/** Returns the finished response, and stores it. */
function finish(exchange: Exchange, answers: Answers, status: "completed" | "incomplete", made: Made): object {
  const { given, items, head, output } = made;
  const body = { ...head, ...finished(status, usageBody(answers.usage, output.reasoningTokens)) };
  const written = output.items(status);
  if (given.store !== false)
    storeOf(exchange).add(ownerOf(exchange), { body, input: items, output: written.map(withoutLogprobs) });
  return { ...body, output: written };
}

/**
 * Drops the log-probabilities, which are many times larger than their text. As in OpenAI's API, a stored response has
 * none.
 */
function withoutLogprobs(item: Item): Item {
  if (item.type !== "message") return item;
  return { ...item, content: (item.content as object[]).map((part) => ({ ...part, logprobs: [] })) };
}

async function sendWhole(exchange: Exchange, answers: Answers, made: Made): Promise<void> {
  const status = await read(answers, made, () => {});
  await sendAnswer(exchange, finish(exchange, answers, status, made));
}

/** Minimum number of characters of an event that is written part by part. */
const LARGE = 16_384;

async function sendStream(exchange: Exchange, answers: Answers, made: Made): Promise<void> {
  const { response, signal, service, dialect } = exchange;
  const { head, output } = made;
  const { stallTimeout } = service.settings;
  const events = new EventStream(response, { stallTimeout, signal }, NAMED_EVENTS);
  let count = 0;
  const numbered = ({ type, ...rest }: ResponseEvent) => ({ type, sequence_number: count++, ...rest });
  const begun = { ...head, ...unfinished(), output: [] };
  let opening: ResponseEvent[] = ["response.created", "response.in_progress"].map((type) => ({
    type,
    response: begun,
  }));
  const send = async (more: readonly ResponseEvent[]) => {
    const all = [...opening, ...more];
    opening = [];
    for (const event of all.map(numbered))
      await (charactersOf(event, LARGE) < LARGE ? events.send([event]) : events.sendLarge(event));
  };
  try {
    const status = await read(answers, made, send);
    const whole = finish(exchange, answers, status, made);
    await send([{ type: `response.${status}`, response: whole }]);
    await events.end();
  } catch (error) {
    const refusal = refusalOf(error, dialect.parameterNames);
    const { message, param, code } = refusal;
    const last = { ...head, ...failed(refusal), output: output.items("incomplete") };
    const ending = [
      { type: "error", code, message, param },
      { type: "response.failed", response: last },
    ];
    events.fail(...ending.map(numbered));
    throw error;
  }
}
