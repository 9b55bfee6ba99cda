import { eachUrgently } from "../core/slices.ts";
import { runShape } from "./async-prefill.ts";
import { type KvCache, PREFILL_ROWS } from "./cache/kv-cache.ts";
import { choiceProgram, type ProgramShape, prefillProgram, sampleAndLogitsProgram, sampleProgram } from "./programs.ts";
import { scoredRows } from "./prompt-scores.ts";
import type { Segment } from "./row-data.ts";
import { processLogits } from "./sampling/logit-processors.ts";
import { choiceOf, type SampleResults } from "./sampling/sample-results.ts";
import { type Draw, masked, samplingInputs } from "./sampling/sampling-inputs.ts";
import type { Choice, Piece, Sequence } from "./sequence.ts";
import type { Drafts } from "./speculative/speculate.ts";

/** Maximum number of rows of a prompt per run in deterministic mode. */
export const DETERMINISTIC_ROWS = 64;

/** A sequence that draws in this run: one token after its last id, and one after each id of its draft. */
export interface Turn {
  sequence: Sequence;
  /** Index in the run of the row of its last id, which draws the first token. */
  row: number;
  draft: readonly number[];
}

/** Adds the drawn tokens to the sequence, up to the first one that differs from the draft. */
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

/** Counts the rows of a run, except the rows of drafts. If all sequences decode, each has one row. */
export function promptRows({ segments, ready }: Run): number {
  const rows = segments.reduce((n, s) => n + s.ids.length, 0);
  return rows - ready.reduce((n, turn) => n + turn.draft.length, 0);
}

/** Consecutive rows of a run that score tokens of a prompt. */
interface Scoring {
  sequence: Sequence;
  /** Index of the first row in the run. */
  row: number;
  /** Position of the first row in the sequence. */
  position: number;
  count: number;
}

/** The content of a run. */
export interface Run {
  segments: Segment[];
  ready: Turn[];
  scoring: Scoring[];
  /** Number of rows of each sequence. */
  rows: Map<Sequence, number>;
}

/** Composes the next run: decoding sequences first, then as much of the prompts as fits. */
export async function nextRun(
  cache: KvCache,
  slots: ReadonlyMap<Sequence, number>,
  { deterministic, drafts }: { deterministic: boolean; drafts: Drafts | undefined },
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
  const run: Run = { segments: [], ready: [], scoring: [], rows: new Map() };
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
    const guess =
      drafts && whole && part.length === 1 ? cache.sameRotation(length, await drafts.propose(sequence)) : [];
    const segment = { slot, ids: [...part, ...guess], length };
    run.segments.push(segment);
    run.rows.set(sequence, segment.ids.length);
    if (whole) run.ready.push({ sequence, row: row + part.length - 1, draft: guess });
    row += segment.ids.length;
  }
  return run;
}

/** Makes a run. @returns for each turn, the choices after its last id and after each id of its draft */
export async function step(
  cache: KvCache,
  run: Run,
  options: { deterministic: boolean; draftTokens: number; signal: AbortSignal | undefined },
): Promise<Choice[][]> {
  const { segments, ready, scoring } = run;
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
    // A draft must be verified with the same bits as single steps, so a run with drafts is deterministic.
    deterministic: deterministic || (draftTokens > 0 && promptRows(run) === segments.length),
  });
  if (ready.length === 0 && scoring.length === 0) {
    await cache.run(prefillProgram, segments, { shape, signal });
    return [];
  }
  const draws: Draw[] = [];
  const logitRows: number[] = [];
  for (const { sequence, row, draft } of ready) {
    for (let k = 0; k <= draft.length; k++) {
      draws.push({ sequence, ids: k === 0 ? sequence.ids : [...sequence.ids, ...draft.slice(0, k)] });
      logitRows.push(row + k);
    }
  }
  const forced = scoring.flatMap(({ sequence, row, position, count }) =>
    Array.from({ length: count }, (_, i) => {
      logitRows.push(row + i);
      return { sequence, ids: sequence.ids, scored: position + i };
    }),
  );
  const allowed = [...(await masked(draws, signal)), ...forced];
  const inputs = { ...samplingInputs(allowed, cache.contextLength), logitRows: Int32Array.from(logitRows) };
  // The draws in which a processor acts. The draw after k ids of a draft is k steps ahead of the sequence.
  const changed = [...draws.keys()].filter((i) => {
    const { sequence, ids } = draws[i]!;
    return ids.length - sequence.ids.length >= sequence.idleSteps;
  });
  const program = changed.length > 0 ? sampleAndLogitsProgram : sampleProgram;
  const results = (await cache.run(program, segments, { shape, inputs, signal })) as unknown as SampleResults;
  await eachUrgently(forced.entries(), ([i, { sequence, scored }]) =>
    sequence.scores!.add(scored, choiceOf(results, draws.length + i, top, sequence.options.promptLogprobs!)),
  );
  const choices = draws.map(({ sequence }, i) => choiceOf(results, i, top, sequence.options.topLogprobs));
  if (changed.length > 0)
    await applyProcessors(cache, allowed, changed, { choices, logits: results.logits!, shape, signal });
  let last = 0;
  return ready.map(({ draft }) => {
    last += draft.length + 1;
    return choices.slice(last - draft.length - 1, last);
  });
}

/**
 * Lets processors change the logits of some draws, and chooses their tokens again. The reported log-probabilities come from the model's
 * own logits.
 * @param rows indices of the draws
 * @param of.choices of all draws; those of the rows are replaced
 */
async function applyProcessors(
  cache: KvCache,
  draws: readonly Draw[],
  rows: readonly number[],
  of: {
    choices: Choice[];
    logits: Float32Array;
    shape: Omit<ProgramShape, "cache">;
    signal: AbortSignal | undefined;
  },
): Promise<void> {
  const { choices, logits, shape, signal } = of;
  const { vocabSize } = cache.model.config;
  const rowOf = (i: number) => logits.subarray(i * vocabSize, (i + 1) * vocabSize);
  const changed = new Float32Array(rows.length * vocabSize);
  for (const [place, i] of rows.entries()) {
    const { sequence, ids } = draws[i]!;
    const row = changed.subarray(place * vocabSize, (place + 1) * vocabSize);
    row.set(rowOf(i));
    const { promptLength, index } = sequence;
    processLogits(row, sequence.options.logitProcessors, { ids, promptLength, index });
  }
  const inputs = samplingInputs(
    rows.map((i) => draws[i]!),
    cache.contextLength,
  );
  const { token } = (await cache.runChoice(choiceProgram, { logits: changed, ...inputs }, shape, signal)) as {
    token: Int32Array;
  };
  for (const [place, i] of rows.entries()) {
    const choice = choices[i]!;
    const raw = rowOf(i);
    // A logit minus its log-probability is the same for all tokens: the logarithm of the softmax's denominator.
    const logSum = raw[choice.token]! - choice.logprob;
    choice.token = token[place]!;
    choice.logprob = raw[choice.token]! - logSum;
  }
}
