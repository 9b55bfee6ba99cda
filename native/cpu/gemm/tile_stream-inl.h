// Multiplies few rows of x by packed bf16 weights on AMX tiles. Panels are read once, in storage order, in one loop
// over all products of one x. Each thread packs x once for all of its tasks, because moving its cache lines between
// cores would take as long as reading some panels. Tiles are as high as there are rows, so that sums go directly to y.
// The bits equal those of gemm_tiles-inl.h, which adds in the same order.
#pragma once

#include "cpu/gemm/gemm_tiles-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AMX)
constexpr int64_t stream_rows = TILE, stream_depth = 2048;  // limits of rows and depth: a thread keeps all of x packed
constexpr int64_t stream_task_bytes = 1 << 19;              // bytes of panels per task; AMX is configured once per task
constexpr int64_t stream_steps_ahead = 5;                   // prefetch distance into L2

inline bool can_stream_tiles(const Gemm& g) {
  return g.b_packed && !g.a_transposed && g.m <= stream_rows && g.k <= stream_depth;
}

// Packs the rows of x next to each other per step, without padding, so that L1 has room for streaming panels.
template <class T> void pack_stream_rows(const T* x, int64_t ld, int64_t rows, int64_t k, float* to) {
  const int64_t whole = k / tile_depth, rest = k % tile_depth;
  for (int64_t r = 0; r < rows; ++r, x += ld) {
    for (int64_t s = 0; s < whole; ++s) store(to + (s * rows + r) * TILE, load_pairs(x + s * tile_depth));
    if (rest) store(to + (whole * rows + r) * TILE, load_pairs_n(x + whole * tile_depth, rest));
  }
}

struct TileStream {
  const Gemm& g;
  const float* a;
  int64_t steps = ceil_div(g.k, tile_depth), panel_floats = pair_panel_floats(g.k);

  // Multiplies x by panels [j0, j1).
  void run(int64_t j0, int64_t j1) const {
    const float* panel = static_cast<const float*>(g.b_packed) + j0 * panel_floats;
    alignas(64) float local[tile_side * tile_side], tail[tile_step_floats], bias[tile_side];
    for (int64_t j = j0; j < j1; ++j, panel += panel_floats) {
      const int64_t column = j * tile_side, width = min_of(tile_side, g.n - column);
      const bool cut = g.k % tile_depth != 0,
                 direct = g.c_type == DType::f32 && !g.c_transposed && !g.accumulate && width == tile_side;
      if (cut) copy_last(panel, tail);
      for (int64_t i = 0; g.bias && i < tile_side; ++i)
        bias[i] = i < width ? load_any(g.bias, g.bias_type, column + i) : 0;
      float* to = direct ? static_cast<float*>(g.c) + column : local;
      const Prefetch next{
          reinterpret_cast<const char*>(panel + stream_steps_ahead * tile_step_floats), 32, 64, tile_step_floats * 4};
      four_tiles<1>(next, nullptr, steps, a, g.m * TILE, panel, cut ? tail : nullptr, g.bias ? bias : nullptr, 0, to,
          direct ? g.ldc : tile_side);
      if (!direct) write_tile(local, tile_side, g.m, width, g, 0, column, g.accumulate);
    }
  }

 private:
  // Copies the last step of a panel and fills the pairs beyond k with zeros.
  void copy_last(const float* panel, float* to) const {
    const int64_t there = ceil_div(g.k % tile_depth, 2) * NR;
    for (int64_t q = 0; q < tile_step_floats; q += W)
      store(to + q, q < there ? load(panel + (steps - 1) * tile_step_floats + q) : zero());
  }
};

// Returns the number of tasks. A thread's share of the panels is split into one to four tasks, depending on its size,
// so that threads finish together. Shares beyond 2 MB are split into tasks of 512 KB. Tiny products are one task.
inline int64_t stream_tasks_of(int64_t panels, int64_t panel_bytes, int64_t threads) {
  const int64_t share = panels * panel_bytes / threads;
  if (share < 16384) return 1;
  return min_of(
      panels, threads * max_of(min_of<int64_t>(4, share / (stream_task_bytes / 4) + 1), share / stream_task_bytes));
}

// Multiplies one x by several weights. All products must satisfy can_stream_tiles.
inline void stream_tiles(const Gemm* products, int count, Pool& pool, void* scratch) {
  const Gemm& x = products[0];
  const int64_t a_floats = ceil_div(x.k, tile_depth) * TILE * TILE, panel_bytes = pair_panel_floats(x.k) * 4,
                threads = pool.threads();
  PackedFlags has_a(threads, false);
  const auto tasks_of = [&](const Gemm& g) { return stream_tasks_of(ceil_div(g.n, tile_side), panel_bytes, threads); };
  run_joined(
      pool, count, [&](int i) { return tasks_of(products[i]); }, [&](int i, int64_t task, int64_t tasks, int thread) {
    float* a = static_cast<float*>(scratch) + thread * a_floats;
    if (bool& has = has_a[thread]; !has) {
      if (x.a_type == DType::f32) pack_stream_rows(static_cast<const float*>(x.a), x.lda, x.m, x.k, a);
      else pack_stream_rows(static_cast<const bf16*>(x.a), x.lda, x.m, x.k, a);
      has = true;
    }
    const Gemm& g = products[i];
    const int64_t panels = ceil_div(g.n, tile_side);
    [[maybe_unused]] const Tiles tiles(static_cast<int>(g.m));
    TileStream{g, a}.run(panels * task / tasks, panels * (task + 1) / tasks);
  });
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
