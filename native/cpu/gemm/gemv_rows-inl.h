// Products with too many rows of x to be bound by memory alone, and too few to pay for packing w: short texts of an
// encoder, parts of prompts, several sequences. w, stored as (n, k), is read once in its stored layout, with lanes
// along k. A tile is all rows of x, or an even part of them, by two rows of w: 28 sums, the most that fit the
// registers, so that two loads of w serve them all. The rows' vectors are interleaved at one moving address. A part of
// them stays in the first-level cache while blocks of w stream past.
#pragma once
#include "cpu/gemm/write_tile-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// The first or second half of 2 W elements of w, in the order that x is laid out in: as they are, or for bf16 the even
// ones, then the odd ones, which takes no shuffles.
template <int HALF, class T> HEDDLE_SIMD F load_half(const T* p) { return load(p + HALF * W); }
template <int HALF> HEDDLE_SIMD F load_half(const bf16* p) { return HALF ? load_odd(p) : load_even(p); }

template <int N> struct Half {
  static constexpr int value = N;
};

#if defined(HEDDLE_SIMD_AVX512)
constexpr bool wide_rows = true;
constexpr int gemv_rows = 64;         // most rows of x: beyond, packing pays
constexpr int rows_most = 14;         // of x in a tile
constexpr int rows_block = W;         // of w whose sums are added up and written together
constexpr int64_t rows_near = 28672;  // bytes of x that stay in the first-level cache next to streaming data
constexpr int64_t rows_ahead = 4;     // tiles that are fetched ahead by rows of x that are one group

// sums[s * R + i] [+]= row i of x by row s of N of w, vectors that add up to the product: one chain a lane, whatever R
// is. Meanwhile, as much memory is fetched from each of `fetch` as of a row is read.
template <int R, int N, class T>
[[gnu::noinline]] void rows_tile(
    int64_t k, const float* x, const T* w, int64_t ws, const T* const* fetch, bool first, float* sums) {
  F acc[N][R];
  const T *row[N], *ahead[N];
#pragma GCC unroll 2
  for (int s = 0; s < N; ++s) {
    row[s] = w + s * ws, ahead[s] = fetch[s];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) acc[s][i] = first ? zero() : load(sums + (s * R + i) * W);
  }
  int64_t p = 0;
  const auto half_step = [&](auto half) [[gnu::always_inline]] {
    constexpr int h = decltype(half)::value;
    F b[N];
#pragma GCC unroll 2
    for (int s = 0; s < N; ++s) b[s] = load_half<h>(row[s] + p);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      F a = load(x + (h * R + i) * W);
#if !defined(HEDDLE_EMULATE_AVX512)
      asm("" : "+v"(a));  // one load for both rows: two operands in memory would be more than the core reads
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
template <class T> struct RowsForm {
  RowsTile<T> two, one;  // rows of w
};
template <int R, class T> constexpr RowsForm<T> rows_form = {rows_tile<R, 2, T>, rows_tile<R, 1, T>};
// By rows of x: gemv_group has fewer than five.
template <class T>
constexpr RowsForm<T> rows_forms[rows_most + 1] = {{nullptr, nullptr}, {nullptr, nullptr}, {nullptr, nullptr},
    {nullptr, nullptr}, {nullptr, nullptr}, rows_form<5, T>, rows_form<6, T>, rows_form<7, T>, rows_form<8, T>,
    rows_form<9, T>, rows_form<10, T>, rows_form<11, T>, rows_form<12, T>, rows_form<13, T>, rows_form<14, T>};

// How the rows of x are cut into groups of nearly one length, and k into parts.
struct RowsPlan {
  int64_t m, groups, part, parts;
  RowsPlan(int64_t m, int64_t k) : m(m), groups(ceil_div(m, rows_most)) {
    const int64_t bytes = ceil_div(m, groups) * k * static_cast<int64_t>(sizeof(float));
    part = max_of<int64_t>(2 * W, round_up(ceil_div(k, max_of<int64_t>(1, ceil_div(bytes, rows_near))), 2 * W));
    parts = max_of<int64_t>(1, ceil_div(k, part));
  }
  int64_t begin(int64_t group) const { return m * group / groups; }
};

// Columns [j0, j1) of the output.
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
        const RowsForm<T>& form = rows_forms<T>[rows];
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const T* b = w + (j + 2 * tile) * g.ldb + p;
          // Prefetches some tiles ahead. With several groups, which take longer, prefetches this block's next part,
          // half a tile each. After the last part come the first parts of the next block.
          const int64_t soon = tile + (plan.groups == 1 ? rows_ahead : tiles), at = part + soon / tiles;
          const int64_t block = at < plan.parts ? j : j + rows_block,
                        column = (at < plan.parts ? at : at - plan.parts) * plan.part;
          const T* next = w + (block + 2 * (soon % tiles)) * g.ldb + column;
          const T* fetch[2] = {group == 0 ? next : b, group == 1 || plan.groups == 1 ? next + g.ldb : b};
          float* to = sums + (i * rows_block + 2 * tile * rows) * W;
          (2 * tile + 1 < count ? form.two : form.one)(k, x + i * width + p * rows, b, g.ldb, fetch, part == 0, to);
        }
      }
    }
    for (int64_t group = 0; group < plan.groups; ++group) {
      const int64_t i = plan.begin(group), rows = plan.begin(group + 1) - i;
      for (int64_t r = 0; r < rows; ++r) {
        F lines[W];
#pragma GCC unroll 16
        // past `count` of an earlier block: not written
        for (int l = 0; l < W; ++l) lines[l] = load(sums + (i * rows_block + l * rows + r) * W);
        write_sums(g, i + r, j, static_cast<int>(count), sum_lanes(lines));
      }
    }
  }
}

// x: rows `xs` apart; lines: room for them side by side.
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
