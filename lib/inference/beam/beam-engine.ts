import type { Constraint } from "../../constrain/index.ts";
import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { eachUrgently } from "../../core/slices.ts";
import { runShape } from "../async-prefill.ts";
import type { KvCache } from "../cache/kv-cache.ts";
import { sampleAndLogitsProgram, sampleProgram } from "../programs.ts";
import type { Progress } from "../progress.ts";
import type { SampleResults } from "../sampling/sample-results.ts";
import { plainInputs } from "../sampling/sampling-inputs.ts";
import { type Piece, type Sequence, withoutOldest } from "../sequence.ts";
import { fill, moveBeams } from "./beam-cache.ts";
import { changedContinuations, isPlain, plainContinuations } from "./beam-candidates.ts";
import { BeamSearch, type Continuations, searchWidth } from "./beam-search.ts";
import { BeamTexts } from "./beam-texts.ts";

/**
 * Page size of beam search if the model's caches are not paged. It is small, because each beam has a separate last
 * page.
 */
export const BEAM_PAGE_SIZE = 16;

/** Beam search for one prompt. */
class Group {
  /** The sequences that receive the best hypotheses, in order. */
  readonly sequences: readonly Sequence[];
  readonly search: BeamSearch;
  private readonly texts: BeamTexts;
  /** Slot of each beam. */
  slots: number[];
  /** Context of each beam. */
  contexts: readonly (readonly number[])[];
  /** Constraint on the rest of each beam's text. Undefined without a constraint. */
  forms: readonly (Constraint | undefined)[];
  /** Slots of this group that hold no beam. */
  readonly free: number[];

  constructor(sequences: readonly Sequence[], slots: number[]) {
    const [first] = sequences as [Sequence];
    const { beams, stopTokens } = first.options;
    this.sequences = sequences;
    this.texts = new BeamTexts(first);
    this.search = new BeamSearch(beams!, {
      limit: first.limit,
      endTokens: stopTokens.size,
      ends: (tokens, parent) =>
        stopTokens.has(tokens.at(-1)!) ||
        this.forms[parent]?.after(tokens.at(-1)!).finished === true ||
        this.texts.ends(tokens, this.search.beams[parent]!.tokens) ||
        tokens.length >= first.limit,
    });
    this.contexts = [first.context];
    this.forms = [first.constraint];
    this.free = slots;
    this.slots = [slots.pop()!];
  }

  get prompt(): Sequence {
    return this.sequences[0]!;
  }

  get length(): number {
    return this.contexts[0]!.length;
  }

  /**
   * Advances the search by one step, without moving cache content.
   * @returns for each beam, the index of the previous beam that it continues
   */
  advance(rows: readonly Continuations[]): number[] {
    this.search.advance(rows);
    const { beams } = this.search;
    this.contexts = beams.map(({ parent, tokens }) => [...this.contexts[parent]!, tokens.at(-1)!]);
    this.forms = beams.map(({ parent, tokens }) => this.forms[parent]?.after(tokens.at(-1)!));
    return beams.map(({ parent }) => parent);
  }

  /**
   * Yields the best hypotheses as pieces of their sequences.
   * @throws HeddleError if there are fewer hypotheses than wanted
   */
  *pieces(): Generator<Piece> {
    const { finished } = this.search;
    const { length: n } = this.sequences;
    if (finished.length < n)
      throw new HeddleError(
        finished.length === 0 ? "NUMERICAL" : "INVALID_ARGUMENT",
        `n: expected at most ${finished.length}, the number of allowed continuations, got ${n}`,
      );
    for (const [rank, sequence] of this.sequences.entries()) {
      const { choices, tokens, score } = finished[rank]!;
      sequence.score = score;
      sequence.cachedTokens = this.prompt.cachedTokens;
      const stopped = this.texts.haveEnded(tokens);
      for (const [i, choice] of choices.entries()) yield sequence.accept(choice, stopped && i === choices.length - 1);
    }
  }
}

/**
 * Beam search for several prompts. Each run extends all beams of all prompts by one token. Beams share the pages of
 * their common prefix, so memory holds a prompt only once. Sliding layers store a separate window per beam.
 * @param cache has at least `numBeams` slots; prompts wait until slots are free
 * @param sequences `n` sequences per prompt, in order; they receive the prompt's best hypotheses
 * @returns the pieces of each prompt's hypotheses when its search has ended
 */
export async function* runBeams(
  cache: KvCache,
  sequences: readonly Sequence[],
  progress: Progress,
): AsyncGenerator<readonly Piece[], void, undefined> {
  const started = performance.now();
  const [first] = sequences;
  if (!first) return;
  const { options } = first;
  const { deterministic, n, signal } = options;
  const { numBeams } = options.beams!;
  const waiting: Sequence[][] = [];
  for (let i = 0; i < sequences.length; i += n) waiting.push(sequences.slice(i, i + n));
  const step = stepOf(cache, first, signal);
  const free = Array.from({ length: cache.slots }, (_, i) => i).reverse();
  let active: Group[] = [];
  throwIfAborted(signal);
  try {
    if (first.limit === 0) return;
    while (waiting.length > 0 || active.length > 0) {
      const admitted: Group[] = [];
      while (free.length >= numBeams && waiting.length > 0)
        admitted.push(new Group(waiting.shift()!, free.splice(-numBeams)));
      for (const { sequences } of admitted) for (const { constraint } of sequences) await constraint?.prepare();
      for (const { prompt } of admitted) await cache.reserve(prompt.reservedLength);
      const places = (groups: readonly Group[]) =>
        groups.flatMap(({ slots, contexts }) => slots.map((slot, i) => ({ slot, context: contexts[i]! })));
      for (const group of active) makeRoom(cache, group);
      await cache.reserve(Math.max(...[...active, ...admitted].map(({ length }) => length)));
      const filling = { deterministic, signal, progress };
      await fill(cache, places(active), { ...filling, ready: [] });
      const shared = await fill(cache, places(admitted), { ...filling, ready: places(active) });
      for (const [i, { prompt }] of admitted.entries()) prompt.cachedTokens = shared[i]!;
      active.push(...admitted);
      const before = performance.now();
      const rows = await step(active);
      for (const [i, group] of active.entries()) {
        const parents = group.advance(rows[i]!);
        group.slots = await moveBeams(cache, group.slots, group.search.done ? [] : parents, group.free);
      }
      progress.decodedTokens += active.length; // each text grows by one token, whatever the number of beams
      progress.decodeMs += performance.now() - before;
      throwIfAborted(signal);
      for (const group of active.filter(({ search }) => search.done)) {
        free.push(...group.free);
        progress.firstTokenMs ??= performance.now() - started;
        const pieces: Piece[] = [];
        await eachUrgently(group.pieces(), (piece) => void pieces.push(piece));
        yield pieces;
        throwIfAborted(signal);
      }
      active = active.filter(({ search }) => !search.done);
    }
  } finally {
    cache.clear();
  }
}

/** Drops the oldest ids of beams that exceed the context. All beams have the same length. */
function makeRoom(cache: KvCache, group: Group): void {
  const { contextLength } = group.prompt;
  if (group.length <= contextLength) return;
  group.contexts = group.contexts.map((context) => withoutOldest(context, contextLength));
  for (const slot of group.slots) cache.truncate(slot, 0);
}

/** Returns a step function. It runs every beam's last id and returns each beam's likeliest continuations, by group. */
function stepOf(cache: KvCache, { options }: Sequence, signal: AbortSignal | undefined) {
  const { vocabSize } = cache.model.config;
  const { topLogprobs, stopTokens, deterministic } = options;
  const plain = isPlain(options);
  const width = Math.min(vocabSize, searchWidth(options.beams!, stopTokens.size));
  const top = plain ? Math.max(width, topLogprobs) : topLogprobs;
  const shape = runShape(cache, { top, deterministic });
  return async (groups: readonly Group[]): Promise<Continuations[][]> => {
    const segments = groups.flatMap(({ slots, contexts }) =>
      slots.map((slot, i) => ({ slot, ids: contexts[i]!.slice(-1), length: contexts[i]!.length })),
    );
    const inputs = { ...plainInputs(segments.length), logitRows: Int32Array.from(segments, (_, i) => i) };
    const program = plain ? sampleProgram : sampleAndLogitsProgram;
    const results = (await cache.run(program, segments, { shape, inputs, signal })) as unknown as SampleResults;
    const out: Continuations[][] = [];
    let row = 0;
    for (const { prompt, search, slots, forms } of groups) {
      if (plain) out.push(slots.map((_, i) => plainContinuations(results, row + i, top, topLogprobs)));
      else {
        const { promptLength, index, ids } = prompt;
        const contexts = search.beams.map(({ tokens }) => ({ ids: [...ids, ...tokens], promptLength, index }));
        const of = { options, firstRow: row, vocabSize, width, stride: top };
        const masks = [];
        for (const form of forms) masks.push(await form?.mask([], signal));
        out.push(await changedContinuations(results, contexts, { ...of, masks }));
      }
      row += slots.length;
    }
    return out;
  };
}
