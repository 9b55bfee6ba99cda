import { squarePiece } from "./square-sums.ts";

/** Elements of a parameter that one rank updates. */
export interface Piece {
  readonly name: string;
  readonly start: number;
  readonly count: number;
}

/** A parameter to divide among ranks. */
export interface Shared {
  readonly name: string;
  readonly elements: number;
  /** Whether one rank must update all of it, as Muon requires. */
  readonly whole: boolean;
  /** Number of optimiser state values per element. */
  readonly state: number;
}

/**
 * Divides parameters among ranks, so that all hold about the same amount of optimiser state. A parameter is cut only at
 * multiples of `squarePiece`, where its sum of squares is cut too. So the gradient's norm has the same bits as on one
 * rank.
 * @returns the pieces of each rank, at most one per parameter
 */
export function partition(parameters: readonly Shared[], ranks: number): readonly (readonly Piece[])[] {
  const parts: Piece[][] = Array.from({ length: ranks }, () => []);
  const loads: number[] = new Array(ranks).fill(0);
  const give = (rank: number, { name, state }: Shared, start: number, count: number) => {
    const last = parts[rank]!.at(-1);
    if (last?.name === name)
      parts[rank]![parts[rank]!.length - 1] = { name, start: last.start, count: last.count + count };
    else parts[rank]!.push({ name, start, count });
    loads[rank]! += count * state;
  };
  // Large matrices first, each to the rank with the least so far. The others can then be cut to fill the gaps.
  const matrices = parameters.filter(({ whole }) => whole).toSorted((a, b) => b.elements - a.elements);
  for (const one of matrices) give(loads.indexOf(Math.min(...loads)), one, 0, one.elements);
  const rest = parameters.filter(({ whole }) => !whole);
  // State that the current rank and the later ranks hold in the end.
  let left = loads.reduce((sum, load) => sum + load, 0) + rest.reduce((sum, one) => sum + one.elements * one.state, 0);
  let rank = 0;
  for (const one of rest) {
    const piece = squarePiece(one.elements);
    for (let start = 0; start < one.elements; start += piece) {
      const count = Math.min(piece, one.elements - start);
      // Go on to the next rank if less than half of the piece fits into this rank's equal share of what is left.
      while (rank < ranks - 1 && loads[rank]! + (count * one.state) / 2 > left / (ranks - rank)) left -= loads[rank++]!;
      give(rank, one, start, count);
    }
  }
  return parts;
}

/**
 * Returns the range of a parameter's elements that each rank updates, for consecutive ranks from `first` on. `ends` has the ends of the
 * ranges. Each begins where the range before it ends.
 */
export function rangesOf(name: string, parts: readonly (readonly Piece[])[]): { first: number; ends: number[] } {
  const pieces = parts.map((part) => part.find((piece) => piece.name === name));
  const first = pieces.findIndex((piece) => piece !== undefined);
  const ends: number[] = [];
  for (const piece of pieces.slice(first, pieces.findLastIndex((one) => one !== undefined) + 1))
    ends.push(piece ? piece.start + piece.count : ends.at(-1)!);
  return { first, ends };
}
