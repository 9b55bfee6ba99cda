// Weights packed once, where the processor multiplies bytes by fours (VNNI): panels of 16 outputs, four neighbouring
// elements of one output in each lane, so that one load meets one product and no shuffle. A row's sum is one chain over
// units of 32 elements, whatever rows share the product: a row's bits do not depend on its company.
//
// A panel is (k / 64) double units, each of them 64-byte aligned:
//   q8_0: 2 x 8 vectors of integers + 128, then 2 x 16 scales (f16)                  1088 bytes for 16 x 64 weights
//   q4_0: 2 x 4 vectors of integers + 8, vector i with fours i (low) and i + 4 (high), then the scales     576 bytes
// The last double unit of an odd number of units ends in zeros.
#pragma once
#include "cpu/int8_gemm-inl.h"

#if defined(HEDDLE_SIMD_VNNI)
namespace heddle {
namespace HEDDLE_ISA {

struct Packed8 {
  static constexpr int vectors = 8, offset = 128;
  static constexpr DType type = DType::q8_0;
};
struct Packed4 {
  static constexpr int vectors = 4, offset = 8;
  static constexpr DType type = DType::q4_0;
};
constexpr int packed_scales = 2 * W * static_cast<int>(sizeof(f16));  // bytes of a double unit
template <class P> constexpr int64_t double_bytes = 2 * P::vectors * 64 + packed_scales;
template <class P> int64_t packed_panel_bytes(int64_t k) { return ceil_div(k / unit, 2) * double_bytes<P>; }

// Rows of activations for packed weights: values are (double units, rows, 64), scales and starts (double units, 2, rows).
struct PackedRows {
  int8_t* values;
  float* scales;
  int32_t* starts;  // minus the weights' offset times the sum of a unit
  int64_t rows;
};

// RM rows from row i on by PN panels, each of which goes on where its last one ended. out (PN, RM, 16).
template <class P, int RM, int PN>
[[gnu::noinline]] void packed_tile(const PackedRows& x, int64_t i, int64_t k, const uint8_t* const* panels, float* out) {
  constexpr int ahead = 2048;
  const int64_t doubles = ceil_div(k / unit, 2);
  const uint8_t* at[PN];
  F sum[PN][RM];
#pragma GCC unroll 8
  for (int n = 0; n < PN; ++n) {
    at[n] = panels[n];
#pragma GCC unroll 12
    for (int m = 0; m < RM; ++m) sum[n][m] = zero();
  }
  const int8_t* values = x.values + i * 2 * unit;
  const float* scales = x.scales + i;
  const int32_t* starts = x.starts + i;
#pragma GCC unroll 1
  for (int64_t d = 0; d < doubles; ++d) {
#pragma GCC unroll 8
    for (int n = 0; n < PN; ++n)
#pragma GCC unroll 17
      for (int64_t b = 0; b < double_bytes<P>; b += 64) __builtin_prefetch(at[n] + ahead + b);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m512i dot[PN][RM];
#pragma GCC unroll 8
      for (int n = 0; n < PN; ++n)
#pragma GCC unroll 12
        for (int m = 0; m < RM; ++m) dot[n][m] = _mm512_set1_epi32(starts[h * x.rows + m]);
      constexpr int steps = P::vectors;
#pragma GCC unroll 8
      for (int s = 0; s < steps; ++s) {
        __m512i low[RM], high[RM];
#pragma GCC unroll 12
        for (int m = 0; m < RM; ++m) {
          int32_t bits;
          __builtin_memcpy(&bits, values + m * 2 * unit + h * unit + 4 * s, 4);
          low[m] = _mm512_set1_epi32(bits);
          if (P::vectors == 4) {
            __builtin_memcpy(&bits, values + m * 2 * unit + h * unit + 4 * (s + 4), 4);
            high[m] = _mm512_set1_epi32(bits);
          }
        }
#pragma GCC unroll 8
        for (int n = 0; n < PN; ++n) {
          const __m512i w = _mm512_load_si512(at[n] + (h * steps + s) * 64);
          const __m512i first = P::vectors == 4 ? _mm512_and_si512(w, _mm512_set1_epi8(15)) : w;
#pragma GCC unroll 12
          for (int m = 0; m < RM; ++m) {
            dot[n][m] = _mm512_dpbusd_epi32(dot[n][m], first, low[m]);
            HEDDLE_IN_PLACE(dot[n][m]);
          }
          if (P::vectors == 4) {
            const __m512i second = _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15));
#pragma GCC unroll 12
            for (int m = 0; m < RM; ++m) {
              dot[n][m] = _mm512_dpbusd_epi32(dot[n][m], second, high[m]);
              HEDDLE_IN_PLACE(dot[n][m]);
            }
          }
        }
      }
#pragma GCC unroll 8
      for (int n = 0; n < PN; ++n) {
        const F own = load(reinterpret_cast<const f16*>(at[n] + 2 * steps * 64) + h * W);
#pragma GCC unroll 12
        for (int m = 0; m < RM; ++m) {
          sum[n][m] = fma(mul(own, set1(scales[h * x.rows + m])), numbers(dot[n][m]), sum[n][m]);
          HEDDLE_IN_PLACE(sum[n][m]);
        }
      }
    }
    values += x.rows * 2 * unit, scales += 2 * x.rows, starts += 2 * x.rows;
#pragma GCC unroll 8
    for (int n = 0; n < PN; ++n) at[n] += double_bytes<P>;
  }
#pragma GCC unroll 8
  for (int n = 0; n < PN; ++n)
#pragma GCC unroll 12
    for (int m = 0; m < RM; ++m) store(out + (n * RM + m) * W, sum[n][m]);
}

// Rows of x that share a tile, and panels beside them: as many as there are registers for, or fewer.
constexpr int packed_most_rows = 12;
using PackedTile = void (*)(const PackedRows&, int64_t i, int64_t k, const uint8_t* const* panels, float* out);
struct PackedTiles {
  int rows, panels;
  PackedTile run;
};
template <class P> constexpr PackedTiles packed_tiles[] = {
    {12, 1, packed_tile<P, 12, 1>}, {8, 1, packed_tile<P, 8, 1>}, {4, 2, packed_tile<P, 4, 2>}, {4, 1, packed_tile<P, 4, 1>},
    {2, 4, packed_tile<P, 2, 4>},   {2, 2, packed_tile<P, 2, 2>}, {2, 1, packed_tile<P, 2, 1>}, {1, 4, packed_tile<P, 1, 4>},
    {1, 2, packed_tile<P, 1, 2>},   {1, 1, packed_tile<P, 1, 1>},
};

inline int64_t packed_row_tiles(int64_t m) { return ceil_div(m, packed_most_rows); }
// Bytes of the rows of a tile: values, scales, starts.
inline int64_t packed_tile_bytes(int64_t k) {
  return ceil_div(k / unit, 2) * packed_most_rows * (2 * unit + 2 * 4 + 2 * 4);
}
inline PackedRows packed_rows(void* scratch, int64_t tile, int64_t k, int64_t m) {
  const int64_t doubles = ceil_div(k / unit, 2);
  char* at = static_cast<char*>(scratch) + tile * packed_tile_bytes(k);
  PackedRows x{};
  x.rows = min_of<int64_t>(packed_most_rows, m - tile * packed_most_rows);
  x.values = reinterpret_cast<int8_t*>(at);
  x.scales = reinterpret_cast<float*>(at + doubles * packed_most_rows * 2 * unit);
  x.starts = reinterpret_cast<int32_t*>(x.scales + doubles * packed_most_rows * 2);
  return x;
}

inline void round_packed_rows(const QuantLinear& p, int offset, void* scratch, Pool& pool) {
  const int64_t units = p.k / unit, doubles = ceil_div(units, 2);
  pool.range(p.m * doubles, 256, [&](int64_t begin, int64_t end, int) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t row = index / doubles, d = index % doubles, r = row % packed_most_rows;
      const PackedRows x = packed_rows(scratch, row / packed_most_rows, p.k, p.m);
      int8_t* to = x.values + (d * x.rows + r) * 2 * unit;
      for (int h = 0; h < 2; ++h) {
        float* scale = x.scales + (2 * d + h) * x.rows + r;
        int32_t* start = x.starts + (2 * d + h) * x.rows + r;
        if (2 * d + h < units) {
          alignas(64) float numbers[unit];
          int32_t sums[2];
          load_unit(p, row, 2 * d + h, numbers);
          round_unit(numbers, to + h * unit, scale, sums);
          *start = -offset * (sums[0] + sums[1]);
        } else {
          for (int e = 0; e < unit; ++e) to[h * unit + e] = 0;
          *scale = 0, *start = 0;
        }
      }
    }
  });
}

// 4-bit panels as 8-bit ones, for products with many rows.
inline void widen_panel(const uint8_t* from, int64_t k, uint8_t* to) {
  for (int64_t d = 0; d < ceil_div(k / unit, 2); ++d, from += double_bytes<Packed4>, to += double_bytes<Packed8>) {
    for (int h = 0; h < 2; ++h)
      for (int s = 0; s < 4; ++s) {
        const __m512i both = _mm512_load_si512(from + (4 * h + s) * 64), low = _mm512_set1_epi8(15);
        _mm512_store_si512(to + (8 * h + s) * 64, _mm512_and_si512(both, low));
        _mm512_store_si512(to + (8 * h + s + 4) * 64, _mm512_and_si512(_mm512_srli_epi16(both, 4), low));
      }
    __builtin_memcpy(to + 16 * 64, from + 8 * 64, packed_scales);
  }
}

// Panels [p0, p1) by the rows of one tile; several of them at once lie far apart, each stream going on where its last
// panel ended.
template <class P>
void packed_columns(const QuantLinear& p, const PackedRows& x, int64_t first, const uint8_t* panels, int64_t panel_bytes, int64_t p0, int64_t p1) {
  alignas(64) float out[16 * W];
  int64_t i = 0, done = p0;
  for (const PackedTiles& tile : packed_tiles<P>) {
    while (i + tile.rows <= x.rows) {
      const int64_t each = (p1 - done) / tile.panels;
      for (int64_t j = 0; j < each; ++j) {
        const uint8_t* at[4];
        for (int s = 0; s < tile.panels; ++s) at[s] = panels + (done - p0 + s * each + j) * panel_bytes;
        tile.run(x, i, p.k, at, out);
        for (int s = 0; s < tile.panels; ++s)
          for (int m = 0; m < tile.rows; ++m) {
            const int64_t column = (done + s * each + j) * W;
            write_int8(p, first + i + m, column, p.n - column, load(out + (s * tile.rows + m) * W));
          }
      }
      done += each * tile.panels;
      if (done < p1) break;  // the next one is narrower
      i += tile.rows, done = p0;
    }
  }
}

// Rows of x from which 4-bit panels are widened before they are used.
constexpr int64_t packed_widen_rows = 2 * packed_most_rows;
constexpr int64_t packed_task_bytes = 131072;  // of panels, for the near cache

template <class P> void packed_linear(const QuantLinear& p, Pool& pool, void* scratch) {
  round_packed_rows(p, P::offset, scratch, pool);
  const int64_t tiles = packed_row_tiles(p.m), panels = ceil_div(p.n, W), bytes = packed_panel_bytes<P>(p.k);
  const bool widen = P::vectors == 4 && p.m >= packed_widen_rows;
  const int64_t wide = packed_panel_bytes<Packed8>(p.k);
  uint8_t* own = static_cast<uint8_t*>(scratch) + round_up(tiles * packed_tile_bytes(p.k), 64);
  const int64_t most = max_of<int64_t>(1, packed_task_bytes / max_of<int64_t>(1, widen ? wide : bytes));
  int64_t tasks = min_of<int64_t>(panels, pool.threads() * 4);
  if (tiles > 1) tasks = max_of(tasks, ceil_div(panels, most));
  else tasks = min_of(tasks, stream_tasks(panels * bytes, pool.threads()));
  pool.run(tasks, [&](int64_t task, int thread) {
    int64_t p0 = panels * task / tasks;
    const int64_t p1 = panels * (task + 1) / tasks;
    const uint8_t* from = static_cast<const uint8_t*>(p.packed);
    if (!widen) {
      for (int64_t t = 0; t < tiles; ++t)
        packed_columns<P>(p, packed_rows(scratch, t, p.k, p.m), t * packed_most_rows, from + p0 * bytes, bytes, p0, p1);
      return;
    }
    uint8_t* mine = own + thread * max_of(wide, packed_task_bytes);
    for (; p0 < p1; p0 += most) {
      const int64_t end = min_of(p0 + most, p1);
      for (int64_t j = p0; j < end; ++j) widen_panel(from + j * bytes, p.k, mine + (j - p0) * wide);
      for (int64_t t = 0; t < tiles; ++t)
        packed_columns<Packed8>(p, packed_rows(scratch, t, p.k, p.m), t * packed_most_rows, mine, wide, p0, end);
    }
  });
}

// Panels [p0, p1) of w as stored: fours of bytes (of nibbles: low those of a unit's first half, high of its second, which
// is how q4_0 stores them) of one output beside those of the others.
template <class P> void pack_panels(const QuantLinear& p, int64_t p0, int64_t p1, uint8_t* to) {
  constexpr int stored = 2 + P::vectors * 4;  // bytes of a unit: its scale first
  const int64_t units = p.k / unit, row_bytes = units * stored;
  const __m512i flip = P::vectors == 8 ? _mm512_set1_epi8(-128) : _mm512_setzero_si512();  // + 128
  alignas(64) static constexpr uint8_t nothing[stored] = {};
  const auto integers = [](const uint8_t* at) [[gnu::always_inline]] {  // of a unit
    if (P::vectors == 8) return load_bytes(at + 2);
    return _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 2)));
  };
  for (int64_t panel = p0; panel < p1; ++panel)
    for (int64_t d = 0; d < ceil_div(units, 2); ++d, to += double_bytes<P>) {
      F lines[W];
      uint16_t* scales = reinterpret_cast<uint16_t*>(to + 2 * P::vectors * 64);
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) {
        const uint8_t* from = static_cast<const uint8_t*>(p.w) + (panel * W + r) * row_bytes + 2 * d * stored;
        const bool there = panel * W + r < p.n;
        __builtin_prefetch(from + 512);
        const uint8_t* first = there ? from : nothing;
        const uint8_t* second = there && 2 * d + 1 < units ? from + stored : nothing;
        __builtin_memcpy(scales + r, first, 2);
        __builtin_memcpy(scales + W + r, second, 2);
        const __m512i both = P::vectors == 8 ? _mm512_inserti64x4(_mm512_castsi256_si512(integers(first)), integers(second), 1)
                                             : _mm512_castsi256_si512(joined(_mm256_castsi256_si128(integers(first)), _mm256_castsi256_si128(integers(second))));
        lines[r] = _mm512_castsi512_ps(_mm512_xor_si512(both, flip));
      }
      transpose(lines);
#pragma GCC unroll 16
      for (int v = 0; v < 2 * P::vectors; ++v) store(reinterpret_cast<float*>(to + v * 64), lines[v]);
    }
}

inline size_t quant_packed_bytes(DType type, int64_t n, int64_t k) {
  if (k % unit || k == 0) return 0;
  if (type == DType::q8_0) return static_cast<size_t>(ceil_div(n, W) * packed_panel_bytes<Packed8>(k));
  if (type == DType::q4_0) return static_cast<size_t>(ceil_div(n, W) * packed_panel_bytes<Packed4>(k));
  return 0;
}
template <class P> void pack_all(const QuantLinear& p, void* to, Pool& pool) {
  const int64_t bytes = packed_panel_bytes<P>(p.k);
  pool.range(ceil_div(p.n, W), 4, [&](int64_t p0, int64_t p1, int) { pack_panels<P>(p, p0, p1, static_cast<uint8_t*>(to) + p0 * bytes); });
}
inline void quant_pack(const QuantLinear& p, void* to, Pool& pool) {
  p.w_type == DType::q8_0 ? pack_all<Packed8>(p, to, pool) : pack_all<Packed4>(p, to, pool);
}

inline size_t packed_scratch(const QuantLinear& p, int threads) {
  if (!quant_packed_bytes(p.w_type, p.n, p.k)) return 0;
  const int64_t rows = round_up(packed_row_tiles(p.m) * packed_tile_bytes(p.k), 64);
  const int64_t panels = p.w_type == DType::q4_0 && p.m >= packed_widen_rows ? threads * max_of(packed_panel_bytes<Packed8>(p.k), packed_task_bytes) : 0;
  return static_cast<size_t>(rows + panels);
}
inline void packed_linear(const QuantLinear& p, Pool& pool, void* scratch) {
  p.w_type == DType::q8_0 ? packed_linear<Packed8>(p, pool, scratch) : packed_linear<Packed4>(p, pool, scratch);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
