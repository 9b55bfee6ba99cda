// Formats log-probabilities in OpenAI's two forms: that of chats, and the older one of completions.

import { pause } from "../../core/slices.ts";
import type { PromptScores } from "../../inference/prompt-scores.ts";
import type { Piece, TopCandidate } from "../../inference/sequence.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { TextOffsets } from "./text-offsets.ts";

interface TokenLogprob {
  /** Id of the token, if the request asks for ids. */
  id?: number;
  token: string;
  logprob: number;
  /** UTF-8 bytes of the token, which may be part of a character; null if unknown. */
  bytes: number[] | null;
}
/** Log-probabilities in the form of chat completions. */
export type ChatLogprobs = {
  content: (TokenLogprob & {
    top_logprobs: TokenLogprob[];
    /** Entropy in nats of the distribution that `logprob` is taken from. Undefined unless the request asks for it. */
    entropy?: number;
  })[];
};
/** Extensions of log-probabilities that a request asks for. */
export interface LogprobExtensions {
  ids?: boolean;
  entropy?: boolean;
}

/** Log-probabilities in the form of completions. */
export interface TextLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[] | null;
  /** Offset of each token in the choice's text, in UTF-16 units. A token that is part of a character counts as one unit. */
  text_offset: number[];
}

function entry(tokenizer: Tokenizer, id: number, logprob: number, withIds = false): TokenLogprob {
  const token = tokenizer.tokenText(id);
  const known = tokenizer.joinsBytes ? tokenizer.tokenBytes(id) : token.includes("\ufffd") ? null : Buffer.from(token);
  return { ...(withIds && { id }), token, logprob: finite(logprob), bytes: known && [...known] };
}

/** Replaces infinities, which JSON cannot represent. OpenAI writes -9999 for impossible tokens. */
function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : -9999;
}

/** Formats log-probabilities for chat completions. */
export function chatLogprobs(
  pieces: readonly Piece[],
  tokenizer: Tokenizer,
  { ids = false, entropy: withEntropy = false }: LogprobExtensions = {},
): ChatLogprobs {
  return {
    content: pieces.map(({ token, logprob, top = [], entropy }) => ({
      ...entry(tokenizer, token, logprob, ids),
      ...(withEntropy && entropy !== undefined && { entropy }),
      top_logprobs: top.map((candidate) => entry(tokenizer, candidate.token, candidate.logprob, ids)),
    })),
  };
}

/**
 * Formats log-probabilities for completions.
 * @param top whether to include the most likely tokens
 * @param offsets computes the offsets of the choice's tokens
 */
export function textLogprobs(
  pieces: readonly Piece[],
  tokenizer: Tokenizer,
  { top, offsets }: { top: boolean; offsets: TextOffsets },
): TextLogprobs {
  return {
    tokens: pieces.map(({ token }) => tokenizer.tokenText(token)),
    token_logprobs: pieces.map(({ logprob }) => finite(logprob)),
    top_logprobs: top ? pieces.map(({ top = [] }) => topOf(top)) : null,
    text_offset: pieces.map(({ token }) => offsets.next(token)),
  };
}

/**
 * Returns the most likely tokens by their texts. If several have the same text, such as a byte token and a letter, the result has
 * only the most likely one.
 */
function topOf(candidates: readonly TopCandidate[]): Record<string, number> {
  const found = new Map<string, number>();
  for (const { text, logprob } of candidates) if (!found.has(text)) found.set(text, finite(logprob));
  return Object.fromEntries(found);
}

/** Returns the log-probabilities of a prompt's tokens, including special tokens, which are not part of the echoed text. */
export async function promptLogprobs(
  ids: readonly number[],
  scores: PromptScores,
  tokenizer: Tokenizer,
  { top }: { top: boolean },
): Promise<TextLogprobs> {
  const logprobs: TextLogprobs = { tokens: [], token_logprobs: [], top_logprobs: top ? [] : null, text_offset: [] };
  const offsets = new TextOffsets(tokenizer);
  for (const [i, id] of ids.entries()) {
    const logprob = scores.logprobs[i]!;
    const candidates = scores.top?.[i];
    logprobs.tokens.push(tokenizer.tokenText(id));
    logprobs.token_logprobs.push(logprob === null ? null : finite(logprob));
    logprobs.top_logprobs?.push(candidates ? topOf(candidates) : null);
    logprobs.text_offset.push(offsets.next(id));
    await pause();
  }
  return logprobs;
}

/** Joins the log-probabilities of consecutive parts of a text. */
export function joinTextLogprobs(parts: readonly TextLogprobs[]): TextLogprobs {
  const tops = parts.map((part) => part.top_logprobs);
  return {
    tokens: parts.flatMap((part) => part.tokens),
    token_logprobs: parts.flatMap((part) => part.token_logprobs),
    top_logprobs: tops.includes(null) ? null : tops.flatMap((top) => top ?? []),
    text_offset: parts.flatMap((part) => part.text_offset),
  };
}
