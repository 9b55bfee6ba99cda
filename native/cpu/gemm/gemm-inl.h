// Matrix products with f32 arithmetic: chooses a kernel by the shape. gemm_pairs-inl.h and gemm_amx-inl.h replace
// products of bf16 on instruction sets that multiply bf16.
#pragma once
#include "cpu/gemm/gemm_blocked-inl.h"
#include "cpu/gemm/gemm_forms-inl.h"
#include "cpu/gemm/gemv-inl.h"
#include "cpu/gemm/small_k-inl.h"
#include "cpu/gemm/small_n-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

inline size_t gemm_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  const size_t direct = gemv_scratch(min_of<int64_t>(max_of(m, n), gemv_rows), k);
  const int64_t blocked =
      max_of(blocked_floats(m, n, k, threads), blocked_floats(min_of<int64_t>(n, MR), m, k, threads));
  return max_of(max_of(direct, small_n_scratch(m, n, k)),
      max_of(small_k_scratch(n, k), sizeof(float) * static_cast<size_t>(blocked)));
}

inline bool skinny(const Gemm& g) {
  return !g.a_transposed && !g.accumulate && g.m <= (g.b_transposed ? gemv_rows : gemv_axpy_rows);
}

// Only gemm_blocked can fuse an activation. Returns the number of rows, at most 256, above which a product always uses
// that kernel. Returns INT64_MAX if there is no such number.
inline int64_t gemm_ends_above(const Gemm& g) {
  if (g.rowwise || g.a_transposed || g.c_transposed || g.accumulate || g.n <= small_n_max_rows ||
      g.k <= small_k_max_depth)
    return INT64_MAX;
  static_assert(gemv_rows <= 64 && small_k_max_depth >= 32, "products above the limit must use the blocked kernels");
  return 64;
}

inline void gemm(const Gemm& g, Pool& pool, void* scratch) {
  if (g.m == 0 || g.n == 0) return;
  if (g.end) return gemm_blocked(g, pool, scratch);
  // A slice of the rows gives the same bits as the whole product.
  if (g.rowwise)
    return in_slices(
        g, g.b_transposed ? gemv_rows : gemv_axpy_rows, [&](const Gemm& slice) { gemv(slice, pool, scratch); });
  const Gemm t = transposed_product(g);
  if (is_small_n(g)) return gemm_small_n(g, pool, scratch);
  if (is_small_n(t)) return gemm_small_n(t, pool, scratch);
  if (skinny(g)) return gemv(g, pool, scratch);
  if (is_small_k(g)) return gemm_small_k(g, pool, scratch);
  // Products with few columns (LoRA) fill the rows of a register tile but not its vectors. They are computed
  // transposed.
  if (!g.bias && g.n < g.m && g.n <= small_n_max_rows) {
    if (t.b_transposed && !t.accumulate) return gemv(t, pool, scratch);
    if (t.m <= MR) return gemm_blocked(t, pool, scratch);
  }
  gemm_blocked(g, pool, scratch);
}

// Whether accumulating into the output costs less than a separate addition. In f32 the bits are the same, because the
// kernel processes all of k in one step.
inline bool gemm_adds(const Gemm& g) {
  return g.k <= KC && g.m > gemv_rows && g.n > gemv_rows && !g.rowwise && !g.c_transposed && !is_small_n(g);
}

// Computes several products of one a.
inline void gemms(const Gemm* g, int count, Pool& pool, void* scratch) {
  for (int i = 0; i < count; ++i) gemm(g[i], pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
