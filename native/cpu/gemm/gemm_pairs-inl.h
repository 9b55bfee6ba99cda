// Products of two bf16 operands by dot products of bf16 pairs, which have f32 sums and twice the throughput of f32
// products. The instruction set that this one extends computes products of other types, and products that read an
// operand along its columns in place (below-inl.h).
#pragma once
#include "cpu/gemm/gemm_blocked-inl.h"
#include "cpu/gemm/gemm_forms-inl.h"
#include "cpu/gemm/gemv_pairs-inl.h"
#include "cpu/gemm/pairs_packed-inl.h"
#include "cpu/gemm/small_k-inl.h"
#include "cpu/gemm/small_n-inl.h"
#include "cpu/isa/below-inl.h"

#if defined(HEDDLE_SIMD_BF16)
namespace heddle {
namespace HEDDLE_ISA {

inline bool on_pairs(const Gemm& g) { return g.a_type == DType::bf16 && g.b_type == DType::bf16; }

// Whether b is, or will be, packed as panels of bf16 pairs.
inline bool by_panels(const Gemm& g) { return on_pairs(g) && (g.b_packed || g.b_unpacked); }

inline size_t gemm_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  return max_of(packed_pair_scratch(m, k), below.gemm_scratch(m, n, k, threads));
}

// Whether the product has few rows of x, and weights stored as (n, k).
inline bool skinny_pairs(const Gemm& g) {
  return g.b_transposed && !g.a_transposed && !g.accumulate && g.m <= gemv_pair_rows;
}

// See gemm-inl.h.
inline int64_t gemm_ends_above(const Gemm& g) {
  static_assert(
      gemv_pair_rows <= 64 && packed_pair_rows <= 64, "products above the limit must use the blocked kernels");
  const int64_t rows = below.gemm_ends_above(g);
  return on_pairs(g) && !by_panels(g) ? max_of<int64_t>(256, rows) : rows;
}

inline void gemm(const Gemm& g, Pool& pool, void* scratch) {
  if (!on_pairs(g) || g.m == 0 || g.n == 0) return below.gemm(g, pool, scratch);
  if (g.end) return gemm_blocked(g, pool, scratch);
  if (by_panels(g)) {
    const auto few = [&](const Gemm& slice) { packed_pair_products(&slice, 1, pool, scratch); };
    if (g.rowwise) return in_slices(g, packed_pair_rows, few);
    return g.m <= packed_pair_rows ? few(g) : gemm_blocked(g, pool, scratch);
  }
  if (g.rowwise && g.b_transposed)
    return in_slices(g, gemv_rows, [&](const Gemm& slice) { gemv_pairs(&slice, 1, pool, scratch); });
  const Gemm t = transposed_product(g);
  if (g.rowwise || is_small_n(g) || is_small_n(t)) return below.gemm(g, pool, scratch);
  if (skinny_pairs(g)) return gemv_pairs(&g, 1, pool, scratch);
  // Few rows of x by weights stored (k, n).
  if (!g.b_transposed && !g.a_transposed && !g.accumulate && g.m <= gemv_axpy_rows) return below.gemm(g, pool, scratch);
  if (is_small_k(g)) return gemm_small_k(g, pool, scratch);
  // As in gemm-inl.h, products with few columns are computed transposed.
  if (!g.bias && g.n < g.m && g.n <= small_n_max_rows) {
    if (t.b_transposed && !t.accumulate) return gemv_pairs(&t, 1, pool, scratch);
    if (t.m <= MR) return gemm_blocked(t, pool, scratch);
  }
  gemm_blocked(g, pool, scratch);
}

// Computes several products of one a. Runs them in a single loop of the pool if all of them use the same kernel, and
// that kernel reads the weights once.
inline void gemms(const Gemm* g, int count, Pool& pool, void* scratch) {
  const auto all = [&](const auto& goes) {
    for (int i = 0; i < count; ++i)
      if (g[i].m == 0 || g[i].n == 0 || g[i].rowwise || !on_pairs(g[i]) || !g[i].b_transposed || !goes(g[i]))
        return false;
    return count > 1;
  };
  if (all([](const Gemm& p) { return by_panels(p) && p.m <= packed_pair_rows; }))
    return packed_pair_products(g, count, pool, scratch);
  if (all([](const Gemm& p) { return !by_panels(p) && skinny_pairs(p); })) return gemv_pairs(g, count, pool, scratch);
  for (int i = 0; i < count; ++i) gemm(g[i], pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
