// Generates answers: submits the prompts, streams the answers or sends them whole, and ends them as soon as the client disconnects.
import { randomUUID } from "node:crypto";
import { compiledAhead } from "../constrain/index.ts";
import type { Scheduled } from "../inference/shared-scheduler.ts";
import type { GenerateOptions } from "../language-model/index.ts";
import { type Calls, type Delta, deltas, type UsageBody, usageOf } from "./answer.ts";
import { type Exchange, generating, sendAnswer } from "./context.ts";
import { EventStream } from "./event-stream.ts";
import { Refusal, refusalOf } from "./http-error.ts";
import type { Prompts } from "./prompts.ts";

/** How an endpoint formats its choices. */
export interface Form {
  /** Prefix of response ids. */
  id: string;
  /** Values of the `object` field in responses and chunks. */
  object: string;
  chunk: string;
  /** Returns the first chunks of a streamed choice. */
  opening(index: number): object[];
  /** Computes what `more` and `whole` need for a delta. */
  prepare?(index: number, delta: Delta): Promise<void>;
  /** Returns the chunks of a streamed choice for a delta. */
  more(index: number, delta: Delta): object[];
  /** Returns a complete choice. */
  whole(index: number, parts: readonly Delta[]): object;
}

interface How {
  form: Form;
  stream: boolean;
  /** Whether the last chunk of a stream reports the usage. */
  usage: boolean;
  /** How tool calls are parsed; undefined if they are not. */
  calls?: Calls | undefined;
}

/**
 * Generates the answers of a request. They take their places in the queue before the prompts are encoded. @throws Refusal, HeddleError
 * before anything is sent; ClientLost
 */
export async function generate(
  exchange: Exchange,
  prompts: Prompts,
  options: GenerateOptions,
  how: How,
): Promise<void> {
  const { service, signal } = exchange;
  const { places, settings } = service;
  const n = options.n ?? 1;
  const count = prompts.count * n;
  if (count > settings.maxChoices)
    throw new Refusal(400, `n: expected at most ${settings.maxChoices} answers per request, got ${count}`, {
      param: "n",
      code: "invalid_value",
    });
  signal.throwIfAborted();
  const release = places.take(count);
  let all: Scheduled[] = [];
  const end = () => {
    for (const { stream } of all) stream.cancel();
    release();
  };
  signal.addEventListener("abort", end, { once: true });
  try {
    const ids = await prompts.ids();
    const ready = await compiledAhead(options, signal);
    signal.throwIfAborted();
    all = generating(service).submit(ids, ready);
    const head = { id: `${how.form.id}-${randomUUID().replaceAll("-", "")}`, model: settings.modelName };
    await (how.stream ? sendStream : sendWhole)(exchange, all, { ...how, n, head });
  } finally {
    signal.removeEventListener("abort", end);
    end();
    const { prompt_tokens: promptTokens, completion_tokens: completionTokens } = usageOf(all, n);
    exchange.count({ promptTokens, completionTokens });
  }
}

interface Sending extends How {
  n: number;
  head: { id: string; model: string };
}

const seconds = () => Math.floor(Date.now() / 1000);

async function sendWhole(exchange: Exchange, all: readonly Scheduled[], how: Sending): Promise<void> {
  const { signal } = exchange;
  const { form, calls, n, head } = how;
  const choices = await together(all, async (one, index) => {
    const parts: Delta[] = [];
    for await (const delta of deltas(one, calls)) {
      await form.prepare?.(index, delta);
      parts.push(delta);
    }
    signal.throwIfAborted();
    return form.whole(index, parts);
  });
  const { id, model } = head;
  const { object } = form;
  await sendAnswer(exchange, { id, object, created: seconds(), model, choices, usage: usageOf(all, n) });
}

async function sendStream(exchange: Exchange, all: readonly Scheduled[], how: Sending): Promise<void> {
  const { response, signal, service } = exchange;
  const { form, calls, usage, n, head } = how;
  const created = seconds();
  const { id, model } = head;
  const event = (choices: readonly object[], last?: UsageBody) => ({
    ...{ id, object: form.chunk, created, model, choices },
    ...(usage && { usage: last ?? null }),
  });
  const events = new EventStream(response, { stallTimeout: service.settings.stallTimeout, signal });
  try {
    await together(all, async (one, index) => {
      await events.send(form.opening(index).map((choice) => event([choice])));
      for await (const delta of deltas(one, calls)) {
        await form.prepare?.(index, delta);
        await events.send(form.more(index, delta).map((choice) => event([choice])));
      }
      signal.throwIfAborted();
    });
    if (usage) await events.send([event([], usageOf(all, n))]);
    await events.done();
  } catch (error) {
    events.fail(refusalOf(error).body);
    throw error;
  }
}

/** Reads all choices concurrently. If one fails, it cancels the others and waits for them. @throws the first error */
async function together<T>(
  all: readonly Scheduled[],
  read: (one: Scheduled, index: number) => Promise<T>,
): Promise<T[]> {
  let failure: { error: unknown } | undefined;
  const reading = all.map(async (one, index) => {
    try {
      return await read(one, index);
    } catch (error) {
      failure ??= { error };
      for (const { stream } of all) stream.cancel();
      throw error;
    }
  });
  const settled = await Promise.allSettled(reading);
  // Errors of the others may only result from the cancellation.
  if (failure) throw failure.error;
  return settled.map((result) => (result as PromiseFulfilledResult<T>).value);
}
