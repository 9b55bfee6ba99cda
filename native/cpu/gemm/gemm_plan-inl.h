// How a product is cut into chunks, bands and steps along k, and what room that takes.
#pragma once
#include "cpu/gemm/micro-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AVX512)
constexpr int64_t KC = 512;
constexpr int64_t tile_rows = 168 / MR * MR, tile_columns = 8 * NR;  // both (tile x KC) in L2: 336 + 512 KiB
#else
constexpr int64_t KC = 256;
constexpr int64_t tile_rows = 224 / MR * MR, tile_columns = 16 * NR;
#endif
constexpr int64_t align_floats = 16;
// Two steps along k are joined into one, because a tile can keep the sums that would otherwise go to an outer cache.
constexpr int64_t joined_steps = 2;
// Lines of a tile of `depth` floats each, where it is `most` at KC.
inline int64_t tile_lines(int64_t most, int64_t unit, int64_t depth) {
  return depth <= KC ? most : max_of(unit, most * KC / depth / unit * unit);
}
// Threads up to which each packs the shorter operand for itself: a line that one core wrote and another read is slow to
// write again (measured 7 ns; 30 where the cores lie on different dies), as the next product would.
constexpr int own_threads = 4;
// Where they do: lines of the shorter operand that are packed at a time, and partial sums of a bf16 output.
constexpr int64_t short_lines = 2048, most_sums = 8 * tile_rows * 8 * tile_columns;
// Where they do not: what is packed by all together.
constexpr int64_t chunk_rows = 8 * tile_rows, chunk_columns = 8 * tile_columns;
static_assert(MR <= NR, "what is enough bands of rows is enough of columns: a copy is never of the longer operand");

// How `extent` is cut into bands of at most `most`: as many for every thread, of nearly the same length.
struct Bands {
  int64_t unit, units, count;
  Bands(int64_t extent, int64_t unit, int64_t most, int threads) : unit(unit), units(ceil_div(extent, unit)) {
    // two, that one may help another; no slivers
    const int64_t each = ceil_div(units, threads), help = threads > 1 ? min_of<int64_t>(2, each / 4) : 1;
    count = min_of(units, threads * max_of(ceil_div(each, most / unit), max_of<int64_t>(1, help)));
  }
  int64_t begin(int64_t band) const { return units * band / count * unit; }
};
inline bool enough_for_bands(int64_t extent, int64_t unit, int threads) {
  return threads <= own_threads && ceil_div(extent, unit) >= 3 * threads;
}
inline bool small_product(int64_t m, int64_t n, int64_t k) {  // not worth waking the others
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < 64e3;
}

// `extent` in pieces of at most `most`, nearly alike, multiples of `unit`.
inline int64_t even_piece(int64_t extent, int64_t unit, int64_t most) {
  const int64_t units = ceil_div(extent, unit);
  return ceil_div(units, ceil_div(units, max_of<int64_t>(1, most / unit))) * unit;
}

// How one product is cut. The parts along k, on which its bits rest, follow from k alone.
struct GemmPlan {
  int64_t rows, columns, kc, part;           // of a chunk, of a k step, of what a register tile adds up at a time
  bool by_rows = false, by_columns = false;  // in bands of the longer operand's lines
  int64_t a_floats, b_floats, bias_floats;   // a's and b's for each thread that packs for itself
};
// `sums`: the output cannot hold them. a_along, b_along: an operand's lines lie along k (or all are packed); else
// narrower bands of it would be read in shorter pieces.
inline GemmPlan plan_gemm(
    int64_t m, int64_t n, int64_t k, int threads, bool b_there, bool sums, bool a_along, bool b_along) {
  GemmPlan p;
  const int64_t steps = max_of<int64_t>(1, ceil_div(k, KC));
  p.part = round_up(max_of<int64_t>(1, ceil_div(k, steps)), 2);
  const bool bands = !small_product(m, n, p.part);
  p.by_rows = bands && (b_there || m > n) && enough_for_bands(m, MR, threads);
  p.by_columns = bands && !p.by_rows && (b_there || m <= n) && enough_for_bands(n, NR, threads);
  const bool parts = steps <= joined_steps && (p.by_rows ? a_along : p.by_columns && b_along);
  p.kc = p.part * (parts ? steps : 1);
  sums = sums && p.kc < k;
  p.rows = round_up(m, MR), p.columns = round_up(n, NR);
  if (p.by_rows) {
    if (!b_there || sums) p.columns = even_piece(n, NR, short_lines);
    if (sums) p.rows = even_piece(m, MR, most_sums / p.columns);
  } else if (p.by_columns) {
    p.rows = even_piece(m, MR, short_lines);
    if (sums) p.columns = even_piece(n, NR, most_sums / p.rows);
  } else {
    p.rows = min_of(p.rows, chunk_rows), p.columns = min_of(p.columns, chunk_columns);
  }
  p.a_floats = round_up((p.by_rows ? min_of(tile_lines(tile_rows, MR, p.kc), p.rows) : p.rows) * p.kc, align_floats);
  p.b_floats = b_there
                   ? 0
                   : round_up((p.by_columns ? min_of(tile_lines(tile_columns, NR, p.kc), p.columns) : p.columns) * p.kc,
                         align_floats);
  p.bias_floats = round_up(n, NR) + align_floats;
  return p;
}

// A bound for every smaller shape as well, and for any operand's type.
inline int64_t blocked_floats(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t kc = min_of(round_up(max_of<int64_t>(1, k), 2), KC), rows = round_up(m, MR), columns = round_up(n, NR);
  const int64_t bias = columns + align_floats, chunk_lines = min_of(rows, chunk_rows),
                chunk_width = min_of(columns, chunk_columns);
  const int64_t sums = k <= KC                 ? 0
                       : threads > own_threads ? chunk_lines * chunk_width
                                               : min_of(rows * columns, most_sums);
  if (threads > own_threads) return (chunk_lines + chunk_width) * kc + 2 * align_floats + bias + sums;
  // joined steps, each rounded up; they store no sums
  const int64_t all = k <= KC ? kc : min_of(k + 2 * joined_steps, joined_steps * KC);
  const auto bands = [&](int64_t depth) {
    const int64_t band = min_of(max_of(tile_rows, tile_columns) * KC, max_of(rows, columns) * depth),
                  copy = min_of(min_of(rows, columns) + NR, short_lines) * depth;
    return threads * (band + copy + 2 * align_floats);
  };
  // Otherwise both operands have few lines, or the product is small. Either may be a single line, or many lines of few
  // elements.
  const int64_t few = 3 * own_threads * NR * KC, line = 2 * 64000 + NR * KC;
  const int64_t small = min_of(rows * kc, max_of(few, line)) + min_of(columns * kc, max_of(few, line));
  return max_of(bands(all), max_of(bands(kc), small + 2 * align_floats) + sums) + bias;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
