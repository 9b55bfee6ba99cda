// Merges of vocabularies that have scores instead.
import { invalidFile } from "./tokenizer-file.ts";

/** The types of SentencePiece's pieces, which GGUF has as `tokenizer.ggml.token_type`. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const maxPieceLength = 512;
const maxSplits = 1 << 25;

/**
 * SentencePiece joins the two neighbours whose union has the highest score, the leftmost of equals. That is BPE with a
 * merge for every split of a piece into two pieces, ranked by the piece's score; equal scores share a rank.
 */
export function mergesFromScores(
  tokens: string[],
  types: ArrayLike<number>,
  scores: ArrayLike<number>,
  where: string,
): { merges: string[]; mergeRanks: Uint32Array } {
  const takesPart = (id: number) => types[id] === TokenType.normal || types[id] === TokenType.userDefined;
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (takesPart(id) && !ids.has(token)) ids.set(token, id);
  });
  const order = [...ids.values()].sort((a, b) => scores[b]! - scores[a]! || a - b);

  const merges: string[] = [];
  const ranks: number[] = [];
  let rank = -1;
  let equals: [left: number, right: number][] = [];
  // The order in which transformers writes merges of one score; to us they have one rank.
  const flush = () => {
    equals.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (const [left, right] of equals) merges.push(tokens[left]!, tokens[right]!);
    for (const _ of equals) ranks.push(rank);
    equals = [];
  };
  let lastScore = Number.NaN;
  let splits = 0;
  for (const id of order) {
    const piece = tokens[id]!;
    if (piece.length > maxPieceLength) {
      throw invalidFile(`${where}[${id}]`, `at most ${maxPieceLength} characters`, piece.length);
    }
    splits += piece.length * piece.length;
    if (splits > maxSplits) throw invalidFile(where, "shorter tokens", `${splits} characters to split`);
    if (scores[id] !== lastScore) {
      flush();
      rank++;
    }
    lastScore = scores[id]!;
    for (let i = 1; i < piece.length; i++) {
      const left = piece.slice(0, i);
      const leftId = left.isWellFormed() ? ids.get(left) : undefined;
      const rightId = leftId === undefined ? undefined : ids.get(piece.slice(i));
      if (rightId !== undefined) equals.push([leftId!, rightId]);
    }
  }
  flush();
  return { merges, mergeRanks: Uint32Array.from(ranks) };
}
