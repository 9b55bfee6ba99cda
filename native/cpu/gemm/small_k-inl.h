// c (m, n) = [c +] a b with a short k, as in the second product of a LoRA pair. Writing c takes most of the time. a is
// read in its stored layout, b is packed once, and sums go from registers to c.
#pragma once
#include "cpu/rows/loops-inl.h"
#include "cpu/gemm/micro-inl.h"
#include "cpu/gemm/pack-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int64_t small_k_max_depth = 32;  // maximum k
constexpr int64_t small_k_columns = 2048;  // columns of b that are packed at a time
#if defined(HEDDLE_SIMD_AVX512) || defined(__aarch64__)
constexpr int small_k_rows = 8;
#else
constexpr int small_k_rows = 4;
#endif

// Computes R rows and `columns` <= NR columns. A step of k is one element of a and one line of b's panel, or with
// bf16_pairs a pair of each.
template <int R, class T>
[[gnu::noinline]] void small_k_tile(
    int64_t steps, const float* a, int64_t as, const float* b, T* c, int64_t cs, int columns, bool accumulate) {
  F acc[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    if (accumulate) __builtin_prefetch(c + i * cs, 1);
    acc[i][0] = acc[i][1] = zero();
  }
#pragma GCC unroll 1
  for (int64_t p = 0; p < steps; ++p, b += NR) {
    const F b0 = load(b), b1 = load(b + W);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const F ai = set1(a[i * as + p]);
      acc[i][0] = multiply_add<bf16_pairs>(ai, b0, acc[i][0]);
      acc[i][1] = multiply_add<bf16_pairs>(ai, b1, acc[i][1]);
    }
  }
  if (columns == NR) {
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        T* to = c + i * cs + v * W;
        store(to, accumulate ? add(acc[i][v], load(to)) : acc[i][v]);
      }
    return;
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const int count = min_of(W, columns - v * W);
      if (count <= 0) continue;
      T* to = c + i * cs + v * W;
      store_n(to, accumulate ? add(acc[i][v], load_n(to, count)) : acc[i][v], count);
    }
}

// Whether gemm_small_k can compute the product. With bf16_pairs, it reads pairs of a's elements from the stored layout,
// so k and lda must be even.
inline bool is_small_k(const Gemm& g) {
  const bool readable = bf16_pairs ? g.lda % 2 == 0 && g.k % 2 == 0 : g.a_type == DType::f32;
  return readable && g.k > 0 && g.k <= small_k_max_depth && g.n >= NR && g.m > small_k_rows && !g.a_transposed &&
         !g.c_transposed && !g.bias && !g.rowwise;
}

template <class T> void small_k_products(const Gemm& g, Pool& pool, float* packed) {
  const int64_t steps = bf16_pairs ? g.k / 2 : g.k, as = bf16_pairs ? g.lda / 2 : g.lda;
  const float* a = static_cast<const float*>(g.a);
  for (int64_t j0 = 0; j0 < g.n; j0 += small_k_columns) {
    const int64_t columns = min_of(small_k_columns, g.n - j0);
    for (int64_t j = 0; j < columns; j += NR) {
#if defined(HEDDLE_SIMD_BF16)
      pack_pair_panel<NR>(g.b, g.ldb, !g.b_transposed, j0 + j, 0, columns - j, g.k, packed + j * steps);
#else
      pack_panel<NR>(g.b, g.b_type, g.ldb, !g.b_transposed, j0 + j, 0, columns - j, g.k, packed + j * steps);
#endif
    }
    const int64_t bands = ceil_div(g.m, small_k_rows),
                  grain = max_of<int64_t>(1, 65536 / (small_k_rows * columns * g.k));
    pool.range(bands, grain, [&](int64_t first, int64_t end, int) {
      int64_t i = first * small_k_rows;
      const int64_t last = min_of(g.m, end * small_k_rows);
      while (i < last) {
        const auto band = [&](auto tile, int rows) {
          for (int64_t j = 0; j < columns; j += NR)
            tile(steps, a + i * as, as, packed + j * steps, static_cast<T*>(g.c) + i * g.ldc + j0 + j, g.ldc,
                static_cast<int>(min_of<int64_t>(NR, columns - j)), g.accumulate);
          i += rows;
        };
        const int64_t left = last - i;
        if (left >= small_k_rows) band(small_k_tile<small_k_rows, T>, small_k_rows);
        else if (left >= 4) band(small_k_tile<4, T>, 4);
        else if (left >= 2) band(small_k_tile<2, T>, 2);
        else band(small_k_tile<1, T>, 1);
      }
    });
  }
}

inline size_t small_k_scratch(int64_t n, int64_t k) {
  return static_cast<size_t>(min_of(round_up(n, NR), small_k_columns) * min_of(k, small_k_max_depth)) * sizeof(float);
}
inline void gemm_small_k(const Gemm& g, Pool& pool, void* scratch) {
  float* packed = static_cast<float*>(scratch);
  g.c_type == DType::f32 ? small_k_products<float>(g, pool, packed) : small_k_products<bf16>(g, pool, packed);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
