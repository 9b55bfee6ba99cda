// Log-probabilities in OpenAI's two forms: that of chats and the older one of completions.
import type { Piece } from "../generate/sequence.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

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
  top_logprobs: Record<string, number>[] | null;
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
    top_logprobs: top
      ? pieces.map((piece) => Object.fromEntries((piece.top ?? []).map((c) => [c.text, finite(c.logprob)])))
      : null,
    text_offset: tokens.map((token) => {
      at += token.length;
      return at - token.length;
    }),
  };
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
