// c (m, n) = a^T b with few rows of c and a long k, where both operands are stored (k, .): the gradients of LoRA's
// matrices. Nothing is packed. Reads a few rows of b at a time in place, and adds their products to sums that stay in
// cache.
#pragma once
#include "cpu/gemm/gemv-inl.h"
#include "cpu/gemm/write_tile-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// A tile needs small_n_rows * small_n_vectors registers for its sums, small_n_vectors for b, and one for a broadcast
// element of a. They fit the registers.
#if defined(HEDDLE_SIMD_AVX512) || defined(__aarch64__)
constexpr int small_n_rows = 8, small_n_vectors = 3;
#else
constexpr int small_n_rows = 4, small_n_vectors = 2;
#endif
constexpr int64_t small_n_max_rows = 32;  // maximum rows of c
constexpr int64_t small_n_depth = 32;     // steps of k at a time: this part of b stays in L1 for all rows of c
constexpr int64_t small_n_columns = small_n_vectors * W;

inline bool is_small_n(const Gemm& g) {
  return g.k > 0 && g.a_transposed && !g.b_transposed && g.m <= small_n_max_rows && g.m <= g.n && !g.bias &&
         !g.accumulate && !g.rowwise;
}
inline size_t small_n_scratch(int64_t m, int64_t n, int64_t k) {
  const int64_t rows = min_of(small_n_max_rows, min_of(m, n));
  return sizeof(float) * static_cast<size_t>(rows * (k + round_up(max_of(m, n), small_n_columns)) + 16);
}

// out (R, columns), with row stride `os`, [+]= sum over p < k of a(p, i) b(p, :). `columns` is V vectors, or with TAIL
// the first `tail` lanes of one vector.
template <int R, int V, bool TAIL, class T>
[[gnu::noinline]] void small_n_tile(
    int64_t k, const float* a, int64_t as, const T* b, int64_t bs, int tail, float* out, int64_t os, bool add_up) {
  F acc[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[i][v] = add_up ? load(out + i * os + v * W) : zero();
#pragma GCC unroll 1
  for (int64_t p = 0; p < k; ++p, a += as, b += bs) {
    F line[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) line[v] = TAIL ? load_n(b, tail) : load(b + v * W);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const F ai = set1(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[i][v] = fma(ai, line[v], acc[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(out + i * os + v * W, acc[i][v]);
}

// `columns` is a multiple of W, except for the last columns of c. Rows of `out` have room for whole vectors.
template <int R, class T>
void small_n_band(int64_t k, const float* a, int64_t as, const T* b, int64_t bs, int64_t columns, float* out,
    int64_t os, bool add_up) {
  int64_t j = 0;
  for (; j + small_n_columns <= columns; j += small_n_columns)
    small_n_tile<R, small_n_vectors, false>(k, a, as, b + j, bs, 0, out + j, os, add_up);
  for (; j + W <= columns; j += W) small_n_tile<R, 1, false>(k, a, as, b + j, bs, 0, out + j, os, add_up);
  if (j < columns) small_n_tile<R, 1, true>(k, a, as, b + j, bs, static_cast<int>(columns - j), out + j, os, add_up);
}

// Computes columns [j, j + columns) of c, through sums whose rows are `os` apart.
template <class T>
void small_n_task(const Gemm& g, const float* a, int64_t as, int64_t j, int64_t columns, float* sums, int64_t os) {
  for (int64_t p = 0; p < g.k; p += small_n_depth) {
    const int64_t k = min_of(small_n_depth, g.k - p);
    const T* b = static_cast<const T*>(g.b) + p * g.ldb + j;
    for (int64_t i = 0; i < g.m;) {
      const auto band = [&](auto rows) {
        small_n_band<decltype(rows)::value>(k, a + p * as + i, as, b, g.ldb, columns, sums + i * os, os, p > 0);
        i += decltype(rows)::value;
      };
      const int64_t left = g.m - i;
      if (left >= small_n_rows) band(Half<small_n_rows>{});
      else if (left >= 4) band(Half<4>{});
      else if (left >= 2) band(Half<2>{});
      else band(Half<1>{});
    }
  }
  write_tile(sums, os, g.m, columns, g, 0, j, false);
}

inline void gemm_small_n(const Gemm& g, Pool& pool, void* scratch) {
  const float* a = static_cast<const float*>(g.a);
  int64_t as = g.lda;
  float* copy = static_cast<float*>(scratch);
  float* sums = copy + round_up(g.m * g.k, 16);
  if (g.a_type != DType::f32) {
    const bool dense = g.lda == g.m;  // whether the lines form one contiguous array
    const int64_t lines = dense ? 1 : g.k, length = dense ? g.k * g.m : g.m;
    for (int64_t p = 0; p < lines; ++p) {
      if (g.a_type == DType::bf16) widen(static_cast<const bf16*>(g.a) + p * g.lda, length, copy + p * g.m);
      else widen(static_cast<const f16*>(g.a) + p * g.lda, length, copy + p * g.m);
    }
    a = copy, as = g.m;
  }
  // The order in which a column is summed does not depend on the number of tasks. Two tasks per thread balance the
  // load.
  const int64_t blocks = ceil_div(g.n, small_n_columns), os = blocks * small_n_columns;
  const bool alone = g.m * g.n * g.k < 64000;  // too small to wake other threads
  const int64_t tasks = alone ? 1 : min_of<int64_t>(blocks, 2 * pool.threads());
  pool.run(tasks, [&](int64_t t, int) {
    const int64_t j = blocks * t / tasks * small_n_columns,
                  columns = min_of(g.n, blocks * (t + 1) / tasks * small_n_columns) - j;
    if (g.b_type == DType::f32) small_n_task<float>(g, a, as, j, columns, sums + j, os);
    else if (g.b_type == DType::bf16) small_n_task<bf16>(g, a, as, j, columns, sums + j, os);
    else small_n_task<f16>(g, a, as, j, columns, sums + j, os);
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
