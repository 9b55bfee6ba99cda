// Splits a product into chunks, bands and steps along k, and computes the scratch size.
#pragma once
#include "cpu/gemm/micro-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AVX512)
constexpr int64_t KC = 512;
constexpr int64_t tile_rows = 168 / MR * MR, tile_columns = 8 * NR;  // both (tile x KC) stay in L2: 336 + 512 KiB
#else
constexpr int64_t KC = 256;
constexpr int64_t tile_rows = 224 / MR * MR, tile_columns = 16 * NR;
#endif
constexpr int64_t align_floats = 16;
// Maximum number of steps along k that are joined into one. A register tile keeps the sums between them, which would
// otherwise go to an outer cache.
constexpr int64_t joined_steps = 2;
// Returns the maximum number of lines of a tile with `depth` floats per line. `most`: this maximum for lines of KC
// floats.
inline int64_t tile_lines(int64_t most, int64_t unit, int64_t depth) {
  return depth <= KC ? most : max_of(unit, most * KC / depth / unit * unit);
}
// Up to this many threads, each packs the shorter operand for itself. A shared copy would be slower to overwrite for
// the next product, because its cache lines have been read by other cores.
constexpr int own_threads = 4;
// For few threads: maximum lines of the shorter operand that are packed at a time, and maximum partial sums of a bf16
// output.
constexpr int64_t short_lines = 2048, max_sums = 8 * tile_rows * 8 * tile_columns;
// For many threads: maximum rows of a and columns of b that all of them pack together.
constexpr int64_t chunk_rows = 8 * tile_rows, chunk_columns = 8 * tile_columns;
static_assert(MR <= NR,
    "if m > n, enough bands of columns imply enough bands of rows, so that threads never copy the longer operand");

// Which threads have packed an operand. Not a std::vector, because of the one-definition rule of simd.h.
class PackedFlags {
 public:
  PackedFlags(int64_t threads, bool packed) : flags_(new bool[static_cast<size_t>(threads)]) {
    for (int64_t t = 0; t < threads; ++t) flags_[t] = packed;
  }
  ~PackedFlags() { delete[] flags_; }
  PackedFlags(const PackedFlags&) = delete;
  PackedFlags& operator=(const PackedFlags&) = delete;
  bool& operator[](int thread) { return flags_[thread]; }

 private:
  bool* flags_;
};

// Splits `extent` into bands of at most `most`: the same number for every thread, of nearly equal length.
struct Bands {
  int64_t unit, units, count;
  Bands(int64_t extent, int64_t unit, int64_t most, int threads) : unit(unit), units(ceil_div(extent, unit)) {
    // Two bands per thread let a thread that finishes early take one from another. Bands are not split for this if they
    // would have fewer than four units.
    const int64_t each = ceil_div(units, threads), help = threads > 1 ? min_of<int64_t>(2, each / 4) : 1;
    count = min_of(units, threads * max_of(ceil_div(each, most / unit), max_of<int64_t>(1, help)));
  }
  int64_t begin(int64_t band) const { return units * band / count * unit; }
};
inline bool enough_for_bands(int64_t extent, int64_t unit, int threads) {
  return threads <= own_threads && ceil_div(extent, unit) >= 3 * threads;
}
inline bool small_product(int64_t m, int64_t n, int64_t k) {  // whether a product is too small to wake other threads
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < 64e3;
}

// Returns the length of pieces of `extent`: nearly equal, at most `most`, and multiples of `unit`.
inline int64_t even_piece(int64_t extent, int64_t unit, int64_t most) {
  const int64_t units = ceil_div(extent, unit);
  return ceil_div(units, ceil_div(units, max_of<int64_t>(1, most / unit))) * unit;
}

// The split of one product. The parts along k, which determine the bits of the result, depend on k only.
struct GemmPlan {
  int64_t rows, columns;  // of a chunk
  int64_t kc, part;       // lengths along k: of a step, and of the part whose products a register tile adds at a time
  bool by_rows = false, by_columns = false;  // whether threads take bands of the longer operand
  int64_t a_floats, b_floats, bias_floats;   // per thread if it packs for itself
};
// `sums`: the output cannot hold partial sums. a_along, b_along: the operand is contiguous along k, or already packed.
// Steps are joined only then: joining makes bands narrower, and a strided operand would be read in shorter pieces.
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
    if (sums) p.rows = even_piece(m, MR, max_sums / p.columns);
  } else if (p.by_columns) {
    p.rows = even_piece(m, MR, short_lines);
    if (sums) p.columns = even_piece(n, NR, max_sums / p.rows);
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

// Returns an upper bound of the scratch, also for every smaller shape and any operand type.
inline int64_t blocked_floats(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t kc = min_of(round_up(max_of<int64_t>(1, k), 2), KC), rows = round_up(m, MR), columns = round_up(n, NR);
  const int64_t bias = columns + align_floats, chunk_lines = min_of(rows, chunk_rows),
                chunk_width = min_of(columns, chunk_columns);
  const int64_t sums = k <= KC                 ? 0
                       : threads > own_threads ? chunk_lines * chunk_width
                                               : min_of(rows * columns, max_sums);
  if (threads > own_threads) return (chunk_lines + chunk_width) * kc + 2 * align_floats + bias + sums;
  // The maximum depth of joined steps, whose parts are rounded up to even lengths. Joined steps store no sums.
  const int64_t all = k <= KC ? kc : min_of(k + 2 * joined_steps, joined_steps * KC);
  const auto bands = [&](int64_t depth) {
    const int64_t band = min_of(max_of(tile_rows, tile_columns) * KC, max_of(rows, columns) * depth),
                  copy = min_of(min_of(rows, columns) + NR, short_lines) * depth;
    return threads * (band + copy + 2 * align_floats);
  };
  // Without bands, either both operands have few lines, or the product is small. An operand of a small product may be
  // one long line, or many short ones. A product is small if m n k < 64000, and a depth of 1 is rounded up to 2.
  const int64_t few = 3 * own_threads * NR * KC, line = 2 * 64000 + NR * KC;
  const int64_t small = min_of(rows * kc, max_of(few, line)) + min_of(columns * kc, max_of(few, line));
  return max_of(bands(all), max_of(bands(kc), small + 2 * align_floats) + sums) + bias;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
