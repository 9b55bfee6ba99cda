// Relative position biases: learned biases of attention scores by the distance between two tokens (T5, Raffel et al. 2020; MPNet, Song et
// al. 2020).
import { cast, concat, embedding, linear, reshape, scale, split, type Value } from "../graph/index.ts";
import type { ForwardContext, Heads } from "./context.ts";

/** Describes a family's table of biases. */
export interface RelativeBias {
  /** Name of the table, (buckets, heads), without `.weight`. */
  name: string;
  /** Index of position 0 in the table of positions. */
  first: number;
  /** Maximum number of tokens in a text. */
  positions: number;
}

const BUCKETS = 32;
const MAX_DISTANCE = 128;

/**
 * Returns T5's bucket of a distance, key position minus query position. Half of the buckets are for keys after the
 * query. In each half, the first buckets hold one distance each, and the others grow logarithmically up to
 * MAX_DISTANCE. The logarithm is computed in f32, as in transformers, because rounding decides the bucket.
 */
export function bucketOf(distance: number): number {
  const { fround, log } = Math;
  const half = BUCKETS / 2;
  const single = half / 2;
  const far = Math.abs(distance);
  const place = () => {
    const share = fround(fround(log(fround(far / single))) / fround(log(MAX_DISTANCE / single)));
    return Math.min(half - 1, single + Math.floor(fround(share * (half - single))));
  };
  return (distance > 0 ? half : 0) + (far < single ? far : place());
}

/** Rounds the longest text's length up to one of a few sizes, so that few programs are compiled. */
export function placesFor(length: number): number {
  if (length > 64) return Math.ceil(length / 64) * 64;
  return length > 32 ? 64 : length > 16 ? 32 : 16;
}

/**
 * Returns the constants of a family with relative biases. `relative.buckets` has the bucket of each distance as a one-hot row.
 * `relative.zero` marks distance 0, and `relative.heads` is the identity matrix.
 */
export function relativeConstants(positions: number, heads: number): Map<string, Float32Array> {
  const places = placesFor(positions);
  // Distances 0 to places − 1, then −places to −1, as `toeplitz` expects.
  const buckets = new Float32Array(2 * places * BUCKETS);
  for (let i = 0; i < 2 * places; i++) buckets[i * BUCKETS + bucketOf(i < places ? i : i - 2 * places)] = 1;
  const zero = new Float32Array(2 * places);
  zero[0] = 1;
  const unit = new Float32Array(heads * heads);
  for (let h = 0; h < heads; h++) unit[h * heads + h] = 1;
  return new Map([
    ["relative.buckets", buckets],
    ["relative.zero", zero],
    ["relative.heads", unit],
  ]);
}

/** Repeats x's last dimension n times. */
function repeated(x: Value, n: number): Value {
  if (n === 1) return x;
  const half = repeated(x, n >> 1);
  return concat(n % 2 === 1 ? [half, half, x] : [half, half]);
}

/**
 * Builds Toeplitz matrices, whose entries depend on column minus row. Each vector of length 2 · places is repeated, and the result is cut
 * into rows of length 2 · places − 1. So each row is shifted by one column against the row above.
 * @param x (n, 2 · places), for distances 0 to places − 1, then −places to −1 @returns (n, places · places)
 */
function toeplitz(x: Value, n: number, places: number): Value {
  const row = 2 * places - 1;
  const [flat] = split(repeated(x, places), [places * row, places]);
  const [square] = split(reshape(flat!, [n * places, row]), [places, places - 1]);
  return reshape(square!, [n, places * places]);
}

/** Selects the rows of distances below `places` from a table of all distances. @param x (2 · all, width) as one row */
function nearest(x: Value, width: number, places: number): Value {
  const all = x.last / (2 * width);
  if (all === places) return reshape(x, [2 * places, width]);
  const [ahead, _, behind] = split(x, [places * width, 2 * (all - places) * width, places * width]);
  return reshape(concat([ahead!, behind!]), [2 * places, width]);
}

/**
 * Adds relative biases to plain attention. Each query is extended by its biases for all key positions, each key by a one-hot vector of
 * its position, and each value by zeros. The product of query and key is then the score plus the bias, so attention needs no operand for
 * biases. Heads become wider by the length of the longest text, so memory grows with the square of this length.
 * @returns a layer's attention function, from heads (rows, heads, width) to (rows, heads, width)
 */
export function relativeAttention(
  context: ForwardContext,
  { name, first, positions }: RelativeBias,
  { heads, headDim }: { heads: number; headDim: number },
): (layer: number, operands: Heads) => Value {
  const { dtype } = context;
  const places = Math.min(placesFor(context.longest ?? positions), placesFor(positions));
  const table = cast(context.weight(`${name}.weight`), "f32"); // (buckets, heads)
  const unit = reshape(context.constant("relative.heads"), [heads, heads]);
  const buckets = nearest(context.constant("relative.buckets"), BUCKETS, places);
  const zero = reshape(nearest(context.constant("relative.zero"), 1, places), [1, 2 * places]);
  // Rows before `first` are unused positions.
  const look = (square: Value) => {
    const row = reshape(square, [1, places * places]);
    const whole = first > 0 ? concat([split(row, [first * places, (places - first) * places])[0]!, row]) : row;
    return embedding(reshape(whole, [first + places, places]), context.positions, { dtype });
  };
  const byDistance = linear(linear(unit, table), buckets); // (heads, 2 · places)
  const squares = reshape(toeplitz(byDistance, heads, places), [1, heads * places * places]);
  const rows = context.positions.dim(0);
  const perHead = (parts: readonly Value[]) => reshape(concat(parts), [rows, heads, places]);
  const biases = perHead(split(squares, Array(heads).fill(places * places)).map(look));
  // Attention multiplies the bias by 1/√headDim too, so the one-hot vectors are scaled by √headDim.
  const oneHot = look(scale(toeplitz(zero, 1, places), Math.sqrt(headDim)));
  const marks = perHead(Array(heads).fill(oneHot));
  const zeros = scale(marks, 0);
  return (layer, { q, k, v }) => {
    const wide = { q: concat([q, biases]), k: concat([k, marks]), v: concat([v, zeros]) };
    const o = context.attend(layer, wide, { causal: false, scale: 1 / Math.sqrt(headDim) });
    return split(o, [headDim, places])[0]!;
  };
}
