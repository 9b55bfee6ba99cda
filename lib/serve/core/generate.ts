// Generates answers: submits the prompts, hands the running answers to the endpoint, and ends them as soon as the client disconnects.
import { compiledAhead } from "../../constrain/index.ts";
import { onAbort } from "../../core/abort-listeners.ts";
import { pause } from "../../core/slices.ts";
import type { Sequence } from "../../inference/sequence.ts";
import type { Scheduled } from "../../inference/shared-scheduler.ts";
import type { GenerateOptions, LogitProcessor } from "../../language-model/index.ts";
import { Refusal } from "../http/http-error.ts";
import { type Begun, type Delta, deltas, type Reading } from "./answer.ts";
import type { Exchange } from "./context.ts";
import { generating, type Served } from "./models.ts";
import type { Prompts } from "./prompts.ts";
import type { RecordPart } from "./record.ts";

/** Numbers of tokens. A prompt is counted once, however many answers it has. */
export interface Usage {
  promptTokens: number;
  /** Tokens of the prompt that were read from the prefix cache. */
  cachedTokens: number;
  completionTokens: number;
}

/** The prompts and options of a generation. */
export interface Generation {
  prompts: Prompts;
  options: GenerateOptions;
  /** Returns the response format, if it depends on the prompt. It is called with the ids of the first prompt. */
  formatFor?: ((prompt: readonly number[]) => GenerateOptions["responseFormat"]) | undefined;
  /** Returns a processor of logits that depends on the prompt. It is called with the ids of the first prompt. */
  processorFor?: ((prompt: readonly number[]) => LogitProcessor | undefined) | undefined;
  /** How the answers are read. Undefined if they are plain text. */
  reading?: Reading | undefined;
  /** The first tokens of each answer, if the request gives them at the end of the prompts. */
  begun?: Begun | undefined;
}

/** The running answers of a request: the answers of the first prompt, then those of the second, and so on. */
export class Answers {
  private readonly all: readonly Scheduled[];
  private readonly n: number;
  private readonly how: Pick<Generation, "reading" | "begun">;
  private readonly signal: AbortSignal;
  /** Times of the first and the last token of all answers, by `performance.now()`. */
  private first: number | undefined;
  private last = 0;
  /** Numbers of tokens of answers that ended before their sequences, for example after the last allowed tool call. */
  private readonly lengths = new Map<Sequence, number>();

  /** @param of.n number of answers per prompt */
  constructor(
    all: readonly Scheduled[],
    of: { n: number; signal: AbortSignal } & Pick<Generation, "reading" | "begun">,
  ) {
    this.all = all;
    this.n = of.n;
    this.how = of;
    this.signal = of.signal;
  }

  /** The number of tokens so far. */
  get usage(): Usage {
    const usage: Usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    for (const [i, { sequence }] of this.all.entries()) {
      usage.completionTokens += this.lengths.get(sequence) ?? sequence.generated;
      if (i % this.n !== 0) continue;
      usage.promptTokens += sequence.promptLength;
      usage.cachedTokens += sequence.cachedTokens;
    }
    return usage;
  }

  /** Time at which the first answer got its slot, by `performance.now()`. Undefined while it waits. */
  get startedAt(): number | undefined {
    return this.all[0]?.sequence.startedAt;
  }

  /** Returns the time to the first token, and the mean time per token, in milliseconds. @param started when the request arrived */
  times(started: number): Pick<RecordPart, "firstTokenMs" | "tokenMs"> {
    if (this.first === undefined) return {};
    const most = this.all.reduce((count, { sequence }) => Math.max(count, sequence.generated), 0);
    return {
      firstTokenMs: this.first - started,
      ...(most > 1 && { tokenMs: (this.last - this.first) / (most - 1) }),
    };
  }

  /** Reads all answers concurrently. If one fails, it cancels the others and waits for them. @throws the first error */
  async read<T>(read: (parts: AsyncIterable<Delta>, index: number) => Promise<T>): Promise<T[]> {
    let failure: { error: unknown } | undefined;
    const reading = this.all.map(async (one, index) => {
      try {
        const result = await read(this.timed(deltas(one, this.how), one), index);
        this.signal.throwIfAborted();
        return result;
      } catch (error) {
        failure ??= { error };
        for (const { stream } of this.all) stream.cancel();
        throw error;
      }
    });
    const settled = await Promise.allSettled(reading);
    // The other answers may have failed only because they were cancelled.
    if (failure) throw failure.error;
    return settled.map((result) => (result as PromiseFulfilledResult<T>).value);
  }

  private async *timed(parts: AsyncIterable<Delta>, { sequence }: Scheduled): AsyncGenerator<Delta, void, undefined> {
    for await (const part of parts) {
      if (part.length !== undefined) this.lengths.set(sequence, part.length);
      // Ignore the part with the text of `begun`, which has no tokens. Do not ignore a last part whose only token was the stop token.
      if (part.tokens.length > 0 || (part.finishReason && sequence.generated > 0)) {
        this.last = performance.now();
        this.first ??= this.last;
      }
      yield part;
      // Without a pause, a reader as fast as the model would format all ready parts in one turn of the event loop.
      const paused = pause();
      if (paused) await paused;
    }
  }
}

/**
 * Generates the answers of a request. The answers take their places in the queue before the prompts are encoded.
 * @param send sends the answers. They are cancelled when `send` ends
 * @throws Refusal, HeddleError before anything is sent; ClientLost; the errors of `send`
 */
export async function generate(
  { service, signal, started, record }: Exchange,
  served: Served,
  { prompts, options, formatFor, processorFor, reading, begun }: Generation,
  send: (answers: Answers) => Promise<void>,
): Promise<void> {
  const { concurrency, settings } = service;
  const n = options.n ?? 1;
  const count = prompts.count * n;
  if (count > settings.maxChoices)
    throw new Refusal(400, `n: expected at most ${settings.maxChoices} answers per request, got ${count}`, {
      param: "n",
      code: "invalid_value",
    });
  signal.throwIfAborted();
  const release = concurrency.take(count);
  let all: Scheduled[] = [];
  const end = () => {
    for (const { stream } of all) stream.cancel();
    release();
  };
  const forget = onAbort(signal, end);
  let answers = new Answers([], { n, reading, begun, signal });
  try {
    const ids = await prompts.ids();
    const responseFormat = formatFor?.(ids[0]!) ?? options.responseFormat;
    const processor = processorFor?.(ids[0]!);
    const own = { responseFormat, ...(processor && { logitProcessors: [processor] }) };
    const ready = await compiledAhead({ ...options, ...own }, signal);
    signal.throwIfAborted();
    all = generating(served).submit(ids, ready);
    answers = new Answers(all, { n, reading, begun, signal });
    await send(answers);
  } finally {
    forget();
    end();
    record({ model: served.name, ...answers.usage, ...answers.times(started) });
  }
}
