// Log-probabilities in OpenAI's two forms: that of chats and the older one of completions.

import type { PromptScores } from "../generate/prompt-scores.ts";
import type { Piece, TopCandidate } from "../generate/sequence.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { pause } from "../tokenizer/slices.ts";

interface TokenLogprob {
  token: string;
  logprob: number;
  /** UTF-8 of the token; null for one that is a part of a character. */
  bytes: number[] | null;
}
export type ChatLogprobs = { content: (TokenLogprob & { top_logprobs: TokenLogprob[] })[] };

export interface TextLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[] | null;
  /** UTF-16 units before each token, of their texts. */
  text_offset: number[];
}

function entry(text: string, logprob: number): TokenLogprob {
  return { token: text, logprob: finite(logprob), bytes: text.includes("\ufffd") ? null : [...Buffer.from(text)] };
}

/** JSON has no infinity; OpenAI writes -9999 for what is impossible. */
function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : -9999;
}

export function chatLogprobs(pieces: readonly Piece[], tokenizer: Tokenizer): ChatLogprobs {
  return {
    content: pieces.map(({ token, logprob, top = [] }) => ({
      ...entry(tokenizer.decode([token]), logprob),
      top_logprobs: top.map((candidate) => entry(candidate.text, candidate.logprob)),
    })),
  };
}

/** @param top whether the likeliest tokens are wanted @param offset units of the choice before these pieces */
export function textLogprobs(
  pieces: readonly Piece[],
  tokenizer: Tokenizer,
  { top, offset }: { top: boolean; offset: number },
): TextLogprobs {
  const tokens = pieces.map(({ token }) => tokenizer.decode([token]));
  let at = offset;
  return {
    tokens,
    token_logprobs: pieces.map(({ logprob }) => finite(logprob)),
    top_logprobs: top ? pieces.map(({ top = [] }) => topOf(top)) : null,
    text_offset: tokens.map((token) => {
      at += token.length;
      return at - token.length;
    }),
  };
}

function topOf(candidates: readonly TopCandidate[]): Record<string, number> {
  return Object.fromEntries(candidates.map((c) => [c.text, finite(c.logprob)]));
}

/** Of an echoed prompt, and the units of its tokens' texts. */
export interface EchoedLogprobs {
  logprobs: TextLogprobs;
  length: number;
}

/** Of a prompt's tokens, special ones among them, which are no part of an echoed text. */
export async function promptLogprobs(
  ids: readonly number[],
  scores: PromptScores,
  tokenizer: Tokenizer,
  { top }: { top: boolean },
): Promise<EchoedLogprobs> {
  const logprobs: TextLogprobs = { tokens: [], token_logprobs: [], top_logprobs: top ? [] : null, text_offset: [] };
  let length = 0;
  for (const [i, id] of ids.entries()) {
    const logprob = scores.logprobs[i]!;
    const candidates = scores.top?.[i];
    logprobs.tokens.push(tokenizer.decode([id]));
    logprobs.token_logprobs.push(logprob === null ? null : finite(logprob));
    logprobs.top_logprobs?.push(candidates ? topOf(candidates) : null);
    logprobs.text_offset.push(length);
    length += tokenizer.decode([id], { skipSpecialTokens: true }).length;
    await pause();
  }
  return { logprobs, length };
}

export function joinTextLogprobs(parts: readonly TextLogprobs[]): TextLogprobs {
  const tops = parts.map((part) => part.top_logprobs);
  return {
    tokens: parts.flatMap((part) => part.tokens),
    token_logprobs: parts.flatMap((part) => part.token_logprobs),
    top_logprobs: tops.includes(null) ? null : tops.flatMap((top) => top ?? []),
    text_offset: parts.flatMap((part) => part.text_offset),
  };
}
