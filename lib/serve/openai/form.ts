// Sends answers as the choices of OpenAI's chat completions and completions, whole or as a stream of chunks.
import { randomUUID } from "node:crypto";
import { inSlices, type Slices } from "../../core/slices.ts";
import type { Delta } from "../core/answer.ts";
import type { Exchange } from "../core/context.ts";
import { sendAnswer } from "../core/context.ts";
import type { Answers, Usage } from "../core/generate.ts";
import { seconds } from "../core/seconds.ts";
import { EventStream } from "../http/event-stream.ts";
import { refusalOf } from "../http/http-error.ts";

/** How an endpoint formats its choices. */
export interface Form {
  /** Prefix of response ids. */
  id: string;
  /** Value of the `object` field in a whole response. `chunk` is the value in streamed chunks. */
  object: string;
  chunk: string;
  /** Returns the first chunks of a streamed choice. */
  opening(index: number): object[];
  /** Computes what `more` and `whole` need for a delta. */
  prepare?(index: number, delta: Delta): Promise<void>;
  /** Returns the chunks of a streamed choice for a delta. */
  more(index: number, delta: Delta): object[];
  /** Returns a complete choice. It yields regularly. */
  whole(index: number, parts: readonly Delta[]): Slices<object>;
}

interface Sending {
  form: Form;
  /** Name of the model. */
  model: string;
  stream: boolean;
  /** Whether the last chunk of a stream reports the usage. */
  usage: boolean;
}

/** Sends the answers of a request. @throws ClientLost, or the error that ended an answer */
export function sendForm(exchange: Exchange, answers: Answers, sending: Sending): Promise<void> {
  return sending.stream ? sendStream(exchange, answers, sending) : sendWhole(exchange, answers, sending);
}

const newId = ({ id }: Form) => `${id}-${randomUUID().replaceAll("-", "")}`;

async function sendWhole(exchange: Exchange, answers: Answers, { form, model }: Sending): Promise<void> {
  const choices = await answers.read(async (parts, index) => {
    const read: Delta[] = [];
    for await (const delta of parts) {
      await form.prepare?.(index, delta);
      read.push(delta);
    }
    // An aborted answer has no last part, and is not sent.
    exchange.signal.throwIfAborted();
    return inSlices(form.whole(index, read), "answer", exchange.signal);
  });
  const usage = usageBody(answers.usage);
  await sendAnswer(exchange, { id: newId(form), object: form.object, created: seconds(), model, choices, usage });
}

async function sendStream(exchange: Exchange, answers: Answers, { form, model, usage }: Sending): Promise<void> {
  const { response, signal, service, dialect } = exchange;
  const head = { id: newId(form), object: form.chunk, created: seconds(), model };
  const event = (choices: readonly object[], last?: object) => ({
    ...head,
    choices,
    ...(usage && { usage: last ?? null }),
  });
  const events = new EventStream(response, { stallTimeout: service.settings.stallTimeout, signal });
  try {
    await answers.read(async (parts, index) => {
      let opening = form.opening(index);
      for await (const delta of parts) {
        await form.prepare?.(index, delta);
        const choices = [...opening, ...form.more(index, delta)];
        opening = [];
        await events.send(choices.map((choice) => event([choice])));
      }
    });
    if (usage) await events.send([event([], usageBody(answers.usage))]);
    await events.end("[DONE]");
  } catch (error) {
    events.fail(dialect.errorBody(refusalOf(error, dialect.parameterNames), exchange.requestId));
    throw error;
  }
}

function usageBody({ promptTokens, cachedTokens, completionTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
