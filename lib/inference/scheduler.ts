import { throwIfAborted } from "../core/errors.ts";
import { keysKeepLength } from "../models/rope-frequencies.ts";
import { commonPrefix } from "../tokenizer/prompt-ids.ts";
import { canRunAhead, type Decoding, decodeAhead } from "./async-decode.ts";
import { PromptsAhead } from "./async-prefill.ts";
import type { KvCache } from "./cache/kv-cache.ts";
import { SharedPrefixes } from "./cache/shared-prefix.ts";
import type { Speculation } from "./generation-options.ts";
import { newProgress, type Progress } from "./progress.ts";
import type { Piece, Sequence } from "./sequence.ts";
import { Drafts } from "./speculative/speculate.ts";
import { accept, DETERMINISTIC_ROWS, nextRun, promptRows, type Run, step } from "./step.ts";

/** Options of a scheduler. */
interface SchedulerOptions {
  deterministic: boolean;
  /** Whether there is a single sequence, which may continue the cache's content even in deterministic mode. */
  single?: boolean;
  /** Settings for drafts, if runs verify several tokens at once. */
  speculation?: Speculation | undefined;
  /** Aborts drafting. */
  signal?: AbortSignal | undefined;
  progress?: Progress;
}

/** How the caller ends runs. */
interface RunControl {
  signal: AbortSignal | undefined;
  /** Returns whether to stop after the queued runs, even if sequences could continue. */
  enough: () => boolean;
}

/** Maps sequences to their slots. */
export type Slotted = ReadonlyMap<Sequence, number>;

const none: ReadonlyMap<Sequence, number> = new Map();

/**
 * Decides which sequences run when. Each run advances all active sequences: prompts by a part, and others by a token,
 * or by the correct tokens of a draft. Every sequence whose last id was processed draws its next one. Sequences beyond
 * the cache's slots wait. Common prefixes of prompts are computed once. Runs happen only while the caller reads. A
 * round is `admit`, `prepare` and `run`.
 */
export class Scheduler {
  /** Sequences without a slot, in order. The caller adds new ones. */
  readonly waiting: Sequence[] = [];
  /** Number of rows that each sequence has in the current run. */
  rows: ReadonlyMap<Sequence, number> = none;
  private readonly running = new Map<Sequence, number>();
  /** Slots without a sequence, the least recently used last. They keep their content for prompts with a common prefix. */
  private readonly free: number[];
  private readonly cache: KvCache;
  private readonly deterministic: boolean;
  /**
   * Whether a new sequence must not reuse the keys that its slot still holds. They could have other bits (deterministic
   * mode), or belong to another sequence length (dynamic RoPE).
   */
  private readonly isolated: boolean;
  private readonly shared: SharedPrefixes;
  private readonly drafts: Drafts | undefined;
  private readonly progress: Progress;
  private readonly started = performance.now();
  /** Start time of the current round, for timings. */
  private since = 0;
  /**
   * Whether runs of this round may be queued before the previous one has ended. They may not if drafts are made or common
   * prefixes are copied, because both happen between runs.
   */
  private ahead = false;

  constructor(cache: KvCache, options: SchedulerOptions) {
    const { deterministic, single = false, speculation, signal, progress = newProgress() } = options;
    this.cache = cache;
    this.deterministic = deterministic;
    this.isolated = !single && (deterministic || keysKeepLength(cache.model.config));
    this.shared = new SharedPrefixes(cache, deterministic ? DETERMINISTIC_ROWS : 1);
    this.drafts = speculation && new Drafts(speculation, { slots: cache.slots, signal });
    this.progress = progress;
    this.free = Array.from({ length: cache.slots }, (_, slot) => slot);
  }

  /** Sequences that have a slot. */
  get slots(): Slotted {
    return this.running;
  }

  get isIdle(): boolean {
    return this.waiting.length === 0 && this.running.size === 0;
  }

  /** The next waiting sequence, if a slot is free. */
  get next(): Sequence | undefined {
    return this.free.length > 0 ? this.waiting[0] : undefined;
  }

  /** Gives the next waiting sequence a slot. After an error the sequence keeps the slot until `release`. */
  async admit(): Promise<void> {
    const { cache, free, running } = this;
    const sequence = this.waiting.shift()!;
    const slot = bestSlot(cache, free, sequence);
    free.splice(free.indexOf(slot), 1);
    running.set(sequence, slot);
    sequence.startedAt = performance.now();
    const held = cache.ids(slot);
    // The keys in the slot were rotated for a longer sequence.
    const isRolledBack = keysKeepLength(cache.model.config) && commonPrefix(held, sequence.context) < held.length;
    if (this.isolated || sequence.isScoring || isRolledBack) cache.truncate(slot, 0);
    else rewind(cache, slot, sequence.context);
    sequence.cachedTokens = cache.ids(slot).length;
    this.shared.admit(sequence, slot, running);
    await cache.reserve(sequence.reservedLength);
  }

  /** Frees a sequence's slot. */
  release(sequence: Sequence): void {
    const slot = this.running.get(sequence);
    if (slot === undefined) return;
    this.running.delete(sequence);
    this.free.unshift(slot);
  }

  /**
   * Prepares sequences for their next run.
   * @returns those that can take part; the others wait for a prefix that one of them computes
   */
  async prepare(active: Slotted): Promise<Slotted> {
    const { cache, running, shared } = this;
    for (const [sequence, slot] of active) {
      if (sequence.outgrown) {
        sequence.dropOldest();
        rewind(cache, slot, sequence.context);
      }
      cache.fit(slot, sequence.context.length);
    }
    this.rows = none;
    this.ahead = !this.drafts && !shared.hasFollowers;
    this.since = performance.now();
    if (!shared.hasFollowers) return active;
    await shared.settle(running);
    for (const sequence of running.keys()) if (!active.has(sequence)) shared.forget(sequence);
    return new Map([...active].filter(([sequence]) => !shared.waits(sequence)));
  }

  /**
   * Runs prepared sequences once. If the following runs need only the ids that the runs before them draw, they are
   * queued ahead, and one call makes several runs. Sequences that end free their slots.
   * @returns the pieces of each run
   */
  run(group: Slotted, control: RunControl): AsyncGenerator<readonly Piece[], void, undefined> {
    const decoding = [...group].map(([sequence, slot]) => ({ sequence, slot }));
    // The first token is drawn by a run that is not queued ahead, so that its time counts as prefill.
    const drawn = this.progress.firstTokenMs !== undefined;
    if (this.ahead && drawn && canRunAhead(this.cache, decoding)) return this.decode(decoding, control);
    return this.advance(group, control);
  }

  /** Frees the memory of drafts. The caller owns the cache. */
  dispose(): void {
    this.drafts?.dispose();
  }

  /** Decodes with runs queued ahead. */
  private async *decode(
    all: readonly Decoding[],
    control: RunControl,
  ): AsyncGenerator<readonly Piece[], void, undefined> {
    const { cache, deterministic, progress } = this;
    this.rows = new Map(all.map(({ sequence }) => [sequence, 1]));
    try {
      yield* decodeAhead(cache, all, { deterministic, progress, ...control });
    } finally {
      this.releaseEnded(all);
    }
  }

  /** Makes one run, after queueing parts of prompts ahead of it. */
  private async *advance(
    group: Slotted,
    { signal, enough }: RunControl,
  ): AsyncGenerator<readonly Piece[], void, undefined> {
    const { cache, deterministic, drafts, progress } = this;
    let parts: PromptsAhead | undefined;
    try {
      let run = await this.nextRun(group);
      while (this.ahead && run.ready.length + run.scoring.length === 0) {
        parts ??= new PromptsAhead(cache);
        await parts.start(run.segments, deterministic, signal);
        this.account(run, 0, performance.now() - this.since);
        yield [];
        if (enough()) return await parts.settled();
        this.since = performance.now();
        run = await this.nextRun(group);
      }
      const { ready } = run;
      const choices = await step(cache, run, { deterministic, draftTokens: drafts?.maxTokens ?? 0, signal });
      if (parts) await parts.settled();
      const now = performance.now();
      if (ready.length > 0) progress.firstTokenMs ??= now - this.started;
      const pieces = ready.flatMap((turn, i) => {
        const made = accept(turn, choices[i]!);
        if (turn.draft.length > 0) {
          drafts!.update(turn, made.length - 1);
          takeBack(cache, group.get(turn.sequence)!, turn.sequence.context);
        }
        return made;
      });
      this.releaseEnded(ready);
      this.account(run, pieces.length, now - this.since);
      yield pieces;
    } finally {
      if (parts) await parts.settled().catch(() => {}); // the error has been reported already
    }
  }

  /** Returns the next run, after reserving memory for its rows and choices. */
  private async nextRun(group: Slotted): Promise<Run> {
    const { cache, deterministic, drafts } = this;
    const run = await nextRun(cache, group, { deterministic, drafts });
    this.rows = run.rows;
    const lengths = [...group.keys()].map(({ context }) => context.length);
    // Reserve before the first part of a prompt is queued, because the cache cannot grow while a run is pending.
    await cache.reserve(Math.max(...lengths, ...run.ready.map((r) => r.sequence.context.length + r.draft.length)));
    return run;
  }

  /**
   * Releases the slots of sequences that have ended. It goes through them in reverse, so that the first sequence's slot
   * is reused last.
   */
  private releaseEnded(all: readonly { sequence: Sequence }[]): void {
    for (const { sequence } of [...all].reverse()) if (sequence.finishReason) this.release(sequence);
  }

  /**
   * Adds a run to the progress. A run counts as decoding if it has one row per sequence (without drafts) and is not the
   * first. Every other run counts as prefill.
   */
  private account(run: Run, pieces: number, ms: number): void {
    const { progress } = this;
    const rows = promptRows(run);
    if (rows === run.segments.length && progress.prefilledTokens > 0) {
      progress.decodedTokens += pieces;
      progress.decodeMs += ms;
    } else {
      progress.prefilledTokens += rows;
      progress.prefillMs += ms;
    }
  }
}

/**
 * Runs the sequences of one call. Reading drives the runs. All sequences have the same options.
 * @returns the pieces of each run; `eachPiece` flattens them
 */
export async function* runSequences(
  cache: KvCache,
  sequences: readonly Sequence[],
  progress: Progress,
): AsyncGenerator<readonly Piece[], void, undefined> {
  const [first] = sequences;
  if (!first) return;
  const { signal, deterministic, speculation } = first.options;
  const single = sequences.length === 1;
  const scheduler = new Scheduler(cache, { deterministic, single, speculation, signal, progress });
  try {
    throwIfAborted(signal);
    scheduler.waiting.push(...sequences.filter((s) => !s.finishReason));
    while (!scheduler.isIdle) {
      while (scheduler.next) await scheduler.admit();
      const group = await scheduler.prepare(scheduler.slots);
      for await (const pieces of scheduler.run(group, { signal, enough: () => false })) {
        yield pieces;
        throwIfAborted(signal);
      }
    }
  } finally {
    scheduler.dispose();
  }
}

/** Yields the pieces of runs one by one, and checks the abort signal between them. */
export async function* eachPiece(
  runs: AsyncIterable<readonly Piece[]>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Piece, void, undefined> {
  for await (const pieces of runs)
    for (const piece of pieces) {
      yield piece;
      throwIfAborted(signal);
    }
}

/** Returns the free slot that holds the longest prefix of the sequence. */
function bestSlot(cache: KvCache, free: readonly number[], sequence: Sequence): number {
  let best = free.at(-1)!;
  let most = commonPrefix(cache.ids(best), sequence.context);
  for (const slot of free) {
    const common = commonPrefix(cache.ids(slot), sequence.context);
    if (common > most) [best, most] = [slot, common];
  }
  return best;
}

/** Truncates the slot to its common prefix with the context. The last id is always run again, for its logits. */
function takeBack(cache: KvCache, slot: number, context: readonly number[]): void {
  cache.truncate(slot, Math.min(commonPrefix(cache.ids(slot), context), context.length - 1));
}

/**
 * Prepares a slot for a run that continues the context. Use `takeBack` instead if the sequence may have ended. Its last
 * id is then never run, but `fit` counts it, and clears the slot if RoPE's frequencies change at this length.
 */
function rewind(cache: KvCache, slot: number, context: readonly number[]): void {
  takeBack(cache, slot, context);
  cache.fit(slot, context.length);
}
