// Products of two bf16 operands on AMX tiles: chooses a kernel by the shape. The instruction set that this one extends
// computes all others (below-inl.h).
#pragma once
#include "cpu/gemm/gemm_forms-inl.h"
#include "cpu/gemm/gemm_tiles-inl.h"
#include "cpu/gemm/small_n-inl.h"
#include "cpu/gemm/tile_small_k-inl.h"
#include "cpu/gemm/tile_stored-inl.h"
#include "cpu/isa/below-inl.h"

#if defined(HEDDLE_SIMD_AMX)
namespace heddle {
namespace HEDDLE_ISA {

inline size_t gemm_scratch(int64_t m, int64_t n, int64_t k, int threads) {
  return max_of(max_of(below.gemm_scratch(m, n, k, threads), tile_small_k_scratch(n, threads)),
      max_of(max_of(tile_scratch(m, n, k, threads), tile_scratch(n, m, k, threads)), stored_scratch(m, k, threads)));
}

// Whether tiles multiply the operands. The minimum number of rows is where other kernels become compute-bound. It is
// higher if b must be packed first.
inline bool on_tiles(const Gemm& g) {
  return g.a_type == DType::bf16 && g.b_type == DType::bf16 && g.m >= (g.b_packed || g.b_unpacked ? 6 : 16) &&
         !g.rowwise;
}

using TileKernel = void (*)(const Gemm&, Pool&, void* scratch);
inline void one_streamed(const Gemm& g, Pool& pool, void* scratch) { stream_tiles(&g, 1, pool, scratch); }
inline void one_stored(const Gemm& g, Pool& pool, void* scratch) { stored_tiles(&g, 1, pool, scratch); }
inline void plain_tiles(const Gemm& g, Pool& pool, void* scratch) { gemm_tiles(g, pool, scratch); }
inline void transposed_tiles(const Gemm& g, Pool& pool, void* scratch) {
  gemm_tiles(transposed_product(g), pool, scratch);
}

// Returns the AMX kernel that computes a product, or null if the instruction set that this one extends computes it.
inline TileKernel tile_kernel(const Gemm& g) {
  if (g.a_type != DType::bf16 || g.b_type != DType::bf16 || g.rowwise || g.n == 0) return nullptr;
  if (g.end || g.b_packed || g.b_unpacked)
    return !on_tiles(g) ? nullptr : can_stream_tiles(g) ? one_streamed : plain_tiles;
  if (can_use_stored_tiles(g)) return one_stored;
  if (can_use_small_k_tiles(g)) return gemm_tiles_small_k;
  // Narrow products are the first product of a LoRA pair and the gradients of both LoRA matrices. They use tiles,
  // directly or transposed, although the tiles are partly padding. A weight times few rows of x (decoding) does not
  // count as narrow.
  const Gemm t = transposed_product(g);
  const bool gradient = is_small_n(g) || is_small_n(t),
             narrow = gradient || (!g.bias && g.n < g.m && g.n <= small_n_max_rows);
  if (narrow && small_product(g.m, g.n, g.k)) return nullptr;
  return on_tiles(g) ? plain_tiles : gradient && on_tiles(t) ? transposed_tiles : nullptr;
}

inline void gemm(const Gemm& g, Pool& pool, void* scratch) {
  const TileKernel kernel = tile_kernel(g);
  kernel ? kernel(g, pool, scratch) : below.gemm(g, pool, scratch);
}

// Computes several products of one a. Runs them in a single loop of the pool if the same kernel reads all weights once.
inline void gemms(const Gemm* g, int count, Pool& pool, void* scratch) {
  const auto all = [&](TileKernel kernel) {
    for (int i = 0; i < count; ++i)
      if (tile_kernel(g[i]) != kernel) return false;
    return true;
  };
  if (all(nullptr)) return below.gemms(g, count, pool, scratch);
  if (all(one_streamed)) return stream_tiles(g, count, pool, scratch);
  if (all(one_stored)) return stored_tiles(g, count, pool, scratch);
  for (int i = 0; i < count; ++i) gemm(g[i], pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
