// Activations for packed weights: rounded to 8 bits and laid out for the tiles of int8_packed_tile-inl.h.
#pragma once
#include "cpu/quant/int8_packed_forms-inl.h"

#if defined(HEDDLE_INT8_PACKED)
namespace heddle {
namespace HEDDLE_ISA {

// values: (units, rows, 32). scales and totals: (units, rows). starts: (units, groups, rows).
struct PackedRows {
  int8_t* values;
  float* scales;
  float* totals;    // scale times the sum of a unit
  int32_t* starts;  // minus the weights' offset times the sum of a group
  int64_t rows;
};

// Maximum number of rows that are interleaved in one tile, and share a panel while it is in cache.
constexpr int packed_max_rows = 12;
// Rows of x are stored in tiles. The number of a row's units is rounded up to whole blocks of every form
// (int8_packed_forms-inl.h). It is thus a multiple of four.
inline int64_t packed_row_tiles(int64_t m) { return ceil_div(m, packed_max_rows); }
inline int64_t packed_units(int64_t k) { return round_up(k / unit, span / unit); }
// A unit of a row has its integers, a scale, a total and up to two starts.
inline int64_t packed_tile_bytes(int64_t k) { return packed_units(k) * packed_max_rows * (unit + 4 + 4 + 2 * 4); }
inline PackedRows packed_rows(void* scratch, int64_t tile, int64_t k, int64_t m) {
  const int64_t floats = packed_units(k) * packed_max_rows;
  char* at = static_cast<char*>(scratch) + tile * packed_tile_bytes(k);
  PackedRows x{};
  x.rows = min_of<int64_t>(packed_max_rows, m - tile * packed_max_rows);
  x.values = reinterpret_cast<int8_t*>(at);
  x.scales = reinterpret_cast<float*>(at + floats * unit);
  x.totals = x.scales + floats;
  x.starts = reinterpret_cast<int32_t*>(x.totals + floats);
  return x;
}

#if defined(HEDDLE_SIMD_AVX512)
// Returns four lanes; lane i combines the 16 lanes of v[i] with op.
template <class Op> HEDDLE_SIMD __m128i fold_each(const __m512i (&v)[4], Op op) {
  const __m512i a = op(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i b = op(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i fours = op(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  const __m512i half = op(fours, _mm512_shuffle_i64x2(fours, fours, 0x4e));
  return _mm512_castsi512_si128(op(half, _mm512_shuffle_i64x2(half, half, 0xb1)));
}

// Rounds like round_unit, but four units at a time, so that one reduction serves four units. In the rest of this file
// "a four" means four neighboring units of a row. Each step runs over all units before the next step, because the
// steps of one unit depend on each other and would wait.
constexpr int fours_at_once = 16, units_at_once = 4 * fours_at_once;
template <int GROUPS> struct RoundedUnits {
  alignas(64) float scales[units_at_once];
  alignas(64) int32_t sums[GROUPS][units_at_once];  // per unit, or per half of a unit
};
// x[f]: the 128 numbers of four units. Writes the integers of `x[f]` to `to[f]`, `to[f] + stride`, …
template <int GROUPS>
HEDDLE_SIMD void round_units(
    const float* const* x, int fours, int8_t* const* to, int64_t stride, RoundedUnits<GROUPS>& out) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), ones = _mm512_set1_epi8(1), nothing = _mm512_setzero_si512();
  alignas(64) int32_t tops[units_at_once];
  alignas(64) float inverse[2][units_at_once], left[2][units_at_once];
  const int vectors = ceil_div(fours, 4);
  for (int v = 4 * vectors - 4; v < 4 * vectors; ++v)  // clears lanes of the last vector, which may be incomplete
    for (int c = 0; c < 2; ++c)
      _mm_store_si128(reinterpret_cast<__m128i*>(tops + 4 * v), _mm_setzero_si128()),
          _mm_store_ps(left[c] + 4 * v, _mm_setzero_ps());
  for (int f = 0; f < fours; ++f) {
    __m512i largest[4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const __m512i low = _mm512_loadu_si512(x[f] + u * unit), high = _mm512_loadu_si512(x[f] + u * unit + W);
      largest[u] = _mm512_max_epi32(_mm512_and_si512(low, magnitude), _mm512_and_si512(high, magnitude));
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(tops + 4 * f),
        fold_each(largest, [](__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }));
  }
  for (int v = 0; v < vectors; ++v) {
    const __m512i top = _mm512_load_si512(tops + 16 * v);
    const F largest = _mm512_castsi512_ps(top);
    const __mmask16 there = _mm512_cmplt_epi32_mask(top, _mm512_set1_epi32(0x7f800000)) &
                            _mm512_cmp_ps_mask(largest, set1(least_activation), _CMP_GT_OQ);
    for (int c = 0; c < 2; ++c)
      store(inverse[c] + 16 * v, _mm512_maskz_div_ps(there, set1(activation_steps[c]), largest));
  }
  for (int f = 0; f < fours; ++f) {
    __m512i squares[2][4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const F low = load(x[f] + u * unit), high = load(x[f] + u * unit + W);
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c)
        squares[c][u] = _mm512_castps_si512(left_squared(low, high, set1(inverse[c][4 * f + u])));
    }
    const auto sum = [](__m512i a, __m512i b) {
      return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
    };
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c)
      _mm_store_si128(reinterpret_cast<__m128i*>(left[c] + 4 * f), fold_each(squares[c], sum));
  }
  for (int v = 0; v < vectors; ++v) {
    const __m512i top = _mm512_load_si512(tops + 16 * v);
    // The rule of second_steps_leave_less, for 16 units at once.
    const F first = mul(load(left[0] + 16 * v), set1(activation_steps[1] * activation_steps[1]));
    const __mmask16 less = _mm512_cmp_ps_mask(
        mul(load(left[1] + 16 * v), set1(activation_steps[0] * activation_steps[0])), first, _CMP_LT_OQ);
    const __mmask16 finite = _mm512_cmplt_epi32_mask(top, _mm512_set1_epi32(0x7f800000));
    const F steps = _mm512_mask_mov_ps(set1(activation_steps[0]), less, set1(activation_steps[1]));
    store(out.scales + 16 * v, _mm512_mask_div_ps(set1(__builtin_nanf("")), finite, _mm512_castsi512_ps(top), steps));
    store(inverse[0] + 16 * v, _mm512_mask_mov_ps(load(inverse[0] + 16 * v), less, load(inverse[1] + 16 * v)));
  }
  for (int f = 0; f < fours; ++f) {
    __m512i sums[GROUPS][4];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      // `by` is zero if the unit has a number that is not finite. The product of that number is NaN, which converts to
      // 0x80000000. The lowest byte of 0x80000000 is zero.
      const F by = set1(inverse[0][4 * f + u]);
      const __m128i low = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(mul(load(x[f] + u * unit), by)));
      const __m128i high = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(mul(load(x[f] + u * unit + W), by)));
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[f] + u * stride), both);
      sums[0][u] =
          _mm512_dpbusd_epi32(nothing, ones, GROUPS == 1 ? _mm512_zextsi256_si512(both) : _mm512_zextsi128_si512(low));
      if (GROUPS == 2) sums[GROUPS - 1][u] = _mm512_dpbusd_epi32(nothing, ones, _mm512_zextsi128_si512(high));
    }
    const auto sum = [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); };
    for (int g = 0; g < GROUPS; ++g)
      _mm_store_si128(reinterpret_cast<__m128i*>(out.sums[g] + 4 * f), fold_each(sums[g], sum));
  }
}

template <class P> void round_packed_tile(const QuantLinear& p, int64_t tile, void* scratch) {
  const PackedRows x = packed_rows(scratch, tile, p.k, p.m);
  // each: fours per row; all: fours of all rows.
  const int64_t units = p.k / unit, each = ceil_div(packed_blocks<P>(p.k) * P::units, 4), all = x.rows * each;
  alignas(64) float numbers[fours_at_once][4 * unit];
  int64_t r = 0, first = 0;  // row and first unit of the next four
  for (int64_t begin = 0; begin < all; begin += fours_at_once) {
    const int fours = static_cast<int>(min_of<int64_t>(fours_at_once, all - begin));
    const float* from[fours_at_once];
    int8_t* to[fours_at_once];
    int64_t rows[fours_at_once], firsts[fours_at_once];
    for (int f = 0; f < fours; ++f) {
      const int64_t row = tile * packed_max_rows + r;
      rows[f] = r, firsts[f] = first;
      to[f] = x.values + (first * x.rows + r) * unit;
      from[f] = numbers[f];
      if (p.x_type == DType::f32 && first + 4 <= units)
        from[f] = static_cast<const float*>(p.x) + row * p.k + first * unit;
      else
        for (int64_t u = 0; u < 4; ++u) {
          if (first + u < units) load_unit(p, row, first + u, numbers[f] + u * unit);
          else store(numbers[f] + u * unit, zero()), store(numbers[f] + u * unit + W, zero());
        }
      if (first += 4; first == 4 * each) first = 0, ++r;
    }
    RoundedUnits<P::groups> rounded;
    round_units(from, fours, to, x.rows * unit, rounded);
    for (int f = 0; f < fours; ++f)
      for (int64_t u = 0; u < 4; ++u) {
        const int64_t at = (firsts[f] + u) * x.rows + rows[f], j = 4 * f + u;
        x.scales[at] = rounded.scales[j];
        int32_t total = 0;
        for (int g = 0; g < P::groups; ++g)
          total += rounded.sums[g][j],
              x.starts[((firsts[f] + u) * P::groups + g) * x.rows + rows[f]] = -P::offset * rounded.sums[g][j];
        if (P::has_minimum) x.totals[at] = rounded.scales[j] * static_cast<float>(total);
      }
  }
}
#else
template <class P> void round_packed_tile(const QuantLinear& p, int64_t tile, void* scratch) {
  const PackedRows x = packed_rows(scratch, tile, p.k, p.m);
  const int64_t units = p.k / unit, padded = packed_blocks<P>(p.k) * P::units;
  alignas(64) float numbers[unit];
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t u = 0; u < padded; ++u) {
      for (int i = 0; u >= units && i < unit; ++i) numbers[i] = 0;
      if (u < units) load_unit(p, tile * packed_max_rows + r, u, numbers);
      const int64_t at = u * x.rows + r;
      int32_t sums[2];
      round_unit(numbers, x.values + at * unit, x.scales + at, sums);
      if (P::groups == 1) sums[0] += sums[1];
      for (int g = 0; g < P::groups; ++g) x.starts[(u * P::groups + g) * x.rows + r] = -P::offset * sums[g];
      if (P::has_minimum) x.totals[at] = x.scales[at] * static_cast<float>(sums[0]);
    }
}
#endif
template <class P> void round_packed_rows(const QuantLinear& p, void* scratch, Pool& pool) {
  const int64_t tiles = packed_row_tiles(p.m);
  if (p.m * (p.k / unit) < 2048)
    for (int64_t tile = 0; tile < tiles; ++tile) round_packed_tile<P>(p, tile, scratch);
  else pool.run(tiles, [&](int64_t tile, int) { round_packed_tile<P>(p, tile, scratch); });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
