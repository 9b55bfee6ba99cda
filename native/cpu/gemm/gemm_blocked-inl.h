// c = a b, blocked and packed, with sums over parts of k of at most KC. With few threads, each thread packs all of the
// shorter operand for itself. It then packs and multiplies bands of the longer operand one after the other, in one
// buffer. Many threads pack chunks of both operands together and then multiply tiles. One thread computes a register
// tile in a fixed order, so the result does not depend on the number of threads. With bf16_pairs, both operands are
// bf16.
#pragma once
#include "cpu/gemm/gemm_chunk-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

inline void gemm_blocked(const Gemm& g, Pool& pool, void* scratch) {
  constexpr bool pairs = bf16_pairs;
  const float* all_panels = pairs ? static_cast<const float*>(g.b_packed) : nullptr;
  const GemmPlan plan = plan_gemm(g.m, g.n, pairs ? ceil_div(g.k, 2) : g.k, pool.threads(), all_panels,
      g.c_type != DType::f32, !g.a_transposed, all_panels || g.b_transposed);
  const int copies = plan.by_rows || plan.by_columns ? pool.threads() : 1;
  float* a = static_cast<float*>(scratch);
  float* b = a + copies * plan.a_floats;
  float* bias = b + copies * plan.b_floats;
  float* sums = bias + plan.bias_floats;
  if (g.bias) {
    for (int64_t j = 0; j < g.n; ++j) bias[j] = load_any(g.bias, g.bias_type, j);
    for (int64_t j = g.n; j < round_up(g.n, NR); ++j) bias[j] = 0;
  }
  const int64_t kc = pairs ? 2 * plan.kc : plan.kc;
  for (int64_t j0 = 0; j0 < g.n; j0 += plan.columns) {
    const int64_t columns = min_of(plan.columns, g.n - j0);
    bool b_packed = false;  // b stays packed for all chunks of rows
    for (int64_t i0 = 0; i0 < g.m; i0 += plan.rows) {
      const int64_t rows = min_of(plan.rows, g.m - i0);
      for (int64_t p0 = 0; p0 < g.k || p0 == 0; p0 += kc) {
        const int64_t k = min_of(kc, g.k - p0), depth = pairs ? ceil_div(k, 2) : k;
        if (kc < g.k) b_packed = false;
        // Packing b does not pay if a single panel of rows reads it and b's rows are f32 already.
        const bool b_in_place = g.m <= MR && !g.b_transposed && !pairs && g.b_type == DType::f32;
        const float* in_place = b_in_place ? static_cast<const float*>(g.b) + p0 * g.ldb : nullptr;
        const float* panels = all_panels ? all_panels + p0 / 2 * NR : nullptr;
        GemmStep step{g, i0, j0, rows, columns, depth, plan.part, p0 == 0, p0 + k >= g.k, a, b, g.bias ? bias : nullptr,
            in_place, panels, sums, plan.columns};
        const GemmChunk chunk{step, pool, p0, k, b_in_place ? columns / NR : 0, a, b, plan.a_floats, plan.b_floats};
        if (plan.by_rows) chunk.bands_of_rows(panels);
        else if (plan.by_columns) chunk.bands_of_columns(panels);
        else if (small_product(rows, columns, k)) chunk.alone(panels || b_packed), b_packed = true;
        else chunk.tiles(panels || b_packed), b_packed = true;
      }
    }
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
