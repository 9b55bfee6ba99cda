import type { Tensor } from "../graph/index.ts";
import { squarePiece } from "./square-sums.ts";

/** Elements of a parameter that one rank updates. */
export interface Piece {
  /** Name of the parameter. */
  readonly name: string;
  /** Index of the first element. */
  readonly start: number;
  /** Number of elements. */
  readonly count: number;
}

/**
 * Returns a piece of a tensor: the tensor itself if the piece is all of it, otherwise a view, as a vector. Appends the view to `views`,
 * whose owner disposes of it.
 */
export function cutPiece(tensor: Tensor, { start, count }: Piece, views: Tensor[]): Tensor {
  if (count === tensor.elements) return tensor;
  const view = tensor.part(start, count);
  views.push(view);
  return view;
}

/** Whether a parameter is large enough to be divided among ranks. Smaller ones, such as norms, belong to one rank as a whole. */
export function isDivisible(elements: number): boolean {
  return elements > squarePiece(elements);
}

/** A parameter to divide among ranks. */
interface Shared {
  readonly name: string;
  readonly elements: number;
  /** Whether one rank must update all of it, as Muon requires. */
  readonly whole: boolean;
  /** Number of optimizer state values per element. */
  readonly state: number;
}

/**
 * Divides parameters among ranks, so that all hold about the same amount of optimizer state. A large parameter that may be cut is spread over
 * the ranks, so that all ranks share the work of summing its gradient. The squares of its gradient are summed piece by piece. A
 * parameter is cut only between these pieces, so that the gradient's norm has the same bits as on one rank.
 * @returns the pieces of each rank, at most one per parameter; later elements belong to later ranks
 */
export function partition(parameters: readonly Shared[], ranks: number): readonly (readonly Piece[])[] {
  const parts: Piece[][] = Array.from({ length: ranks }, () => []);
  const loads: number[] = new Array(ranks).fill(0);
  const give = (rank: number, { name, state }: Shared, start: number, count: number) => {
    parts[rank]!.push({ name, start, count });
    loads[rank]! += count * state;
  };
  // Whole matrices first, the largest before the others, each to the rank with the least state so far. The other
  // parameters can then be cut to fill the gaps.
  const matrices = parameters.filter(({ whole }) => whole).toSorted((a, b) => b.elements - a.elements);
  for (const one of matrices) give(loads.indexOf(Math.min(...loads)), one, 0, one.elements);
  let total = loads.reduce((sum, load) => sum + load, 0);
  for (const one of parameters.filter(({ whole }) => !whole)) {
    const piece = squarePiece(one.elements);
    total += one.elements * one.state;
    const missing = loads.map((load) => Math.max(0, total / ranks - load));
    let start = 0;
    for (const [rank, pieces] of apportion(missing, Math.ceil(one.elements / piece)).entries()) {
      const count = Math.min(pieces * piece, one.elements - start);
      if (count > 0) give(rank, one, start, count);
      start += count;
    }
  }
  return parts;
}

/** Divides `count` items in proportion to `weights`, at least one of which is above 0, by the method of the largest remainder. */
function apportion(weights: readonly number[], count: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => (weight / total) * count);
  const given = shares.map(Math.floor);
  const left = count - given.reduce((sum, items) => sum + items, 0);
  const byRemainder = shares.map((share, i) => ({ i, remainder: share - given[i]! }));
  byRemainder.sort((a, b) => b.remainder - a.remainder || a.i - b.i);
  for (const { i } of byRemainder.slice(0, left)) given[i]! += 1;
  return given;
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
