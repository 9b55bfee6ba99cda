// Packs lines of bf16 as rows of AMX tiles: (steps along k, 2 TILE lines, TILE pairs of neighboring elements).
#pragma once
#include "cpu/gemm/pack-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AMX)
constexpr int64_t tile_side = 2 * TILE;                 // lines of either operand per multiplication
constexpr int64_t tile_depth = 2 * TILE;                // elements of a line in a step along k
constexpr int64_t tile_step_floats = tile_side * TILE;  // floats of either operand per step

// Packs lines that are contiguous along k. Elements beyond the operand become zero. f32 is rounded to bf16.
template <class T> void pack_tile_rows(const T* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  const int64_t whole = k / tile_depth, rest = k % tile_depth;
  for (int64_t i = 0; i < tile_side; ++i, src += ld, dst += TILE) {
    float* to = dst;
    if (i >= lines) {
      for (int64_t s = 0; s < whole + (rest > 0); ++s, to += tile_step_floats) store(to, zero());
      continue;
    }
    for (int64_t s = 0; s < whole; ++s, to += tile_step_floats) store(to, load_pairs(src + s * tile_depth));
    if (rest) store(to, load_pairs_n(src + whole * tile_depth, rest));
  }
}
// Packs lines that are contiguous for a fixed k: source(i, p) = src[p * ld + i].
inline void pack_tile_columns(const bf16* src, int64_t ld, int64_t lines, int64_t k, float* dst) {
  for (int64_t p = 0; p < k; p += tile_depth, src += tile_depth * ld)
    for (int64_t i = 0; i < tile_side; i += TILE, dst += TILE * TILE) {
      const int have = static_cast<int>(min_of<int64_t>(TILE, max_of<int64_t>(0, lines - i)));
      F r[TILE];
      const bf16* from = src + i;
      if (have == TILE && k - p >= tile_depth) {
#pragma GCC unroll 16
        for (int q = 0; q < TILE; ++q) r[q] = join_pairs(from + 2 * q * ld, from + (2 * q + 1) * ld);
      } else {
        for (int q = 0; q < TILE; ++q) {
          const bool low = p + 2 * q < k, high = p + 2 * q + 1 < k;
          r[q] = low && have ? join_pairs_n(from + 2 * q * ld, high ? from + (2 * q + 1) * ld : nullptr, have) : zero();
        }
      }
      transpose(r);
#pragma GCC unroll 16
      for (int q = 0; q < TILE; ++q) store(dst + q * TILE, r[q]);
    }
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
