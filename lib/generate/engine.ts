import { throwIfAborted } from "./abort.ts";
import { type KvCache, PREFILL_ROWS, type Segment } from "./kv-cache.ts";
import { choiceProgram, type ProgramShape, prefillProgram, sampleAndLogitsProgram, sampleProgram } from "./programs.ts";
import { samplingInputs } from "./sampling-inputs.ts";
import type { Choice, Piece, Sequence } from "./sequence.ts";

/** What a call did, for usage and timings; filled as it goes. */
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

/** Rows of a prompt that a deterministic sequence takes at a time. */
const DETERMINISTIC_ROWS = 64;
/** Tokens for which room is taken at once; beyond them the cache grows as it is needed. */
const RESERVED_AHEAD = 1024;

/**
 * The generation loop: each run takes all active sequences one step further, prompts in chunks and the others by a token,
 * and every sequence whose last id was fed draws its next. Sequences beyond the cache's slots wait until one is free.
 */
export async function* runSequences(
  cache: KvCache,
  sequences: readonly Sequence[],
  { signal, progress = newProgress() }: { signal?: AbortSignal | undefined; progress?: Progress } = {},
): AsyncGenerator<Piece, void, undefined> {
  const started = performance.now();
  // What one sequence computed is no use to another whose bits must not depend on it.
  const deterministic = sequences.some((s) => s.options.deterministic);
  const isolated = deterministic && sequences.length > 1;
  const waiting = sequences.filter((s) => !s.finishReason);
  const slots = new Map<Sequence, number>();
  const free = Array.from({ length: cache.slots }, (_, i) => i).reverse();
  throwIfAborted(signal);
  while (waiting.length > 0 || slots.size > 0) {
    while (free.length > 0 && waiting.length > 0) {
      const sequence = waiting.shift()!;
      const slot = bestSlot(cache, free, sequence);
      free.splice(free.indexOf(slot), 1);
      slots.set(sequence, slot);
      if (isolated) cache.truncate(slot, 0);
      else rewind(cache, slot, sequence.context);
      sequence.cachedTokens = cache.ids(slot).length;
      await cache.reserve(Math.min(sequence.expectedLength, sequence.context.length + RESERVED_AHEAD));
    }
    for (const [sequence, slot] of slots) {
      if (!sequence.outgrown) continue;
      sequence.dropOldest();
      rewind(cache, slot, sequence.context);
    }
    const before = performance.now();
    const { segments, ready } = nextRun(cache, slots, deterministic);
    await cache.reserve(Math.max(...[...slots.keys()].map((s) => s.context.length)));
    const choices = await step(cache, segments, ready, { deterministic, signal });
    const now = performance.now();
    account(progress, segments, now - before);
    if (ready.length > 0) progress.firstTokenMs ??= now - started;
    for (const [i, sequence] of ready.entries()) {
      const piece = sequence.accept(choices[i]!);
      if (piece.finishReason) {
        free.push(slots.get(sequence)!);
        slots.delete(sequence);
      }
      yield piece;
      throwIfAborted(signal);
    }
  }
}

function account(progress: Progress, segments: readonly Segment[], ms: number): void {
  const rows = segments.reduce((n, s) => n + s.ids.length, 0);
  // A run of single rows is decoding; one with a prompt in it counts as prefill.
  if (segments.every((s) => s.ids.length === 1) && progress.prefilledTokens > 0) {
    progress.decodedTokens += rows;
    progress.decodeMs += ms;
  } else {
    progress.prefilledTokens += rows;
    progress.prefillMs += ms;
  }
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** The free slot that holds most of the sequence's beginning already. */
function bestSlot(cache: KvCache, free: readonly number[], sequence: Sequence): number {
  let best = free.at(-1)!;
  let most = commonPrefix(cache.ids(best), sequence.context);
  for (const slot of free) {
    const common = commonPrefix(cache.ids(slot), sequence.context);
    if (common > most) [best, most] = [slot, common];
  }
  return best;
}

/** Keeps what the slot and the context have in common; the last id is always fed, for its logits. */
function rewind(cache: KvCache, slot: number, context: readonly number[]): void {
  cache.truncate(slot, Math.min(commonPrefix(cache.ids(slot), context), context.length - 1));
}

/** The rows of the next run: sequences that decode first, then as much of the prompts as fits. */
function nextRun(
  cache: KvCache,
  slots: ReadonlyMap<Sequence, number>,
  deterministic: boolean,
): { segments: Segment[]; ready: Sequence[] } {
  const missing = [...slots].map(([sequence, slot]) => ({
    sequence,
    slot,
    ids: sequence.context.slice(cache.ids(slot).length),
  }));
  missing.sort((a, b) => a.ids.length - b.ids.length);
  let room = Math.max(PREFILL_ROWS, cache.slots);
  const segments: Segment[] = [];
  const ready: Sequence[] = [];
  // Ready ones come first, so that row i of the choices belongs to ready[i].
  for (const { sequence, slot, ids } of missing) {
    if (room === 0) break;
    // Where a prompt is cut must not depend on who else takes room, where bits matter.
    if (deterministic && room < Math.min(ids.length, DETERMINISTIC_ROWS)) continue;
    const part = ids.slice(0, deterministic ? DETERMINISTIC_ROWS : room);
    room -= part.length;
    segments.push({ slot, ids: part });
    if (part.length === ids.length) ready.push(sequence);
  }
  return { segments, ready };
}

async function step(
  cache: KvCache,
  segments: readonly Segment[],
  ready: readonly Sequence[],
  { deterministic, signal }: { deterministic: boolean; signal: AbortSignal | undefined },
): Promise<Choice[]> {
  const top = Math.max(0, ...ready.map((s) => s.options.topLogprobs));
  const rows = Math.max(PREFILL_ROWS, cache.slots);
  const shape = { rows, logitRows: cache.slots, top, rowwise: deterministic };
  if (ready.length === 0) {
    await cache.run(prefillProgram, segments, { shape, signal });
    return [];
  }
  let row = -1;
  const logitRows = Int32Array.from(ready, (_, i) => (row += segments[i]!.ids.length));
  const inputs = { ...samplingInputs(ready, cache.shape.capacity), logitRows };
  const custom = ready.some((s) => s.options.logitProcessors.length > 0);
  const program = custom ? sampleAndLogitsProgram : sampleProgram;
  const results = (await cache.run(program, segments, { shape, inputs, signal })) as unknown as SampleResults;
  const choices = ready.map((sequence, i) => choiceOf(results, i, top, sequence.options.topLogprobs));
  if (custom) await applyProcessors(cache, ready, choices, results.logits!, inputs, shape, signal);
  return choices;
}

interface SampleResults {
  token: Int32Array;
  logprob: Float32Array;
  topIds?: Int32Array;
  topLogprobs?: Float32Array;
  logits?: Float32Array;
}

function choiceOf(results: SampleResults, row: number, stride: number, top: number): Choice {
  const choice: Choice = { token: results.token[row]!, logprob: results.logprob[row]! };
  if (top > 0) {
    choice.topIds = results.topIds!.subarray(row * stride, row * stride + top);
    choice.topLogprobs = results.topLogprobs!.subarray(row * stride, row * stride + top);
  }
  return choice;
}

/** Lets processors change the logits and chooses again; log-probabilities stay the model's own. */
async function applyProcessors(
  cache: KvCache,
  ready: readonly Sequence[],
  choices: Choice[],
  logits: Float32Array,
  { logitRows: _, ...inputs }: ReturnType<typeof samplingInputs> & { logitRows: Int32Array },
  shape: Omit<ProgramShape, "cache">,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { vocabSize } = cache.model.config;
  const changed = logits.slice();
  for (const [i, { options, ids, promptLength, index }] of ready.entries()) {
    const row = changed.subarray(i * vocabSize, (i + 1) * vocabSize);
    for (const process of options.logitProcessors) process(row, { ids, promptLength, index });
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
