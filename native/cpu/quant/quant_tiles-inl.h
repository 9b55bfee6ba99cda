// Linear layers with quantized weights on AMX tiles of bf16. Weights are converted to bf16 a band at a time while they
// are packed. Activations are converted as well. The error is half that of 8-bit activations with a scale per group.
// Integer tiles would multiply twice as fast, but lose this gain by scaling and adding the sums of every group of 32.
#pragma once
#include "cpu/gemm/gemm_tiles-inl.h"
#include "cpu/isa/below-inl.h"
#include "cpu/quant/int8_packed-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AMX)
static_assert(unit == tile_depth && W == TILE);

// Converts 16 bytes of `fours` (four neighbors of a column per lane) to floats. FIRST = 0 takes the first two of each
// four, 2 the last two. HALF = 0 takes columns 0 to 7, 1 columns 8 to 15.
template <int FIRST, int HALF> HEDDLE_SIMD F two_of_fours(Lanes fours) {
#if defined(HEDDLE_EMULATE_AVX512)
  uint8_t bytes[64];
  int32_t lanes[W];
  __builtin_memcpy(bytes, &fours, sizeof bytes);
  for (int i = 0; i < W; ++i) lanes[i] = bytes[HALF * 32 + i / 2 * 4 + FIRST + i % 2];
  Lanes picked;
  __builtin_memcpy(&picked, lanes, sizeof picked);
  return _mm512_cvtepi32_ps(picked);
#else
  constexpr int at = HALF * 32 + FIRST;
  const __m512i order = _mm512_setr_epi32(at, at + 1, at + 4, at + 5, at + 8, at + 9, at + 12, at + 13, at + 16,
      at + 17, at + 20, at + 21, at + 24, at + 25, at + 28, at + 29);
  return _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(0x1111111111111111u, order, fours));
#endif
}
// Returns lanes 0 0 1 1 .. 7 7, or 8 8 .. 15 15.
template <int HALF> HEDDLE_SIMD F twice(F v) {
  constexpr int at = HALF * 8;
  return _mm512_permutexvar_ps(_mm512_setr_epi32(at, at, at + 1, at + 1, at + 2, at + 2, at + 3, at + 3, at + 4, at + 4,
                                   at + 5, at + 5, at + 6, at + 6, at + 7, at + 7),
      v);
}

// Converts unit u of a block of a packed form to 16 rows of pairs of W columns, NR floats apart.
template <class P> HEDDLE_SIMD void unit_as_pairs(const uint8_t* at, int u, float* to) {
  static_assert(!P::is_signed);
#pragma GCC unroll 2
  for (int g = 0; g < P::groups; ++g) {
    const F scale = P::scale(at, u, g),
            start = P::has_minimum ? sub(zero(), P::minimum(at, u)) : mul(scale, set1(-P::offset));
    const F s0 = twice<0>(scale), s1 = twice<1>(scale), t0 = twice<0>(start), t1 = twice<1>(start);
#pragma GCC unroll 8
    for (int j = g * 8 / P::groups; j < (g + 1) * 8 / P::groups; ++j) {
      const Lanes fours = P::four(at, u, j);
      float* row = to + 2 * P::place(j) * NR;
      store(row, rounded_pairs(fma(two_of_fours<0, 0>(fours), s0, t0), fma(two_of_fours<0, 1>(fours), s1, t1)));
      store(row + NR, rounded_pairs(fma(two_of_fours<2, 0>(fours), s0, t0), fma(two_of_fours<2, 1>(fours), s1, t1)));
    }
  }
}
// Prefetch distance in bytes. After the last step of a panel, prefetching continues in the next panel.
constexpr int64_t unpack_ahead = 2048;

template <class P> void tile_panel_of_packed(const void* of, int64_t panel, int64_t s0, int64_t steps, float* to) {
  const QuantLinear& p = *static_cast<const QuantLinear*>(of);
  const int64_t bytes = packed_panel_bytes<P>(p.k), panels = ceil_div(p.n, W);
  const int64_t first = s0 / P::units, blocks = ceil_div(s0 + steps, P::units) - first,
                ahead = ceil_div(unpack_ahead, P::bytes);
  for (int64_t half = 0; half < 2; ++half, to += TILE) {
    const int64_t own = 2 * panel + half;
    if (own >= panels) {
      for (int64_t s = 0; s < steps; ++s)
        for (int r = 0; r < TILE; ++r) store(to + s * tile_step_floats + r * NR, zero());
      continue;
    }
    const uint8_t* from = static_cast<const uint8_t*>(p.packed) + own * bytes + first * P::bytes;
    for (int64_t b = 0; b < blocks; ++b, from += P::bytes) {
      const uint8_t* later = from + ahead * P::bytes + (b + ahead < blocks ? 0 : bytes - blocks * P::bytes);
      for (int64_t l = 0; l < P::bytes; l += 64) __builtin_prefetch(later + l, 0, 3);
      for (int u = 0; u < P::units; ++u) {
        const int64_t s = (first + b) * P::units + u - s0;
        if (s >= 0 && s < steps) unit_as_pairs<P>(from, u, to + s * tile_step_floats);
      }
    }
  }
}

// Like tile_panel_of_packed, from stored blocks, with the same bits.
inline void tile_panel_of_blocks(const void* of, int64_t panel, int64_t s0, int64_t steps, float* to) {
  const QuantLinear& p = *static_cast<const QuantLinear*>(of);
  const QuantType& t = quant_type(p.w_type);
  constexpr int64_t together = span / unit;  // units that are unpacked at a time
  const int64_t row_bytes = quant_row_bytes(t, p.k), units = p.k / unit;
  for (int64_t half = 0; half < 2; ++half, to += TILE) {
    const int64_t first = (2 * panel + half) * W, have = min_of<int64_t>(W, p.n - first);
    for (int64_t u0 = s0 / together * together; u0 < s0 + steps; u0 += together) {
      const int64_t count = min_of(together, units - u0);
      alignas(64) float lines[together][W][W];  // pairs of bf16
      for (int64_t r = 0; r < W; ++r) {
        if (r >= have) {
          for (int64_t u = 0; u < count; ++u) store(lines[u][r], zero());
          continue;
        }
        alignas(64) int8_t q[span];
        float scale[max_groups], minimum[max_groups];
        t.unpack(static_cast<const uint8_t*>(p.w) + (first + r) * row_bytes + quant_row_bytes(t, u0 * unit),
            static_cast<int>(count * unit / t.elements), q, scale, minimum);
        for (int64_t e = 0; e < count * unit; e += 2 * W) {
          F v[2];
          for (int i = 0; i < 2; ++i) {
            const int64_t g = (e + i * W) / t.group;
            v[i] = mul(set1(scale[g]), load(q + e + i * W));
            if (t.minimum) v[i] = add(v[i], set1(minimum[g]));
          }
          store(lines[e / unit][r], rounded_pairs(v[0], v[1]));
        }
      }
      for (int64_t u = max_of(u0, s0); u < min_of(u0 + count, s0 + steps); ++u) {
        F rows[W];
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) rows[r] = load(lines[u - u0][r]);
        transpose(rows);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) store(to + (u - s0) * tile_step_floats + r * NR, rows[r]);
      }
    }
  }
}

// Minimum numbers of rows for which converting the weights to bf16 pays off. Packed weights of fewer than 8 bits
// convert fastest. 8-bit weights are bound by memory, and stored blocks must be unpacked first.
constexpr int quant_tile_rows = 48, fast_tile_rows = 24;
inline bool on_tiles(const QuantLinear& p) {
  const bool kept = p.packed || p.unpacked, fast = kept && p.w_type != DType::q8_0;
  return p.int8 && !p.rowwise && p.m >= (fast ? fast_tile_rows : quant_tile_rows) && p.n > 0 && p.k > 0;
}

template <class P> TileSource packed_source(const QuantLinear& p) { return {&p, tile_panel_of_packed<P>}; }
inline TileSource tile_source(const QuantLinear& p) {
  if (p.packed) switch (p.w_type) {
      case DType::q8_0: return packed_source<Packed8>(p);
      case DType::q4_0: return packed_source<Packed4>(p);
      case DType::q5_0: return packed_source<Packed5>(p);
      case DType::q4_k: return packed_source<Packed4K>(p);
      case DType::q6_k: return packed_source<Packed6K>(p);
      default: break;  // no other type is ever packed
    }
  return {&p, tile_panel_of_blocks};
}
inline void quant_tiles(const QuantLinear& p, Pool& pool, void* scratch) {
  Gemm g{};
  g.m = p.m, g.n = p.n, g.k = p.k;
  g.a = p.x, g.a_type = p.x_type, g.lda = p.k;
  g.b_type = DType::bf16, g.b_transposed = true;
  g.c = p.y, g.c_type = p.y_type, g.ldc = p.n;
  g.bias = p.bias, g.bias_type = p.bias_type;
  const TileSource source = tile_source(p);
  gemm_tiles(g, pool, scratch, &source);
}

// Multiplies one x by several weights.
inline void quant_linears_tiles(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  for (int i = 0, end; i < count; i = end) {
    for (end = i; end < count && !on_tiles(p[end]);) ++end;
    if (end > i) below.quant_linears(p + i, end - i, pool, scratch);
    for (; end < count && on_tiles(p[end]); ++end) quant_tiles(p[end], pool, scratch);
  }
}
inline void quant_linear_tiles(const QuantLinear& p, Pool& pool, void* scratch) {
  quant_linears_tiles(&p, 1, pool, scratch);
}
// Returns an upper bound of the scratch. It also holds for fewer rows, and whether or not weights are packed.
inline size_t quant_linear_tiles_scratch(const QuantLinear& p, int threads) {
  const size_t other = below.quant_linear_scratch(p, threads);
  return p.int8 && !p.rowwise ? max_of(other, tile_scratch(p.m, p.n, p.k, threads)) : other;
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
