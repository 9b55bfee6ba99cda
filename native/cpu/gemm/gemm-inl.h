// c = a b, blocked and packed, with sums over parts of k of at most KC. With few threads, each thread packs all of the
// shorter operand for itself. It then packs and multiplies bands of the longer operand one after the other, in one
// buffer. Many threads pack chunks of both operands together and then multiply tiles. One thread computes a register
// tile in a fixed order, so the result does not depend on the number of threads.
#pragma once
#include "cpu/gemm/gemm_tiles-inl.h"
#include "cpu/gemm/gemv-inl.h"
#include "cpu/gemm/small_k-inl.h"
#include "cpu/gemm/small_n-inl.h"
#include "cpu/gemm/tile_small_k-inl.h"
#include "cpu/gemm/tile_stored-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// Whether a product uses dot products of bf16 pairs. They have f32 sums and twice the throughput of f32 products.
inline bool on_pairs(const Gemm& g) {
#if defined(HEDDLE_SIMD_BF16)
  return g.a_type == DType::bf16 && g.b_type == DType::bf16;
#else
  return false && g.m;
#endif
}

inline size_t gemm_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  const size_t direct = max_of(packed_pair_scratch(m, k), gemv_scratch(min_of<int64_t>(max_of(m, n), gemv_rows), k));
  const int64_t blocked =
      max_of(blocked_floats(m, n, k, threads), blocked_floats(min_of<int64_t>(n, MR), m, k, threads));
  const size_t most = max_of(max_of(direct, small_n_scratch(m, n, k)),
      max_of(small_k_scratch(n, k), sizeof(float) * static_cast<size_t>(blocked)));
#if defined(HEDDLE_SIMD_AMX)
  return max_of(most, max_of(max_of(tile_scratch(m, n, k, threads), tile_scratch(n, m, k, threads)),
                          max_of(stored_scratch(m, k, threads), tile_small_k_scratch(n, threads))));
#else
  return most;
#endif
}

inline void gemm_blocked(const Gemm& g, Pool& pool, void* scratch) {
  const bool pairs = on_pairs(g);
  const float* all_panels = g.b_packed && pairs ? static_cast<const float*>(g.b_packed) : nullptr;
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
        // Packing b does not pay if a single panel of rows reads it and its rows are f32 already.
        const bool b_in_place = g.m <= MR && !g.b_transposed && !pairs && g.b_type == DType::f32;
        const float* in_place = b_in_place ? static_cast<const float*>(g.b) + p0 * g.ldb : nullptr;
        const float* panels = all_panels ? all_panels + p0 / 2 * NR : nullptr;
        GemmStep step{g, i0, j0, rows, columns, depth, plan.part, pairs, p0 == 0, p0 + k >= g.k, a, b,
            g.bias ? bias : nullptr, in_place, panels, sums, plan.columns};
        const GemmChunk chunk{step, pool, p0, k, b_in_place ? columns / NR : 0, a, b, plan.a_floats, plan.b_floats};
        if (plan.by_rows) chunk.bands_of_rows(panels);
        else if (plan.by_columns) chunk.bands_of_columns(panels);
        else if (small_product(rows, columns, k)) chunk.alone(panels || b_packed), b_packed = true;
        else chunk.tiles(panels || b_packed), b_packed = true;
      }
    }
  }
}

// Whether a product uses AMX tiles. The minimum number of rows is where other kernels become compute-bound. It is
// higher if b must be packed first.
#if defined(HEDDLE_SIMD_AMX)
inline bool on_tiles(const Gemm& g) {
  return on_pairs(g) && g.m >= (g.b_packed || g.b_unpacked ? 6 : 16) && !g.rowwise;
}
#else
inline bool on_tiles(const Gemm&) { return false; }
inline void gemm_tiles(const Gemm&, Pool&, void*) {}
inline bool can_stream_tiles(const Gemm&) { return false; }
inline void stream_tiles(const Gemm*, int, Pool&, void*) {}
inline bool can_use_small_k_tiles(const Gemm&) { return false; }
inline void gemm_tiles_small_k(const Gemm&, Pool&, void*) {}
inline bool can_use_stored_tiles(const Gemm&) { return false; }
inline void stored_tiles(const Gemm*, int, Pool&, void*) {}
#endif
inline void gemm_packed(const Gemm& g, Pool& pool, void* scratch) {
  if (on_tiles(g)) return can_stream_tiles(g) ? stream_tiles(&g, 1, pool, scratch) : gemm_tiles(g, pool, scratch);
  gemm_blocked(g, pool, scratch);
}

// Returns the transposed product c^T = b^T a^T.
inline Gemm transposed_product(const Gemm& g) {
  Gemm t = g;
  t.m = g.n, t.n = g.m, t.c_transposed = !g.c_transposed;
  t.a = g.b, t.a_type = g.b_type, t.lda = g.ldb, t.a_transposed = !g.b_transposed;
  t.b = g.a, t.b_type = g.a_type, t.ldb = g.lda, t.b_transposed = !g.a_transposed;
  return t;
}

inline bool skinny(const Gemm& g) {
  if (g.a_transposed || g.accumulate || on_tiles(g)) return false;
  return g.m <= (!g.b_transposed ? gemv_axpy_rows : on_pairs(g) ? gemv_pair_rows : gemv_rows);
}

// Whether b is, or will be, packed as panels of bf16 pairs.
inline bool by_panels(const Gemm& g) { return on_pairs(g) && (g.b_packed || g.b_unpacked); }

// Whether a narrow product uses AMX tiles, directly or transposed, although they are partly padding. Narrow products
// are the first product of a LoRA pair and the gradients of both LoRA matrices. A weight times few rows of x (decoding)
// does not count as narrow.
inline bool narrow_on_tiles(const Gemm& g, const Gemm& t) {
  if (small_product(g.m, g.n, g.k)) return false;
  return is_small_n(g) || is_small_n(t) ? on_tiles(g) || on_tiles(t)
                                        : g.n <= small_n_max_rows && g.n < g.m && on_tiles(g);
}

// Computes the product in slices of rows, with the same bits as if each slice were the whole product.
inline void gemm_rowwise(Gemm g, Pool& pool, void* scratch) {
  const int64_t rows = g.m, slice = by_panels(g) ? packed_pair_rows : g.b_transposed ? gemv_rows : gemv_axpy_rows;
  const char* a = static_cast<const char*>(g.a);
  char* c = static_cast<char*>(g.c);
  for (int64_t i = 0; i < rows; i += slice) {
    g.m = min_of(slice, rows - i);
    g.a = a + i * g.lda * static_cast<int64_t>(dtype_bytes(g.a_type));
    g.c = c + i * g.ldc * static_cast<int64_t>(dtype_bytes(g.c_type));
    by_panels(g) ? packed_pair_products(&g, 1, pool, scratch) : gemv(g, pool, scratch);
  }
}

// Only the kernels of gemm_packed can fuse an activation. Returns a number of rows, at most 256, above which a product
// always uses them. Returns INT64_MAX for products that never do.
inline int64_t gemm_ends_above(const Gemm& g) {
  constexpr int64_t never = INT64_MAX;
  if (g.rowwise || g.a_transposed || g.c_transposed || g.accumulate || g.n <= small_n_max_rows ||
      g.k <= small_k_max_depth)
    return never;
  static_assert(gemv_rows <= 64 && packed_pair_rows <= 64 && small_k_max_depth >= 32,
      "products below the limit must not use the blocked kernels");
  return on_pairs(g) && !by_panels(g) ? 256 : 64;
}

inline void gemm(const Gemm& g, Pool& pool, void* scratch) {
  if (g.m == 0 || g.n == 0) return;
  if (g.end) return gemm_packed(g, pool, scratch);
  if (g.rowwise) return gemm_rowwise(g, pool, scratch);
  if (by_panels(g))
    return g.m <= packed_pair_rows && !on_tiles(g) ? packed_pair_products(&g, 1, pool, scratch)
                                                   : gemm_packed(g, pool, scratch);
  if (on_pairs(g) && can_use_stored_tiles(g)) return stored_tiles(&g, 1, pool, scratch);
  if (on_pairs(g) && can_use_small_k_tiles(g)) return gemm_tiles_small_k(g, pool, scratch);
  const Gemm t = transposed_product(g);
  if (narrow_on_tiles(g, t)) return gemm_tiles(on_tiles(g) ? g : t, pool, scratch);
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
  gemm_packed(g, pool, scratch);
}

// Whether accumulating into the output costs less than a separate addition. In f32 the bits are the same, because the
// kernel processes all of k in one step.
inline bool gemm_adds(const Gemm& g) {
  return g.k <= KC && g.m > gemv_rows && g.n > gemv_rows && !g.rowwise && !g.c_transposed && !is_small_n(g);
}

// Computes several products of one a. Runs them in a single loop of the pool if all of them use the same kernel, and
// that kernel reads the weights once.
inline void gemms(const Gemm* g, int count, Pool& pool, void* scratch) {
#if defined(HEDDLE_SIMD_BF16)
  const auto all = [&](const auto& goes) {
    for (int i = 0; i < count; ++i)
      if (g[i].m == 0 || g[i].n == 0 || g[i].rowwise || !on_pairs(g[i]) || !g[i].b_transposed || !goes(g[i]))
        return false;
    return count > 1;
  };
  if (all([](const Gemm& p) { return on_tiles(p) && can_stream_tiles(p); }))
    return stream_tiles(g, count, pool, scratch);
  if (all([](const Gemm& p) { return can_use_stored_tiles(p); })) return stored_tiles(g, count, pool, scratch);
  if (all([](const Gemm& p) { return by_panels(p) && p.m <= packed_pair_rows && !on_tiles(p); }))
    return packed_pair_products(g, count, pool, scratch);
  if (all([](const Gemm& p) { return !by_panels(p) && !can_use_stored_tiles(p) && skinny(p); }))
    return gemv_pairs(g, count, pool, scratch);
#endif
  for (int i = 0; i < count; ++i) gemm(g[i], pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
