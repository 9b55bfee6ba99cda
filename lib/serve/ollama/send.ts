// Sends answers in Ollama's form, whole or as JSON lines, with measured times.

import type { CallPart } from "../../answers/parts.ts";
import type { Piece } from "../../inference/sequence.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { type Answer, addPart } from "../core/answer.ts";
import { argumentsObject } from "../core/arguments.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import type { Answers } from "../core/generate.ts";
import { EventStream, JSON_LINES } from "../http/event-stream.ts";
import { refusalOf } from "../http/http-error.ts";
import { chatLogprobs } from "../openai/logprobs.ts";

/** The content of an answer or of a part of it. Each field may be empty. */
export interface Said {
  text: string;
  reasoning: string;
  calls: object[];
}

/** A part of an answer without content. */
export const NOTHING: Said = { text: "", reasoning: "", calls: [] };

/** How an endpoint sends its answers. */
export interface Form {
  /** The model's name in the request. */
  model: string;
  stream: boolean;
  /** Formats the content of a part: as `message` in /api/chat, as `response` in /api/generate. */
  fields(said: Said): object;
  /** The tokenizer, if log-probabilities are sent. */
  logprobs?: Tokenizer | undefined;
  times: Times;
}

const nanoseconds = (ms: number) => Math.round(ms * 1e6);

/** The times of a request, by `performance.now()`. */
export class Times {
  private readonly began = performance.now();
  private loaded = this.began;

  /** Notes that the model is loaded. */
  load(): void {
    this.loaded = performance.now();
  }

  /** Returns the time since the request began, and the part of it that loading the model took, in nanoseconds. */
  get durations(): { total_duration: number; load_duration: number } {
    return {
      total_duration: nanoseconds(performance.now() - this.began),
      load_duration: nanoseconds(this.loaded - this.began),
    };
  }
}

/** Returns the first fields of a line. */
export const headOf = (model: string) => ({ model, created_at: new Date().toISOString() });

/** Sends the answer of a request. @throws ClientLost, or the error that ended the answer */
export async function sendOllama(exchange: Exchange, answers: Answers, form: Form): Promise<void> {
  const { response, service, signal, dialect } = exchange;
  const waiting = { stallTimeout: service.settings.stallTimeout, signal };
  const events = form.stream ? new EventStream(response, waiting, JSON_LINES) : undefined;
  try {
    await answers.read(async (parts) => {
      const answer: Answer = { text: "", reasoning: "", calls: [], tokens: [], finishReason: "stop" };
      const calls = new WholeCalls();
      let first: number | undefined;
      const logprobs: object[] = [];
      for await (const part of parts) {
        first ??= performance.now();
        addPart(answer, part);
        if (events === undefined) logprobs.push(...logprobsOf(part.tokens, form));
        await events?.send(lines({ ...part, calls: calls.push(part.calls) }, part.tokens, form));
      }
      signal.throwIfAborted();
      const ended = performance.now();
      const last = { ...lastFields(answer, answers, { first, ended }), ...form.times.durations };
      if (events) {
        await events.send(lines({ ...NOTHING, calls: calls.flush() }, [], form));
        return events.end({ ...headOf(form.model), ...form.fields(NOTHING), ...last });
      }
      const said = { ...answer, calls: answer.calls.map(callOf) };
      await sendAnswer(exchange, { ...headOf(form.model), ...bodyOf(said, logprobs, form), ...last });
    });
  } catch (error) {
    events?.fail(dialect.errorBody(refusalOf(error, dialect.parameterNames), exchange.requestId));
    throw error;
  }
}

/** Returns the fields of an answer or of a part of it. */
function bodyOf(said: Said, logprobs: readonly object[], { fields }: Form): object {
  return { ...fields(said), ...(logprobs.length > 0 && { logprobs }) };
}

/** Returns the log-probabilities of tokens, or none if they are not sent. */
function logprobsOf(tokens: readonly Piece[], { logprobs: tokenizer }: Form): readonly object[] {
  return tokenizer ? chatLogprobs(tokens, tokenizer).content : [];
}

/** Returns the line of a part, or none for an empty part. */
function lines(said: Said, tokens: readonly Piece[], form: Form): object[] {
  const logprobs = logprobsOf(tokens, form);
  const isEmpty = said.text + said.reasoning === "" && said.calls.length === 0 && logprobs.length === 0;
  return isEmpty ? [] : [{ ...headOf(form.model), ...bodyOf(said, logprobs, form), done: false }];
}

/** Returns the fields at the end of an answer. */
function lastFields(
  { finishReason }: Answer,
  { usage: { promptTokens, completionTokens }, startedAt }: Answers,
  { first, ended }: { first: number | undefined; ended: number },
): object {
  const firstToken = first ?? ended;
  return {
    done: true,
    done_reason: finishReason === "length" ? "length" : "stop",
    prompt_eval_count: promptTokens,
    prompt_eval_duration: nanoseconds(firstToken - (startedAt ?? firstToken)),
    eval_count: completionTokens,
    eval_duration: nanoseconds(ended - firstToken),
  };
}

type Call = Answer["calls"][number];

const callOf = ({ id, name, arguments: given }: Call, index: number) => ({
  id,
  function: { index, name, arguments: argumentsObject(given) },
});

/** Collects the pieces of calls, because Ollama's API sends whole calls. A call is whole when the next one begins, or the answer ends. */
export class WholeCalls {
  private open: Call | undefined;
  private index = 0;

  /** Returns the calls that are whole. */
  push(parts: readonly CallPart[]): object[] {
    const whole: object[] = [];
    for (const { id, name = "", arguments: more } of parts) {
      if (this.open?.id === id) this.open.arguments += more;
      else {
        whole.push(...this.flush());
        this.open = { id, name, arguments: more };
      }
    }
    return whole;
  }

  /** Returns the last call, after the last part. */
  flush(): object[] {
    const last = this.open ? [callOf(this.open, this.index++)] : [];
    this.open = undefined;
    return last;
  }
}
