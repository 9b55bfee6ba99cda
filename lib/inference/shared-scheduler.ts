import { HeddleError, invalidArgument } from "../core/errors.ts";
import type { CacheDType } from "../models/cache-shape.ts";
import type { Model } from "../models/model.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { KvCache } from "./cache/kv-cache.ts";
import { withIndex } from "./callback-context.ts";
import {
  type GenerateOptions,
  type OptionContext,
  type ResolvedOptions,
  resolveOptions,
} from "./generation-options.ts";
import { PieceStream } from "./piece-stream.ts";
import { placedProcessor } from "./sampling/logit-processors.ts";
import { Scheduler, type Slotted } from "./scheduler.ts";
import { type Piece, type Sequence, sequencesOf } from "./sequence.ts";
import { asked } from "./stop.ts";

/** The parts of a language model that the scheduler uses. `LanguageModel` has them. */
interface SchedulableModel {
  readonly model: Model;
  readonly tokenizer: Tokenizer | undefined;
  /** Maximum number of tokens in a sequence. */
  readonly contextLength: number;
  readonly cacheDtype: CacheDType;
  readonly cachePageSize: number | undefined;
  readonly optionContext: OptionContext;
  /** Refuses options that need a tokenizer if the model has none. @throws HeddleError INVALID_ARGUMENT */
  checkTexts(options: ResolvedOptions): void;
}

interface SharedSchedulerOptions {
  /** Maximum number of sequences per run. Further sequences wait. */
  slots: number;
  /** Makes a sequence's results independent of other sequences, to the bit. Sequences then share no rows of the KV cache. */
  deterministic: boolean;
  /** Names of the adapters of all sequences, because a run has one set of weights. Default: the model's active ones. */
  adapters?: readonly string[] | undefined;
}

/** A sequence and the stream of its pieces. */
export interface Scheduled {
  readonly sequence: Sequence;
  readonly stream: PieceStream;
}

/**
 * Continuous batching (Yu et al. 2022, "Orca"): sequences of independent callers share one scheduler. A sequence joins between two runs
 * when a slot is free, and leaves when it ends. A sequence whose reader falls behind pauses. A sequence whose reader has left frees its
 * slot at once. If a run fails, only the sequence at fault ends. If the device is lost, all sequences end.
 */
export class SharedScheduler {
  private readonly model: SchedulableModel;
  private readonly deterministic: boolean;
  private readonly adapters: readonly string[] | undefined;
  private readonly cache: KvCache;
  private readonly scheduler: Scheduler;
  /** Waiting and running sequences, by `Sequence.index`. */
  private readonly all = new Map<number, Scheduled>();
  /** Errors thrown by callers' stop conditions, by `Sequence.index`. */
  private readonly failures = new Map<number, { error: unknown }>();
  /** Aborts the current runs. */
  private controller: AbortController | undefined;
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

  constructor(model: SchedulableModel, { slots, deterministic, adapters }: SharedSchedulerOptions) {
    this.model = model;
    this.deterministic = deterministic;
    this.adapters = adapters;
    const { contextLength, cacheDtype: dtype, cachePageSize: pageSize } = model;
    this.cache = new KvCache(model.model, { slots, contextLength, dtype, pageSize, adapters });
    this.scheduler = new Scheduler(this.cache, { deterministic });
  }

  /** Numbers of sequences with a slot and without a slot, and number of tokens drawn so far. */
  get counts(): { running: number; waiting: number; tokens: number } {
    const { slots, waiting } = this.scheduler;
    const running = [...slots.keys()].filter((sequence) => this.isWanted(sequence)).length;
    return { running, waiting: waiting.length, tokens: this.drawn };
  }

  /** Share of the KV cache that running sequences take. At 1, every slot is filled up to the context length. */
  get cacheUsage(): number {
    const { slots, contextLength } = this.cache;
    const held = [...this.scheduler.slots.keys()].reduce((sum, { context }) => sum + context.length, 0);
    return held / (slots * contextLength);
  }

  /** Resolves options for the scheduler. @throws HeddleError INVALID_ARGUMENT, DISPOSED */
  resolve(options: GenerateOptions): ResolvedOptions {
    if (this.closed !== undefined) throw this.closed;
    const { model, deterministic } = this;
    model.model.assertLive();
    // The model's default beam search does not apply to shared runs.
    const resolved = resolveOptions(
      { ...options, numBeams: options.numBeams ?? 1, deterministic },
      model.optionContext,
    );
    if (resolved.beams) throw invalidArgument("numBeams", "1 for batched sequences", resolved.beams.numBeams);
    model.checkTexts(resolved);
    return resolved;
  }

  /**
   * Submits prompts, `n` samples of each, in order. They start when slots are free.
   * @throws HeddleError INVALID_ARGUMENT or CONTEXT_OVERFLOW before any of them starts; DISPOSED
   */
  submit(prompts: readonly (readonly number[])[], options: GenerateOptions): Scheduled[] {
    const resolved = this.resolve(options);
    const { contextLength, tokenizer } = this.model;
    const first = this.submitted;
    const optionsAt = (place: number) => this.contained(resolved, first + place, place);
    const sequences = sequencesOf(prompts, resolved, { contextLength, tokenizer, first, optionsAt });
    const all = sequences.map((sequence) => this.scheduled(sequence));
    this.submitted += all.length;
    for (const one of all) {
      const { sequence, stream } = one;
      if (sequence.finishReason) {
        stream.end();
        continue;
      }
      this.all.set(sequence.index, one);
      this.scheduler.waiting.push(sequence);
    }
    this.notify();
    if (!this.busy) {
      this.busy = true;
      this.working = this.work();
    }
    return all;
  }

  /**
   * Wraps a caller's functions. Their contexts' `index` counts the caller's sequences from 0. A condition that throws
   * ends only its sequence, because the other sequences of the run must keep their tokens.
   */
  private contained(options: ResolvedOptions, index: number, place: number): ResolvedOptions {
    const { logitProcessors, stopConditions } = options;
    if (logitProcessors.length + stopConditions.length === 0) return options;
    return {
      ...options,
      logitProcessors: logitProcessors.map((processor) => placedProcessor(processor, place)),
      stopConditions: stopConditions.map((condition) => (context) => {
        try {
          return asked(condition, withIndex(context, place));
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
    this.controller?.abort();
    this.notify();
    await this.working;
    this.cache.dispose();
  }

  private scheduled(sequence: Sequence): Scheduled {
    const stream = new PieceStream((what) => {
      if (what === "cancelled") this.left(sequence);
      this.notify();
    });
    return { sequence, stream };
  }

  /**
   * Handles a sequence whose reader has left. Aborts the current run if less than half of its rows are still wanted.
   */
  private left(sequence: Sequence): void {
    const { rows, waiting } = this.scheduler;
    const at = waiting.indexOf(sequence);
    if (at >= 0) {
      waiting.splice(at, 1);
      this.finish(sequence);
    }
    if (!rows.has(sequence)) return;
    let [wanted, unwanted] = [0, 0];
    for (const [other, count] of rows)
      if (this.isWanted(other)) wanted += count;
      else unwanted += count;
    if (wanted < unwanted) this.controller?.abort();
  }

  private isWanted({ index }: Sequence): boolean {
    return this.all.get(index)?.stream.isCancelled === false;
  }

  private isPaused({ index }: Sequence): boolean {
    return this.all.get(index)?.stream.isFull === true;
  }

  private notify(): void {
    this.changed = true;
    this.wake?.();
    this.wake = undefined;
  }

  /** The loop, which runs until there is nothing to do. */
  private async work(): Promise<void> {
    const { scheduler } = this;
    try {
      while (this.closed === undefined && !scheduler.isIdle) {
        this.changed = false;
        for (const sequence of scheduler.slots.keys()) if (!this.isWanted(sequence)) this.finish(sequence);
        await this.admit();
        const active = this.unpaused();
        if (active.size > 0) await this.advance(active);
        else if (scheduler.slots.size > 0 && !this.changed)
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
      }
    } catch (error) {
      this.finishAll(error); // an internal error, which ends all sequences
    }
    if (this.closed !== undefined) this.finishAll(this.closed);
    this.busy = false;
  }

  private finishAll(error: unknown): void {
    const { waiting, slots } = this.scheduler;
    for (const sequence of [...waiting.splice(0), ...slots.keys()]) this.finish(sequence, error);
  }

  /** Ends a sequence's stream, and releases its slot. */
  private finish(sequence: Sequence, error?: unknown): void {
    const { index } = sequence;
    this.scheduler.release(sequence);
    this.suspects.delete(sequence);
    this.all.get(index)?.stream.end(error ?? this.failures.get(index)?.error);
    this.all.delete(index);
    this.failures.delete(index);
  }

  private async admit(): Promise<void> {
    const { cache, scheduler, model, adapters } = this;
    if (scheduler.waiting.length === 0) return;
    // Running sequences keep the model's old state. The cache switches when they have ended.
    if (scheduler.slots.size === 0) cache.renew(model.model, adapters);
    else if (!cache.isOf(model.model, adapters)) return;
    for (let next = scheduler.next; next; next = scheduler.next)
      try {
        await scheduler.admit();
      } catch (error) {
        this.finish(next, error);
      }
  }

  private unpaused(): Slotted {
    const { slots } = this.scheduler;
    return new Map([...slots].filter(([sequence]) => this.isWanted(sequence) && !this.isPaused(sequence)));
  }

  /** Makes one run, or several until a sequence joins, leaves or pauses. */
  private async advance(active: Slotted): Promise<void> {
    let group = active;
    try {
      const all = await this.scheduler.prepare(active);
      group = this.nextGroup(all);
      const once = group.size < all.size || this.suspects.size > 0;
      const enough = () => once || this.changed || [...group.keys()].some((sequence) => this.isPaused(sequence));
      this.controller = new AbortController();
      const { signal } = this.controller;
      for await (const pieces of this.scheduler.run(group, { signal, enough })) this.give(pieces, group);
      for (const sequence of group.keys()) this.suspects.delete(sequence);
      this.interrupted = false;
    } catch (error) {
      this.failed(group, error);
    }
  }

  /** Returns the sequences of the next run: a suspect alone, or after an abort those that decode, or else all. */
  private nextGroup(all: Slotted): Slotted {
    const suspect = [...all].find(([sequence]) => this.suspects.has(sequence));
    if (suspect) return new Map([suspect]);
    const decoding = this.interrupted ? [...all].filter(([sequence, slot]) => this.missing(sequence, slot) === 1) : [];
    return decoding.length > 0 ? new Map(decoding) : all;
  }

  private missing(sequence: Sequence, slot: number): number {
    return sequence.context.length - this.cache.ids(slot).length;
  }

  /** Delivers the pieces of a run, and ends the streams of sequences that have ended. */
  private give(pieces: readonly Piece[], group: Slotted): void {
    this.drawn += pieces.length;
    for (const piece of pieces) if (!this.failures.has(piece.index)) this.all.get(piece.index)?.stream.push(piece);
    for (const sequence of group.keys()) if (sequence.finishReason) this.finish(sequence);
  }

  private failed(group: Slotted, error: unknown): void {
    const { slots } = this.scheduler;
    const rest = [...group].filter(([sequence]) => slots.has(sequence));
    // Queued runs may have written cache rows for tokens that were not delivered.
    for (const [sequence, slot] of rest) this.cache.truncate(slot, sequence.context.length - 1);
    if (error instanceof HeddleError && error.code === "ABORTED") this.interrupted = true;
    else if (error instanceof HeddleError && error.code === "DEVICE_LOST") this.finishAll(error);
    else if (group.size > 1) this.suspects = new Set(rest.map(([sequence]) => sequence));
    else for (const [sequence] of rest) this.finish(sequence, error);
  }
}
