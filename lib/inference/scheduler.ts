import { HeddleError, invalidArgument } from "../core/errors.ts";
import type { CacheDType } from "../models/cache-shape.ts";
import type { Model } from "../models/model.ts";
import { keysKeepLength } from "../models/rope-frequencies.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { canRunAhead, decodeAhead } from "./async-decode.ts";
import { KvCache } from "./cache/kv-cache.ts";
import { SharedPrefixes } from "./cache/shared-prefix.ts";
import { placed } from "./callback-context.ts";
import { accept, bestSlot, DETERMINISTIC_ROWS, nextRun, RESERVED_AHEAD, rewind, step } from "./engine.ts";
import {
  type GenerateOptions,
  type OptionContext,
  type ResolvedOptions,
  resolveOptions,
} from "./generation-options.ts";
import { PieceStream } from "./piece-stream.ts";
import { promptScores } from "./prompt-scores.ts";
import { type Piece, promptName, Sequence } from "./sequence.ts";
import { asked } from "./stop.ts";

/** The parts of a language model that the scheduler uses. `LanguageModel` has them. */
export interface SchedulableModel {
  readonly model: Model;
  readonly tokenizer: Tokenizer | undefined;
  /** Maximum number of tokens in a sequence. */
  readonly contextLength: number;
  readonly cacheDtype: CacheDType;
  readonly cachePageSize: number | undefined;
  readonly optionContext: OptionContext;
  /** @throws HeddleError INVALID_ARGUMENT for options that need a tokenizer if the model has none */
  checkTexts(options: ResolvedOptions): void;
}

export interface SchedulerOptions {
  /** Maximum number of sequences per run. More wait for their turn. */
  slots: number;
  /** Makes bits independent of other sequences. No rows are then shared between sequences. */
  deterministic: boolean;
}

/** A sequence and the stream of its pieces. */
export interface Scheduled {
  readonly sequence: Sequence;
  readonly stream: PieceStream;
}

const noDraft = async (): Promise<number[]> => [];

/**
 * Continuous batching (Yu et al. 2022, "Orca"): sequences of independent callers share runs. A sequence joins between two runs when a slot is
 * free, and leaves when it ends. Slots keep their content, so that a prompt with a common prefix continues from there. A sequence whose
 * reader falls behind pauses. A sequence whose reader has left frees its slot at once. A sequence that makes a run fail ends alone.
 */
export class Scheduler {
  private readonly model: SchedulableModel;
  private readonly options: SchedulerOptions;
  private readonly waiting: Scheduled[] = [];
  private readonly slots = new Map<Sequence, number>();
  /** Sequences with a slot, by the index of their pieces. */
  private readonly running = new Map<number, Scheduled>();
  /** Errors that callers' conditions have thrown, by the same index. */
  private readonly failures = new Map<number, { error: unknown }>();
  private readonly free: number[];
  private readonly cache: KvCache;
  private readonly shared: SharedPrefixes;
  /** The current run: its abort controller, and its rows. */
  private run: { controller: AbortController; rows: ReadonlyMap<Sequence, number> } | undefined;
  /** Sequences of a failed run. Each is run alone, to find the one at fault. */
  private suspects = new Set<Sequence>();
  /** Whether the last run was aborted because a caller left. Decoding sequences then go first, so that aborts cannot starve them. */
  private interrupted = false;
  /** Whether a sequence has joined, left or resumed since the loop last checked. */
  private changed = false;
  private wake: (() => void) | undefined;
  private busy = false;
  private working: Promise<void> | undefined;
  private closed: HeddleError | undefined;
  private submitted = 0;
  private drawn = 0;

  constructor(model: SchedulableModel, options: SchedulerOptions) {
    this.model = model;
    this.options = options;
    const { slots, deterministic } = options;
    const { contextLength, cacheDtype: dtype, cachePageSize: pageSize } = model;
    this.cache = new KvCache(model.model, { slots, contextLength, dtype, pageSize });
    this.shared = new SharedPrefixes(this.cache, deterministic ? DETERMINISTIC_ROWS : 1);
    this.free = Array.from({ length: slots }, (_, slot) => slot);
  }

  /** Sequences with a slot, those without, and all tokens drawn so far. */
  get counts(): { running: number; waiting: number; tokens: number } {
    const running = [...this.running.values()].filter(({ stream }) => !stream.isCancelled).length;
    return { running, waiting: this.waiting.length, tokens: this.drawn };
  }

  /** Resolves options for the scheduler. @throws HeddleError INVALID_ARGUMENT, DISPOSED */
  resolve(options: GenerateOptions): ResolvedOptions {
    if (this.closed !== undefined) throw this.closed;
    const { model } = this;
    model.model.assertLive();
    const { deterministic } = this.options;
    // The model's default beam search does not apply to shared runs.
    const resolved = resolveOptions(
      { ...options, numBeams: options.numBeams ?? 1, deterministic },
      model.optionContext,
    );
    if (resolved.beams) throw invalidArgument("numBeams", "1 where sequences share runs", resolved.beams.numBeams);
    model.checkTexts(resolved);
    return resolved;
  }

  /**
   * Submits prompts, `n` samples of each, in order. They begin when slots are free.
   * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, before any of them begins; DISPOSED
   */
  submit(prompts: readonly (readonly number[])[], options: GenerateOptions): Scheduled[] {
    const { model } = this;
    const resolved = this.resolve(options);
    const { contextLength, tokenizer } = model;
    const all = prompts.flatMap((ids, p) => {
      const scores = promptScores(ids, resolved, tokenizer);
      const name = promptName(p, prompts.length);
      return Array.from({ length: resolved.n }, (_, sample) => {
        const index = this.submitted++;
        const own = this.contained(resolved, index, p * resolved.n + sample);
        return this.scheduled(new Sequence(ids, own, { index, sample, contextLength, tokenizer, scores, name }));
      });
    });
    for (const one of all)
      if (one.sequence.finishReason) one.stream.end();
      else this.waiting.push(one);
    this.notify();
    if (!this.busy) {
      this.busy = true;
      this.working = this.work();
    }
    return all;
  }

  /**
   * Wraps a caller's functions. They get indices of the caller's sequences, from 0 on. A condition that throws ends only its sequence, because
   * the other sequences of the run must keep their tokens.
   */
  private contained(options: ResolvedOptions, index: number, place: number): ResolvedOptions {
    const { logitProcessors, stopConditions } = options;
    if (logitProcessors.length + stopConditions.length === 0) return options;
    return {
      ...options,
      logitProcessors: logitProcessors.map((change) => (logits, of) => change(logits, placed(of, place))),
      stopConditions: stopConditions.map((condition) => (of) => {
        try {
          return asked(condition, placed(of, place));
        } catch (error) {
          this.failures.set(index, { error });
          return true;
        }
      }),
    };
  }

  /** Ends all sequences with `error`, and frees the cache. */
  async close(error: HeddleError = new HeddleError("ABORTED", "scheduler: closed")): Promise<void> {
    this.closed ??= error;
    for (const { stream } of this.waiting.splice(0)) stream.end(this.closed);
    for (const { stream } of this.running.values()) stream.end(this.closed);
    this.run?.controller.abort();
    this.notify();
    await this.working;
    this.cache.dispose();
  }

  private scheduled(sequence: Sequence): Scheduled {
    const one: Scheduled = {
      sequence,
      stream: new PieceStream((what) => {
        if (what === "cancelled") this.left(one);
        this.notify();
      }),
    };
    return one;
  }

  /** Aborts the current run if fewer of its rows are still wanted than not. */
  private left(one: Scheduled): void {
    const at = this.waiting.indexOf(one);
    if (at >= 0) this.waiting.splice(at, 1);
    const rows = this.run?.rows;
    if (!rows?.has(one.sequence)) return;
    let [wanted, unwanted] = [0, 0];
    for (const [sequence, count] of rows)
      if (this.isWanted(sequence)) wanted += count;
      else unwanted += count;
    if (wanted < unwanted) this.run!.controller.abort();
  }

  private isWanted({ index }: Sequence): boolean {
    return this.running.get(index)?.stream.isCancelled === false;
  }

  private isPaused({ index }: Sequence): boolean {
    return this.running.get(index)?.stream.isFull === true;
  }

  private notify(): void {
    this.changed = true;
    this.wake?.();
    this.wake = undefined;
  }

  /** The loop: until there is nothing to do. */
  private async work(): Promise<void> {
    try {
      while (this.closed === undefined && (this.waiting.length > 0 || this.slots.size > 0)) {
        this.changed = false;
        this.dropCancelled();
        await this.admit();
        const active = this.unpaused();
        if (active.size > 0) await this.advance(active);
        else if (this.slots.size > 0 && !this.changed)
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
      }
    } catch (error) {
      // An internal error: fail all callers instead of leaving them waiting.
      for (const { stream } of this.waiting.splice(0)) stream.end(error);
      for (const sequence of [...this.slots.keys()]) this.finish(sequence, error);
    } finally {
      if (this.closed !== undefined) for (const sequence of [...this.slots.keys()]) this.finish(sequence, this.closed);
      this.busy = false;
    }
  }

  /** Releases a sequence's slot. The slot keeps its content for prompts with a common prefix. */
  private finish(sequence: Sequence, error?: unknown): void {
    const slot = this.slots.get(sequence);
    if (slot === undefined) return;
    this.slots.delete(sequence);
    // Without a common prefix, the last free slot is taken: the least recently used one.
    this.free.unshift(slot);
    this.suspects.delete(sequence);
    this.shared.forget(sequence);
    this.running.get(sequence.index)!.stream.end(error);
    this.running.delete(sequence.index);
    this.failures.delete(sequence.index);
  }

  private dropCancelled(): void {
    for (const sequence of [...this.slots.keys()]) if (!this.isWanted(sequence)) this.finish(sequence);
  }

  private async admit(): Promise<void> {
    const { cache, free, waiting, slots } = this;
    if (waiting.length === 0) return;
    // Running sequences keep the model's old state. The cache switches when they have ended.
    if (slots.size === 0) cache.renew(this.model.model);
    else if (!cache.isOf(this.model.model)) return;
    const anew = this.options.deterministic || keysKeepLength(cache.model.config);
    while (free.length > 0 && waiting.length > 0) {
      const one = waiting.shift()!;
      const { sequence } = one;
      const slot = bestSlot(cache, free, sequence);
      free.splice(free.indexOf(slot), 1);
      slots.set(sequence, slot);
      this.running.set(sequence.index, one);
      try {
        if (anew || sequence.isScoring) cache.truncate(slot, 0);
        else rewind(cache, slot, sequence.context);
        sequence.cachedTokens = cache.ids(slot).length;
        this.shared.admit(sequence, slot, slots);
        await cache.reserve(Math.min(sequence.expectedLength, sequence.context.length + RESERVED_AHEAD));
      } catch (error) {
        this.finish(sequence, error);
      }
    }
  }

  private unpaused(): Map<Sequence, number> {
    return new Map([...this.slots].filter(([sequence]) => this.isWanted(sequence) && !this.isPaused(sequence)));
  }

  /** Runs once, or several times without a check in between. */
  private async advance(active: ReadonlyMap<Sequence, number>): Promise<void> {
    let group: ReadonlyMap<Sequence, number> = active;
    try {
      await this.prepare(active);
      group = this.nextGroup(active);
      const decoding = [...group].map(([sequence, slot]) => ({ sequence, slot }));
      if (group.size === active.size && this.suspects.size === 0 && canRunAhead(this.cache, decoding))
        await this.runAhead(group);
      else await this.runOnce(group);
      for (const sequence of group.keys()) this.suspects.delete(sequence);
      this.interrupted = false;
    } catch (error) {
      this.failed(group, error);
    }
  }

  private async prepare(active: ReadonlyMap<Sequence, number>): Promise<void> {
    const { cache, slots, shared } = this;
    for (const [sequence, slot] of active) {
      if (sequence.outgrown) {
        sequence.dropOldest();
        rewind(cache, slot, sequence.context);
      }
      cache.fit(slot, sequence.context.length);
    }
    await shared.settle(slots);
    for (const sequence of slots.keys()) if (!active.has(sequence)) shared.forget(sequence);
  }

  /** The active sequences of the next run, without those that wait for a prefix that another one computes. */
  private nextGroup(active: ReadonlyMap<Sequence, number>): ReadonlyMap<Sequence, number> {
    let group = [...active].filter(([sequence]) => !this.shared.waits(sequence));
    if (group.length === 0) {
      for (const sequence of active.keys()) this.shared.forget(sequence);
      group = [...active];
    }
    const suspect = group.find(([sequence]) => this.suspects.has(sequence));
    if (suspect) return new Map([suspect]);
    const decoding = this.interrupted ? group.filter(([sequence, slot]) => this.missing(sequence, slot) === 1) : [];
    return new Map(decoding.length > 0 ? decoding : group);
  }

  private missing(sequence: Sequence, slot: number): number {
    return sequence.context.length - this.cache.ids(slot).length;
  }

  private async runAhead(group: ReadonlyMap<Sequence, number>): Promise<void> {
    const { deterministic } = this.options;
    const decoding = [...group].map(([sequence, slot]) => ({ sequence, slot }));
    const signal = this.begin(new Map(decoding.map(({ sequence }) => [sequence, 1])));
    const enough = () => this.changed || [...group.keys()].some((sequence) => this.isPaused(sequence));
    for await (const pieces of decodeAhead(this.cache, decoding, { deterministic, signal, enough })) this.give(pieces);
  }

  private async runOnce(group: ReadonlyMap<Sequence, number>): Promise<void> {
    const { cache } = this;
    const { deterministic } = this.options;
    const run = await nextRun(cache, group, { deterministic, draft: noDraft });
    const { segments, ready } = run;
    const bySlot = new Map([...group].map(([sequence, slot]) => [slot, sequence]));
    const signal = this.begin(new Map(segments.map(({ slot, ids }) => [bySlot.get(slot)!, ids.length])));
    await cache.reserve(Math.max(...[...group.keys()].map((s) => s.context.length)));
    const choices = await step(cache, run, { deterministic, draftTokens: 0, signal });
    this.give(ready.flatMap((turn, i) => accept(turn, choices[i]!)));
    // Sequences that only score their prompt end without a piece.
    for (const { sequence } of ready) if (sequence.limit === 0) this.finish(sequence);
  }

  private begin(rows: ReadonlyMap<Sequence, number>): AbortSignal {
    const controller = new AbortController();
    this.run = { controller, rows };
    return controller.signal;
  }

  private give(pieces: readonly Piece[]): void {
    this.drawn += pieces.length;
    for (const piece of pieces) {
      const { sequence, stream } = this.running.get(piece.index)!;
      const failure = this.failures.get(piece.index);
      if (!failure) stream.push(piece);
      if (piece.finishReason) this.finish(sequence, failure?.error);
    }
  }

  private failed(group: ReadonlyMap<Sequence, number>, error: unknown): void {
    // Queued runs may have written more rows than were delivered.
    for (const [sequence, slot] of group)
      if (this.slots.has(sequence)) this.cache.truncate(slot, sequence.context.length - 1);
    if (error instanceof HeddleError && error.code === "ABORTED") this.interrupted = true;
    else if (group.size > 1) this.suspects = new Set(group.keys());
    else for (const sequence of group.keys()) this.finish(sequence, error);
  }
}
