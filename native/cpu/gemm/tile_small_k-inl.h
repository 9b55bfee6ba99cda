// c (m, n) = [c +] a b in bf16 on AMX tiles, with k of at most tile_depth. An example is the second product of a LoRA
// pair. Writing c takes most of the time. Four panels of c are therefore written at a time, which are 256 bytes of a
// bf16 row.
#pragma once

#include "cpu/gemm/gemm_tiles-inl.h"
#include "cpu/gemm/small_k-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AMX)
constexpr int64_t small_k_run = 4 * tile_side;

inline bool can_use_small_k_tiles(const Gemm& g) {
  return g.k > 0 && g.k <= tile_depth && g.m >= TILE && g.n >= tile_side && !g.b_packed && !g.b_unpacked &&
         !g.a_transposed && !g.c_transposed && !g.bias && !g.rowwise;
}
inline int64_t small_k_panels_floats(int64_t n) {
  return ceil_div(min_of(n, small_k_columns), tile_side) * tile_step_floats;
}
// Returns an upper bound of the scratch for any k, also for smaller shapes.
inline size_t tile_small_k_scratch(int64_t n, int threads) {
  return sizeof(float) * static_cast<size_t>(threads * small_k_panels_floats(n));
}

// Computes rows [i0, i1) and `columns` columns from j0 on. `b` has the panels of these columns.
inline void small_k_rows_of(const Gemm& g, int64_t i0, int64_t i1, int64_t j0, int64_t columns, const float* b) {
  [[maybe_unused]] const Tiles tiles;
  alignas(64) float a[tile_step_floats], local[tile_side * small_k_run];
  const int64_t panels = ceil_div(columns, tile_side), bytes = tile_row_bytes;
  for (int64_t i = i0; i < i1; i += tile_side) {
    const int64_t height = min_of(tile_side, i1 - i);
    pack_tile_rows(static_cast<const bf16*>(g.a) + i * g.lda, g.lda, height, g.k, a);
    tile_load<4>(a, bytes), tile_load<5>(a + TILE * TILE, bytes);
    for (int64_t j = 0; j < columns; j += small_k_run) {
      const int64_t width = min_of(small_k_run, columns - j), first = j / tile_side;
      for (int64_t q = first; q < min_of(first + 4, panels); ++q) {
        const float* panel = b + q * tile_step_floats;
        float* to = local + (q - first) * tile_side;
        tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
        tile_load<6>(panel, 2 * bytes), tile_load<7>(panel + TILE, 2 * bytes);
        tile_dot<0, 4, 6>(), tile_dot<1, 4, 7>(), tile_dot<2, 5, 6>(), tile_dot<3, 5, 7>();
        tile_store<0>(to, small_k_run * 4), tile_store<1>(to + TILE, small_k_run * 4);
        tile_store<2>(to + TILE * small_k_run, small_k_run * 4),
            tile_store<3>(to + TILE * small_k_run + TILE, small_k_run * 4);
      }
      write_tile(local, small_k_run, height, width, g, i, j0 + j, g.accumulate);
    }
  }
}

// With few threads, each packs all of b for itself, because moving cache lines between cores takes longer. Many threads
// pack b together.
inline void gemm_tiles_small_k(const Gemm& g, Pool& pool, void* scratch) {
  const int64_t threads = pool.threads(), row_panels = ceil_div(g.m, tile_side),
                tasks = small_product(g.m, g.n, g.k) ? 1 : min_of(row_panels, 4 * threads);
  const bool together = threads > own_threads && tasks > 1;
  for (int64_t j0 = 0; j0 < g.n; j0 += small_k_columns) {
    const int64_t columns = min_of(small_k_columns, g.n - j0), panels = ceil_div(columns, tile_side);
    float* all = static_cast<float*>(scratch);
    const auto pack = [&](int64_t panel, float* to) {
      const int64_t column = panel * tile_side;
      pack_pair_panel<NR>(
          g.b, g.ldb, !g.b_transposed, j0 + column, 0, columns - column, g.k, to + panel * tile_step_floats);
      for (int64_t at = ceil_div(g.k, 2) * NR; at < tile_step_floats; at += W)
        store(to + panel * tile_step_floats + at, zero());
    };
    if (together)
      pool.range(panels, 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t p = begin; p < end; ++p) pack(p, all);
      });
    PackedFlags has_b(threads, together);
    pool.run(tasks, [&](int64_t t, int thread) {
      float* own = together ? all : all + thread * small_k_panels_floats(g.n);
      if (bool& has = has_b[thread]; !has) {
        for (int64_t p = 0; p < panels; ++p) pack(p, own);
        has = true;
      }
      small_k_rows_of(g, row_panels * t / tasks * tile_side, min_of(g.m, row_panels * (t + 1) / tasks * tile_side), j0,
          columns, own);
    });
  }
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
