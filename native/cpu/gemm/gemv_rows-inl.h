// Products with too many rows of x to be bound by memory alone, and too few for packing w to pay off: short texts of an
// encoder, parts of prompts, several sequences. w (n, k) is read once in its stored layout, with lanes along k. A tile
// is all rows of x, or an even share of them, times two rows of w. Its sums, at most 14 x 2, fill the registers. Each
// load of x serves both rows of w. The vectors of the rows of x are interleaved in memory, so the kernel needs one
// address for them. A part of them stays in L1 while blocks of w stream past.
#pragma once
#include "cpu/gemm/write_tile-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// Loads the first or second half of 2 W elements of w, in the order in which x is arranged. For bf16 the halves are the
// even and the odd elements, which need no shuffle.
template <int HALF, class T> HEDDLE_SIMD F load_half(const T* p) { return load(p + HALF * W); }
template <int HALF> HEDDLE_SIMD F load_half(const bf16* p) { return HALF ? load_odd(p) : load_even(p); }

template <int N> struct Half {
  static constexpr int value = N;
};

#if defined(HEDDLE_SIMD_AVX512)
constexpr bool wide_rows = true;
constexpr int gemv_rows = 64;         // maximum rows of x; with more rows, packing pays off
constexpr int tile_max_rows = 14;     // maximum rows of x in a tile
constexpr int rows_block = W;         // rows of w whose sums are reduced and written together
constexpr int64_t rows_near = 28672;  // bytes of x that stay in L1 next to streaming data
constexpr int64_t rows_ahead = 4;     // prefetch distance in tiles, if all rows of x are one group

// sums[s * R + i] [+]= row i of x times row s of the two rows of w. The sums are vectors whose lanes add up to the
// product. Each lane adds up in one fixed order for all R. Prefetches, from each pointer in `fetch`, as many bytes as
// it reads of a row of w.
template <int R, class T>
[[gnu::noinline]] void rows_tile(
    int64_t k, const float* x, const T* w, int64_t ws, const T* const* fetch, bool first, float* sums) {
  constexpr int N = 2;
  F acc[N][R];
  const T *row[N], *ahead[N];
#pragma GCC unroll 2
  for (int s = 0; s < N; ++s) {
    row[s] = w + s * ws, ahead[s] = fetch[s];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) acc[s][i] = first ? zero() : load(sums + (s * R + i) * W);
  }
  int64_t p = 0;
  const auto half_step = [&](auto half) HEDDLE_INLINE_LAMBDA {
    constexpr int h = decltype(half)::value;
    F b[N];
#pragma GCC unroll 2
    for (int s = 0; s < N; ++s) b[s] = load_half<h>(row[s] + p);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      F a = load(x + (h * R + i) * W);
#if !defined(HEDDLE_EMULATE_AVX512)
      asm("" : "+v"(a));  // one load serves both rows of w; memory operands would need more load bandwidth
#endif
#pragma GCC unroll 2
      for (int s = 0; s < N; ++s) acc[s][i] = fma_in_place(b[s], a, acc[s][i]);
    }
  };
#pragma GCC unroll 1
  for (; p + 2 * W <= k; p += 2 * W, x += 2 * R * W) {
#pragma GCC unroll 2
    for (int s = 0; s < N; ++s) {
      fetch_stream(ahead[s] + p);
      if (sizeof(T) == 4) fetch_stream(ahead[s] + p + W);
    }
    half_step(Half<0>{}), half_step(Half<1>{});
  }
  for (; p < k; p += W, x += R * W) {
    const int n = static_cast<int>(min_of<int64_t>(W, k - p));
#pragma GCC unroll 2
    for (int s = 0; s < N; ++s) {
      const F b = load_n(row[s] + p, n);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) acc[s][i] = fma_in_place(b, load(x + i * W), acc[s][i]);
    }
  }
#pragma GCC unroll 2
  for (int s = 0; s < N; ++s)
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) store(sums + (s * R + i) * W, acc[s][i]);
}

template <class T>
using RowsTile = void (*)(
    int64_t k, const float* x, const T* w, int64_t ws, const T* const* fetch, bool first, float* sums);
// The kernels by number of rows of x. Other kernels take fewer than five rows.
template <class T>
constexpr RowsTile<T> rows_tiles[tile_max_rows + 1] = {nullptr, nullptr, nullptr, nullptr, nullptr, rows_tile<5, T>,
    rows_tile<6, T>, rows_tile<7, T>, rows_tile<8, T>, rows_tile<9, T>, rows_tile<10, T>, rows_tile<11, T>,
    rows_tile<12, T>, rows_tile<13, T>, rows_tile<14, T>};

// Splits the rows of x into groups of nearly equal size, and k into parts.
struct RowsPlan {
  int64_t m, groups, part, parts;
  RowsPlan(int64_t m, int64_t k) : m(m), groups(ceil_div(m, tile_max_rows)) {
    const int64_t bytes = ceil_div(m, groups) * k * static_cast<int64_t>(sizeof(float));
    part = max_of<int64_t>(2 * W, round_up(ceil_div(k, max_of<int64_t>(1, ceil_div(bytes, rows_near))), 2 * W));
    parts = max_of<int64_t>(1, ceil_div(k, part));
  }
  int64_t begin(int64_t group) const { return m * group / groups; }
};

// Computes columns [j0, j1) of the output.
template <class T> void rows_columns(const Gemm& g, const RowsPlan& plan, const float* x, int64_t j0, int64_t j1) {
  alignas(64) float sums[rows_block * gemv_rows * W];
  const int64_t width = round_up(g.k, W);
  const T* w = static_cast<const T*>(g.b);
  for (int64_t j = j0; j < j1; j += rows_block) {
    const int64_t count = min_of<int64_t>(rows_block, j1 - j), tiles = ceil_div(count, 2);
    for (int64_t part = 0; part < plan.parts; ++part) {
      const int64_t p = part * plan.part, k = min_of(plan.part, g.k - p);
      for (int64_t group = 0; group < plan.groups; ++group) {
        const int64_t i = plan.begin(group), rows = plan.begin(group + 1) - i;
        const RowsTile<T> run = rows_tiles<T>[rows];
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const T* b = w + (j + 2 * tile) * g.ldb + p;
          // Prefetches rows_ahead tiles ahead. With several groups a part takes longer. The first two groups then
          // prefetch the next part: each prefetches one of a tile's two rows of w. After the last part comes the first
          // part of the next block.
          const int64_t soon = tile + (plan.groups == 1 ? rows_ahead : tiles), at = part + soon / tiles;
          const int64_t block = at < plan.parts ? j : j + rows_block,
                        column = (at < plan.parts ? at : at - plan.parts) * plan.part;
          const T* next = w + (block + 2 * (soon % tiles)) * g.ldb + column;
          const T* fetch[2] = {group == 0 ? next : b, group == 1 || plan.groups == 1 ? next + g.ldb : b};
          float* to = sums + (i * rows_block + 2 * tile * rows) * W;
          // The last row of an odd count is multiplied twice. Its second sums are not used.
          run(k, x + i * width + p * rows, b, 2 * tile + 1 < count ? g.ldb : 0, fetch, part == 0, to);
        }
      }
    }
    for (int64_t group = 0; group < plan.groups; ++group) {
      const int64_t i = plan.begin(group), rows = plan.begin(group + 1) - i;
      for (int64_t r = 0; r < rows; ++r) {
        F lines[W];
#pragma GCC unroll 16
        // Lanes from `count` on hold sums of an earlier block and are not written.
        for (int l = 0; l < W; ++l) lines[l] = load(sums + (i * rows_block + l * rows + r) * W);
        write_sums(g, i + r, j, static_cast<int>(count), sum_lanes(lines));
      }
    }
  }
}

// `x` has rows `xs` apart. `lines` has room for an interleaved copy of them.
template <class T> void gemv_many(const Gemm& g, Pool& pool, const float* x, int64_t xs, float* lines) {
  const RowsPlan plan(g.m, g.k);
  float* to = lines;
  for (int64_t group = 0; group < plan.groups; ++group)
    for (int64_t p = 0; p < g.k; p += W)
      for (int64_t i = plan.begin(group); i < plan.begin(group + 1); ++i, to += W) {
        const int n = static_cast<int>(min_of<int64_t>(W, g.k - p));
        store(to, n == W ? load(x + i * xs + p) : load_n(x + i * xs + p, n));
      }
  const int64_t tasks = Pool::stream_tasks(g.n * g.k * static_cast<int64_t>(sizeof(T)), pool.threads()),
                blocks = ceil_div(g.n, rows_block);
  pool.run(tasks, [&](int64_t t, int) {
    rows_columns<T>(
        g, plan, lines, blocks * t / tasks * rows_block, min_of(g.n, blocks * (t + 1) / tasks * rows_block));
  });
}
#else
constexpr bool wide_rows = false;
constexpr int gemv_rows = 32;
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
