import { throwIfAborted } from "../core/errors.ts";
import { Pacer } from "../core/slices.ts";
import { keysKeepLength } from "../models/rope-frequencies.ts";
import { commonPrefix } from "../tokenizer/prompt-ids.ts";
import { canRunAhead, decodeAhead } from "./async-decode.ts";
import { PromptsAhead, runShape } from "./async-prefill.ts";
import { type KvCache, PREFILL_ROWS } from "./cache/kv-cache.ts";
import { SharedPrefixes } from "./cache/shared-prefix.ts";
import type { Speculation } from "./generation-options.ts";
import { choiceProgram, type ProgramShape, prefillProgram, sampleAndLogitsProgram, sampleProgram } from "./programs.ts";
import { scoredRows } from "./prompt-scores.ts";
import type { Segment } from "./row-data.ts";
import { processLogits } from "./sampling/logit-processors.ts";
import { choiceOf, type SampleResults } from "./sampling/sample-results.ts";
import { type Draw, masked, samplingInputs } from "./sampling/sampling-inputs.ts";
import type { Choice, Piece, Sequence } from "./sequence.ts";
import { type Drafter, DraftLength, drafterOf } from "./speculative/speculate.ts";

/** Progress of a call, for usage and timings. */
export interface Progress {
  prefilledTokens: number;
  prefillMs: number;
  decodedTokens: number;
  decodeMs: number;
  /** From the call to the first token. */
  firstTokenMs: number | undefined;
}

export function newProgress(): Progress {
  return { prefilledTokens: 0, prefillMs: 0, decodedTokens: 0, decodeMs: 0, firstTokenMs: undefined };
}

/** Rows of a prompt per run in deterministic mode. */
export const DETERMINISTIC_ROWS = 64;
/** Tokens for which cache memory is reserved ahead. Beyond them the cache grows on demand. */
export const RESERVED_AHEAD = 1024;

export interface RunOptions {
  signal?: AbortSignal | undefined;
  progress?: Progress | undefined;
  /** How drafts are made, for runs that verify several tokens at once. */
  speculation?: Speculation | undefined;
}

/**
 * The generation loop. Each run advances all active sequences: prompts by a chunk, and the others by a token, or with a drafter by the
 * tokens that it guessed right. Every sequence whose last id was processed draws its next one. Sequences beyond the cache's slots wait.
 * Common prefixes of prompts are computed once.
 * @returns the pieces of each run; `eachPiece` flattens them
 */
export async function* runSequences(
  cache: KvCache,
  sequences: readonly Sequence[],
  options: RunOptions = {},
): AsyncGenerator<readonly Piece[], void, undefined> {
  const drafter = drafterOf(options.speculation, { slots: cache.slots, signal: options.signal });
  const ahead = new PromptsAhead(cache);
  try {
    yield* loop(cache, sequences, { ...options, drafter, ahead });
  } finally {
    await ahead.settled().catch(() => {}); // the error has been reported already
    drafter?.dispose();
  }
}

async function* loop(
  cache: KvCache,
  sequences: readonly Sequence[],
  {
    signal,
    progress = newProgress(),
    speculation,
    drafter,
    ahead,
  }: RunOptions & { drafter: Drafter | undefined; ahead: PromptsAhead },
): AsyncGenerator<readonly Piece[], void, undefined> {
  const started = performance.now();
  const deterministic = sequences.some((s) => s.options.deterministic);
  // Do not share KV rows when the run is deterministic, or when RoPE depends on the sequence length.
  const isolated = sequences.length > 1 && (deterministic || keysKeepLength(cache.model.config));
  const shared = new SharedPrefixes(cache, deterministic ? DETERMINISTIC_ROWS : 1);
  const waiting = sequences.filter((s) => !s.finishReason);
  const slots = new Map<Sequence, number>();
  const free = Array.from({ length: cache.slots }, (_, i) => i).reverse();
  const lengths = new Map<Sequence, DraftLength>();
  const most = speculation?.draftTokens ?? 0;
  const draft = async (sequence: Sequence): Promise<number[]> => {
    if (!drafter || sequence.room < 2) return [];
    const known = lengths.get(sequence) ?? new DraftLength(most);
    lengths.set(sequence, known);
    const guess = await drafter.propose(sequence, Math.min(known.get(), sequence.room - 1));
    return sequence.constraint && guess.length > 0 ? sequence.constraint.possible(guess) : guess;
  };
  throwIfAborted(signal);
  while (waiting.length > 0 || slots.size > 0) {
    while (free.length > 0 && waiting.length > 0) {
      const sequence = waiting.shift()!;
      const slot = bestSlot(cache, free, sequence);
      free.splice(free.indexOf(slot), 1);
      slots.set(sequence, slot);
      if (isolated || sequence.isScoring) cache.truncate(slot, 0);
      else rewind(cache, slot, sequence.context);
      sequence.cachedTokens = cache.ids(slot).length;
      shared.admit(sequence, slot, slots);
      await cache.reserve(Math.min(sequence.expectedLength, sequence.context.length + RESERVED_AHEAD));
    }
    for (const [sequence, slot] of slots) {
      if (!sequence.outgrown) continue;
      sequence.dropOldest();
      rewind(cache, slot, sequence.context);
    }
    for (const [sequence, slot] of slots) cache.fit(slot, sequence.context.length);
    const decoding = [...slots].map(([sequence, slot]) => ({ sequence, slot }));
    if (!drafter && progress.prefilledTokens > 0 && canRunAhead(cache, decoding)) {
      const account = (pieces: number, ms: number) => {
        progress.decodedTokens += pieces;
        progress.decodeMs += ms;
      };
      for await (const pieces of decodeAhead(cache, decoding, { deterministic, signal, account })) {
        yield pieces;
        throwIfAborted(signal);
      }
      for (const { sequence, slot } of decoding) {
        if (!sequence.finishReason) continue;
        free.push(slot);
        slots.delete(sequence);
      }
      continue;
    }
    const before = performance.now();
    await shared.settle(slots);
    const running = new Map([...slots].filter(([sequence]) => !shared.waits(sequence)));
    const run = await nextRun(cache, running, { deterministic, draft });
    const { segments, ready, scoring } = run;
    // Reserve before the first part of a prompt is queued, because the cache cannot grow while a run is pending.
    await cache.reserve(Math.max(...ready.map((r) => r.sequence.context.length + r.draft.length), ...lengthsOf(slots)));
    if (ready.length + scoring.length === 0 && running.size === slots.size && !drafter) {
      await ahead.start(segments, deterministic, signal);
      account(progress, segments, ready, { pieces: 0, ms: performance.now() - before });
      yield [];
      throwIfAborted(signal);
      continue;
    }
    const choices = await step(cache, run, { deterministic, draftTokens: most, signal });
    await ahead.settled();
    const now = performance.now();
    if (ready.length > 0) progress.firstTokenMs ??= now - started;
    const pieces = ready.flatMap((turn, i) => {
      const made = accept(turn, choices[i]!);
      lengths.get(turn.sequence)?.update(turn.draft.length, made.length - 1);
      const slot = slots.get(turn.sequence)!;
      if (turn.draft.length > 0) takeBack(cache, slot, turn.sequence.context);
      if (turn.sequence.finishReason) {
        free.push(slot);
        slots.delete(turn.sequence);
        lengths.delete(turn.sequence);
      }
      return made;
    });
    account(progress, segments, ready, { pieces: pieces.length, ms: now - before });
    yield pieces;
    throwIfAborted(signal);
  }
}

/** The pieces of some runs one by one; an abort between two is heard. */
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

function lengthsOf(slots: ReadonlyMap<Sequence, number>): number[] {
  return [...slots.keys()].map((s) => s.context.length);
}

/** A sequence that draws in this run: a token after its last id, and one after each id of its draft. */
export interface Turn {
  sequence: Sequence;
  draft: readonly number[];
}

/** Takes over what was drawn, as far as the draft came true. */
export function accept({ sequence, draft }: Turn, choices: readonly Choice[]): Piece[] {
  if (sequence.limit === 0) {
    sequence.endWithPrompt();
    return [];
  }
  const pieces: Piece[] = [];
  for (const [i, choice] of choices.entries()) {
    pieces.push(sequence.accept(choice));
    if (sequence.finishReason || draft[i] !== choice.token) break;
  }
  sequence.draftedTokens += draft.length;
  sequence.acceptedTokens += pieces.length - 1;
  return pieces;
}

/** Rows of a run but for drafts: one a sequence where all of them decode. */
function promptRows(segments: readonly Segment[], ready: readonly Turn[]): number {
  const rows = segments.reduce((n, s) => n + s.ids.length, 0);
  return rows - ready.reduce((n, turn) => n + turn.draft.length, 0);
}

function account(
  progress: Progress,
  segments: readonly Segment[],
  ready: readonly Turn[],
  { pieces, ms }: { pieces: number; ms: number },
): void {
  // A run with a prompt in it counts as prefill.
  if (promptRows(segments, ready) === segments.length && progress.prefilledTokens > 0) {
    progress.decodedTokens += pieces;
    progress.decodeMs += ms;
  } else {
    progress.prefilledTokens += promptRows(segments, ready);
    progress.prefillMs += ms;
  }
}

/** The free slot that holds most of the sequence's beginning already. */
export function bestSlot(cache: KvCache, free: readonly number[], sequence: Sequence): number {
  let best = free.at(-1)!;
  let most = commonPrefix(cache.ids(best), sequence.context);
  for (const slot of free) {
    const common = commonPrefix(cache.ids(slot), sequence.context);
    if (common > most) [best, most] = [slot, common];
  }
  return best;
}

/** Keeps what the slot and the context have in common; the last id is always fed, for its logits. */
function takeBack(cache: KvCache, slot: number, context: readonly number[]): void {
  cache.truncate(slot, Math.min(commonPrefix(cache.ids(slot), context), context.length - 1));
}

/**
 * The same, for a run that continues the context. (The last id of an ended sequence may be beyond the context, and beyond a length at which
 * RoPE changes. Nothing is computed for that length.)
 */
export function rewind(cache: KvCache, slot: number, context: readonly number[]): void {
  takeBack(cache, slot, context);
  cache.fit(slot, context.length);
}

/** Consecutive rows of a run that score tokens of a prompt. */
interface Scoring {
  sequence: Sequence;
  /** The first of them: its place among the run's rows, and its position in the sequence. */
  row: number;
  position: number;
  count: number;
}

/** The content of a run. */
export interface Run {
  segments: Segment[];
  /** Turn i belongs to segment i. */
  ready: Turn[];
  scoring: Scoring[];
}

/** The rows of the next run: sequences that decode first, then as much of the prompts as fits. */
export async function nextRun(
  cache: KvCache,
  slots: ReadonlyMap<Sequence, number>,
  { deterministic, draft }: { deterministic: boolean; draft: (sequence: Sequence) => Promise<number[]> },
): Promise<Run> {
  const missing = [...slots].map(([sequence, slot]) => ({
    sequence,
    slot,
    ids: sequence.context.slice(cache.planned(slot)),
  }));
  missing.sort((a, b) => a.ids.length - b.ids.length);
  let room = Math.max(PREFILL_ROWS, cache.slots);
  const mostScored = scoredRows(cache.model.config.vocabSize);
  let [row, scorable] = [0, mostScored];
  const run: Run = { segments: [], ready: [], scoring: [] };
  for (const { sequence, slot, ids } of missing) {
    if (room === 0) break;
    const { isScoring } = sequence;
    const free = isScoring ? Math.min(room, scorable) : room;
    // In deterministic mode, the chunks of a prompt must not depend on other sequences.
    const cut = !deterministic ? free : isScoring ? Math.min(DETERMINISTIC_ROWS, mostScored) : DETERMINISTIC_ROWS;
    const part = ids.slice(0, cut);
    if (part.length === 0 || part.length > free) continue;
    room -= part.length;
    const position = cache.planned(slot);
    const count = isScoring ? sequence.scores!.rowsOf(position, part.length) : 0;
    if (count > 0) run.scoring.push({ sequence, row, position, count });
    scorable -= count;
    const { length } = sequence.context;
    const whole = part.length === ids.length;
    // Only decoding sequences speculate. A prompt ends with a single draw.
    const guess = whole && part.length === 1 ? cache.sameRotation(length, await draft(sequence)) : [];
    const segment = { slot, ids: [...part, ...guess], length };
    run.segments.push(segment);
    if (whole) run.ready.push({ sequence, draft: guess });
    row += segment.ids.length;
  }
  return run;
}

/** @returns for each turn, what was drawn after its last id and after each id of its draft */
export async function step(
  cache: KvCache,
  { segments, ready, scoring }: Run,
  options: { deterministic: boolean; draftTokens: number; signal: AbortSignal | undefined },
): Promise<Choice[][]> {
  const { deterministic, draftTokens, signal } = options;
  const { vocabSize } = cache.model.config;
  const top = Math.max(
    ...[0, ...ready.map(({ sequence }) => sequence.options.topLogprobs)],
    ...scoring.map(({ sequence }) => sequence.options.promptLogprobs!),
  );
  const shape = runShape(cache, {
    draftTokens,
    scored: scoring.length > 0 ? scoredRows(vocabSize) : 0,
    top,
    // Drafts must be judged by the bits that single steps would have made.
    deterministic: deterministic || (draftTokens > 0 && promptRows(segments, ready) === segments.length),
  });
  if (ready.length === 0 && scoring.length === 0) {
    await cache.run(prefillProgram, segments, { shape, signal });
    return [];
  }
  const draws: Draw[] = [];
  const logitRows: number[] = [];
  let end = 0;
  for (const [i, { sequence, draft }] of ready.entries()) {
    end += segments[i]!.ids.length;
    for (let k = 0; k <= draft.length; k++) {
      draws.push({ sequence, ids: k === 0 ? sequence.ids : [...sequence.ids, ...draft.slice(0, k)] });
      logitRows.push(end - 1 - draft.length + k);
    }
  }
  const forced = scoring.flatMap(({ sequence, row, position, count }) =>
    Array.from({ length: count }, (_, i) => {
      logitRows.push(row + i);
      return { sequence, ids: sequence.ids, scored: position + i };
    }),
  );
  const allowed = [...(await masked(draws, signal)), ...forced];
  const inputs = { ...samplingInputs(allowed, cache.shape.capacity), logitRows: Int32Array.from(logitRows) };
  const custom = ready.some(({ sequence }) => sequence.options.logitProcessors.length > 0);
  const program = custom ? sampleAndLogitsProgram : sampleProgram;
  const results = (await cache.run(program, segments, { shape, inputs, signal })) as unknown as SampleResults;
  await new Pacer().each(forced.entries(), ([i, { sequence, scored }]) =>
    sequence.scores!.add(scored, choiceOf(results, draws.length + i, top, sequence.options.promptLogprobs!)),
  );
  const choices = draws.map(({ sequence }, i) => choiceOf(results, i, top, sequence.options.topLogprobs));
  if (custom) await applyProcessors(cache, draws, choices, results.logits!, inputs, shape, signal);
  let last = 0;
  return ready.map(({ draft }) => {
    last += draft.length + 1;
    return choices.slice(last - draft.length - 1, last);
  });
}

/** Lets processors change the logits and chooses again; log-probabilities stay the model's own. */
async function applyProcessors(
  cache: KvCache,
  draws: readonly Draw[],
  choices: Choice[],
  logits: Float32Array,
  { logitRows: _, ...inputs }: ReturnType<typeof samplingInputs> & { logitRows: Int32Array },
  shape: Omit<ProgramShape, "cache">,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { vocabSize } = cache.model.config;
  const changed = logits.slice();
  for (const [i, { sequence, ids }] of draws.entries()) {
    const row = changed.subarray(i * vocabSize, (i + 1) * vocabSize);
    const { promptLength, index } = sequence;
    processLogits(row, sequence.options.logitProcessors, { ids, promptLength, index });
  }
  const { token } = (await cache.runChoice(choiceProgram, { logits: changed, ...inputs }, shape, signal)) as {
    token: Int32Array;
  };
  for (const [i, choice] of choices.entries()) {
    const raw = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
    const logSum = raw[choice.token]! - choice.logprob;
    choice.token = token[i]!;
    choice.logprob = raw[choice.token]! - logSum;
  }
}
