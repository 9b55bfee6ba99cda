import type { Mask } from "../../constrain/index.ts";
import type { Model } from "../../models/model.ts";
import { commonPrefix } from "../../tokenizer/prompt-ids.ts";
import { prefill } from "../async-prefill.ts";
import { KvCache } from "../cache/kv-cache.ts";
import type { Speculation } from "../generation-options.ts";
import { sampleProgram } from "../programs.ts";
import { type Draw, masked, samplingInputs } from "../sampling/sampling-inputs.ts";
import type { Sequence } from "../sequence.ts";
import type { Turn } from "../step.ts";

/**
 * Guesses how a sequence continues. The model then checks the whole guess in one run. It draws every token as it
 * would without the guess, so the text is the same but takes less time (Leviathan et al. 2023). Unlike in that paper, a
 * guessed token is accepted only if it is the token drawn. Greedy and seeded outputs are therefore identical.
 */
interface Drafter {
  /** Proposes at most `most` ids that may follow, or none without a good guess. */
  propose(sequence: Sequence, most: number): Promise<number[]>;
  dispose(): void;
}

/** Maximum number of ids to match. Longer matches have better continuations, shorter ones are more frequent. */
const LONGEST_MATCH = 4;

/**
 * Finds the longest and latest earlier match of the sequence's last ids, and returns the ids that followed it. If fewer
 * than `count` ids follow the match, they are repeated, like overlapping copies in LZ77. For example, a run of equal ids
 * is continued with the same id.
 */
export function lookUp(ids: readonly number[], count: number): number[] {
  const end = ids.length;
  let best = 0;
  let from = -1;
  for (let at = end - 1; at >= 1 && best < LONGEST_MATCH; at--) {
    let length = 0;
    while (length < LONGEST_MATCH && length < at && ids[at - 1 - length] === ids[end - 1 - length]) length++;
    if (length > best) [best, from] = [length, at];
  }
  if (from < 0) return [];
  const period = end - from;
  return Array.from({ length: count }, (_, i) => ids[from + (i % period)]!);
}

/**
 * Drafts from the sequence's own text. It costs nothing, and works well if an answer repeats its prompt (Saxena 2023,
 * "prompt lookup decoding").
 */
class PromptLookup implements Drafter {
  async propose(sequence: Sequence, most: number): Promise<number[]> {
    return lookUp(sequence.context, most);
  }
  dispose(): void {}
}

/**
 * Drafts with a smaller model of the same vocabulary, using the sequence's options and seed. If the models' vocabulary
 * sizes differ, an id that one of them lacks ends a draft.
 */
class Assistant implements Drafter {
  private readonly cache: KvCache;
  private readonly slots = new Map<Sequence, number>();
  private readonly signal: AbortSignal | undefined;

  constructor(model: Model, options: { slots: number; contextLength: number; signal: AbortSignal | undefined }) {
    this.cache = new KvCache(model, options);
    this.signal = options.signal;
  }

  async propose(sequence: Sequence, most: number): Promise<number[]> {
    const { cache, signal } = this;
    const { context } = sequence;
    const { vocabSize } = cache.model.config;
    const own = sequence.options.vocabSize;
    if (most < 1 || context.length + most > cache.contextLength) return [];
    if (vocabSize < own && context.some((id) => id >= vocabSize)) return [];
    const slot = this.slotOf(sequence);
    cache.truncate(slot, Math.min(commonPrefix(cache.ids(slot), context), context.length - 1));
    cache.fit(slot, context.length);
    await cache.reserve(context.length + most);
    await prefill(cache, slot, context.slice(cache.ids(slot).length, -1), { signal, length: context.length });

    const draft: number[] = [];
    let last = context.at(-1)!;
    while (draft.length < most) {
      const draws = await masked([{ sequence, ids: [...sequence.ids, ...draft] }], signal);
      const [{ mask }] = draws as [Draw];
      if (sequence.constraint && !mask) break; // the draft's last token completes the document
      if (mask && vocabSize < own && !leavesSome(mask, vocabSize)) break;
      const inputs = { ...samplingInputs(draws, cache.shape.capacity, vocabSize), logitRows: Int32Array.of(0) };
      const shape = { rows: 1, logitRows: 1, top: 0 };
      const results = await cache.run(sampleProgram, [{ slot, ids: [last] }], { shape, inputs, signal });
      last = (results.token as Int32Array)[0]!;
      if (last >= own) break;
      draft.push(last);
      if (sequence.options.stopTokens.has(last)) break;
    }
    return draft;
  }

  /** Returns the sequence's slot. Slots of finished sequences are reused. */
  private slotOf(sequence: Sequence): number {
    const known = this.slots.get(sequence);
    if (known !== undefined) return known;
    for (const [other, slot] of this.slots) {
      if (!other.finishReason) continue;
      this.slots.delete(other);
      this.slots.set(sequence, slot);
      return slot;
    }
    const slot = this.slots.size;
    this.slots.set(sequence, slot);
    return slot;
  }

  dispose(): void {
    this.cache.dispose();
  }
}

/** Whether a mask leaves any of the first `vocabSize` tokens. */
function leavesSome(mask: Mask, vocabSize: number): boolean {
  if ("allowed" in mask) return mask.allowed.some((id) => id < vocabSize);
  return mask.forbidden.filter((id) => id < vocabSize).length < vocabSize;
}

/**
 * The length of a sequence's next draft. It grows by 3 after a draft that was accepted completely. Otherwise it
 * shrinks by up to 2, but stays above the number of accepted tokens. So text without repetitions costs little.
 */
class DraftLength {
  private length: number;
  private readonly max: number;
  constructor(max: number) {
    this.max = max;
    this.length = Math.ceil(max / 2);
  }
  get(): number {
    return this.length;
  }
  /** @param drafted number of proposed tokens @param accepted number of accepted ones */
  update(drafted: number, accepted: number): void {
    if (drafted === 0) return;
    if (accepted === drafted) this.length = Math.min(this.max, this.length + 3);
    else this.length = Math.max(1, Math.min(this.length, Math.max(accepted + 1, this.length - 2)));
  }
}

/** Makes the drafts of sequences, as their options specify. */
export class Drafts {
  /** Maximum number of tokens of a draft. */
  readonly maxTokens: number;
  private readonly drafter: Drafter;
  private readonly lengths = new WeakMap<Sequence, DraftLength>();

  constructor({ assistant, draftTokens }: Speculation, options: { slots: number; signal: AbortSignal | undefined }) {
    this.maxTokens = draftTokens;
    this.drafter = assistant
      ? new Assistant(assistant.model, { ...options, contextLength: assistant.contextLength })
      : new PromptLookup();
  }

  /** Proposes ids that may follow a decoding sequence. */
  async propose(sequence: Sequence): Promise<number[]> {
    if (sequence.room < 2) return [];
    const length = this.lengths.get(sequence) ?? new DraftLength(this.maxTokens);
    this.lengths.set(sequence, length);
    const guess = await this.drafter.propose(sequence, Math.min(length.get(), sequence.room - 1));
    return sequence.constraint && guess.length > 0 ? sequence.constraint.possible(guess) : guess;
  }

  /** Adapts the length of the next draft. @param accepted number of accepted tokens of the draft */
  update({ sequence, draft }: Turn, accepted: number): void {
    this.lengths.get(sequence)?.update(draft.length, accepted);
  }

  dispose(): void {
    this.drafter.dispose();
  }
}
