import { turnsByLength } from "../../models/rope-frequencies.ts";
import { commonPrefix } from "../../tokenizer/prompt-ids.ts";
import type { Sequence } from "../sequence.ts";
import type { KvCache } from "./kv-cache.ts";

/** Minimum number of tokens that a copy adds to a slot. Fewer tokens are faster to compute than to copy. */
export const MIN_SHARED = 16;

interface Follower {
  leader: Sequence;
  /** The leader's slot. */
  slot: number;
  /** Number of tokens to copy. */
  length: number;
}

/**
 * Shares common prefixes between running prompts. One prompt computes the prefix, and the others wait and copy its cache rows. In
 * deterministic mode only whole chunks are copied, whose bits equal those that each prompt would compute itself.
 */
export class SharedPrefixes {
  private readonly cache: KvCache;
  /**
   * Shared prefixes are multiples of this number of tokens: the size of a prefill chunk in deterministic mode, else 1. Chunks begin at a
   * prompt's first token.
   */
  private readonly chunk: number;
  private readonly followers = new Map<Sequence, Follower>();

  constructor(cache: KvCache, chunk: number) {
    this.cache = cache;
    this.chunk = chunk;
  }

  /** Finds the running sequence with the longest common prefix for a new one in `slot`. */
  admit(sequence: Sequence, slot: number, slots: ReadonlyMap<Sequence, number>): void {
    const { cache, chunk } = this;
    if (turnsByLength(cache.model.config)) return; // keys depend on the sequence's length
    let best: Follower | undefined;
    for (const [leader, from] of slots) {
      // If a sequence dropped its oldest tokens, its slot no longer holds its first ids.
      if (leader === sequence || leader.context.length !== leader.ids.length) continue;
      // A copied prefix is not scored. A scoring sequence can therefore only follow another sample of its prompt, because both share their
      // scores.
      if (sequence.isScoring && leader.scores !== sequence.scores) continue;
      const common = Math.min(commonPrefix(leader.ids, sequence.context), sequence.context.length - 1);
      // Tokens that a leader generated were computed one by one, not in chunks.
      const length = chunk === 1 ? common : Math.floor(Math.min(common, leader.promptLength) / chunk) * chunk;
      if (length > (best?.length ?? 0)) best = { leader, slot: from, length };
    }
    if (best && best.length >= cache.ids(slot).length + MIN_SHARED) this.followers.set(sequence, best);
  }

  /** Whether a sequence waits for a prefix that another one computes. */
  waits(sequence: Sequence): boolean {
    return this.followers.has(sequence);
  }

  /** Whether any sequence waits. */
  get hasFollowers(): boolean {
    return this.followers.size > 0;
  }

  /** Removes a sequence that pauses. Sequences that waited for it compute the prefix themselves. */
  forget(sequence: Sequence): void {
    this.followers.delete(sequence);
    for (const [follower, { leader }] of this.followers) if (leader === sequence) this.followers.delete(follower);
  }

  /**
   * Copies the prefixes that leaders have computed. If a leader has left before its prefix was complete, the follower
   * computes the prefix itself.
   */
  async settle(slots: ReadonlyMap<Sequence, number>): Promise<void> {
    for (const [sequence, { leader, slot: from, length }] of this.followers) {
      const to = slots.get(sequence);
      if (to === undefined) {
        this.followers.delete(sequence);
        continue;
      }
      const held = this.cache.ids(from);
      const isComputed = held.length >= length && commonPrefix(held, sequence.context) >= length;
      if (!isComputed && slots.get(leader) === from) continue;
      this.followers.delete(sequence);
      if (isComputed && (await this.cache.copySlot(from, to, length))) sequence.cachedTokens = length;
    }
  }
}
