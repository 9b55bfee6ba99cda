// Products with few rows of activations (decoding). Weights are read once, in place. Memory bandwidth is the limit, and
// several parallel streams use it best: the streams of a thread read distant rows of weights, and each stream reads
// consecutive rows.
#pragma once
#include "cpu/quant/int8-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_INT8_PACKED)
using Bytes = __m256i;  // a unit of 8-bit integers
using Eight = __m256;
HEDDLE_SIMD Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
HEDDLE_SIMD Bytes and15(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
HEDDLE_SIMD Bytes shift_right(Bytes v, int bits) { return _mm256_srl_epi16(v, _mm_cvtsi32_si128(bits)); }
HEDDLE_SIMD Bytes joined(__m128i low, __m128i high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

#if defined(HEDDLE_SIMD_AVX512)
using Lanes = __m512i;  // W sums
HEDDLE_SIMD Lanes plus(Lanes a, Lanes b) { return _mm512_add_epi32(a, b); }
HEDDLE_SIMD F numbers(Lanes a) { return _mm512_cvtepi32_ps(a); }
#else
using Lanes = __m256i;
HEDDLE_SIMD Lanes plus(Lanes a, Lanes b) { return _mm256_add_epi32(a, b); }
HEDDLE_SIMD F numbers(Lanes a) { return _mm256_cvtepi32_ps(a); }
#endif

#if defined(HEDDLE_SIMD_VNNI) && defined(HEDDLE_EMULATE_VNNI)
HEDDLE_SIMD __m256i dot_of_four(__m256i sum, __m256i w, __m256i x) {  // same bits as VPDPBUSD, computed on 16-bit words
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(x, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
#elif defined(HEDDLE_SIMD_VNNI)
HEDDLE_SIMD __m256i dot_of_four(__m256i sum, __m256i w, __m256i x) { return _mm256_dpbusd_avx_epi32(sum, w, x); }
#elif defined(HEDDLE_DOT_OF_FOUR)
HEDDLE_SIMD __m256i dot_of_four(__m256i sum, __m256i w, __m256i x) { return _mm256_dpbusd_epi32(sum, w, x); }
#endif

// Returns start + the products of a unit. Each lane holds the sum of four products. The first four lanes belong to the
// unit's first half.
template <bool SIGNED> HEDDLE_SIMD __m256i products(__m256i start, Bytes w, Bytes x) {
#if defined(HEDDLE_DOT_OF_FOUR)
  return dot_of_four(start, w, x);  // signed weights have 128 added
#else
  __m256i pairs =
      SIGNED ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
  return _mm256_add_epi32(start, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}
#if defined(HEDDLE_DOT_OF_FOUR)
constexpr int signed_offset = 128;
#else
constexpr int signed_offset = 0;
#endif

HEDDLE_SIMD float reduce_eight(Eight v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
// Returns a b + c per lane.
HEDDLE_SIMD Eight fma8(Eight a, Eight b, Eight c) { return _mm256_fmadd_ps(a, b, c); }

constexpr int part = span / unit;  // units whose scales are computed at a time
constexpr int ahead_bytes = 1024;  // prefetch distance of a stream

// Computes out[m * RN + n] for RM rows of x from row i on and RN rows of weights, which are unpacked first. Each output
// is added up in one fixed order for all RM and RN, so a row's bits do not depend on other rows.
template <int GROUP, bool MINIMUM, int RM, int RN>
[[gnu::noinline]] void dot_tile(
    const QuantType& t, const Int8Rows& x, int64_t i, int64_t units, const uint8_t* const* rows, float* out) {
  constexpr int groups = unit / GROUP;
  const int64_t part_bytes = quant_row_bytes(t, part * unit);
  alignas(64) float scale[RN][part * groups], minimum[RN][MINIMUM ? part * groups : 1], both[RN][RM][part * groups];
  alignas(64) int8_t q[RN][part * unit];
  const uint8_t* at[RN];
  Eight sum[RN][RM], lowest[RN][RM];
#pragma GCC unroll 8
  for (int n = 0; n < RN; ++n) {
    at[n] = rows[n];
#pragma GCC unroll 8
    for (int m = 0; m < RM; ++m) sum[n][m] = lowest[n][m] = _mm256_setzero_ps();
  }
  for (int64_t u0 = 0; u0 < units; u0 += part) {
    const int count = static_cast<int>(min_of<int64_t>(part, units - u0)),
              padded = static_cast<int>(round_up(count * groups, 8));
    const float* own = x.scales + (i * x.stride + u0) * groups;
    const float* total = x.totals + (i * x.stride + u0) * groups;
    const int64_t row = x.stride * groups;
    const int8_t* value = x.values + (u0 * x.rows + i) * unit;
    const int32_t* start = x.starts + (u0 * x.rows + i) * 8;
    for (int n = 0; n < RN; ++n) {
      for (int64_t b = 0; b < part_bytes; b += 64) fetch_stream(at[n] + ahead_bytes + b);
      t.unpack(at[n], count * unit / t.elements, q[n], scale[n], minimum[n]);
      if (MINIMUM)
        for (int g = count * groups; g < padded; ++g) minimum[n][g] = 0;
      for (int m = 0; m < RM; ++m)
        for (int g = 0; g < padded; g += 8) {
          _mm256_store_ps(
              both[n][m] + g, _mm256_mul_ps(_mm256_load_ps(scale[n] + g), _mm256_loadu_ps(own + m * row + g)));
          if (MINIMUM)
            lowest[n][m] = fma8(_mm256_load_ps(minimum[n] + g), _mm256_loadu_ps(total + m * row + g), lowest[n][m]);
        }
    }
#pragma GCC unroll 1
    for (int u = 0; u < count; ++u) {
#pragma GCC unroll 8
      for (int n = 0; n < RN; ++n) {
        Bytes w = load_bytes(q[n] + u * unit);
#if defined(HEDDLE_DOT_OF_FOUR)
        w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
#endif
#pragma GCC unroll 8
        for (int m = 0; m < RM; ++m) {
          const __m256i dot = products<true>(load_bytes(start + 8 * m), w, load_bytes(value + unit * m));
          const Eight own_scale =
              groups == 1 ? _mm256_broadcast_ss(both[n][m] + u)
                          : _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(both[n][m] + groups * u)),
                                _mm_broadcast_ss(both[n][m] + groups * u + groups - 1), 1);
          sum[n][m] = fma8(_mm256_cvtepi32_ps(dot), own_scale, sum[n][m]);
        }
      }
      value += x.rows * unit, start += x.rows * 8;
    }
    for (int n = 0; n < RN; ++n) at[n] += part_bytes;
  }
#pragma GCC unroll 8
  for (int n = 0; n < RN; ++n)
#pragma GCC unroll 8
    for (int m = 0; m < RM; ++m)
      out[m * RN + n] = reduce_eight(MINIMUM ? _mm256_add_ps(sum[n][m], lowest[n][m]) : sum[n][m]);
}

using DotTile = void (*)(
    const QuantType&, const Int8Rows&, int64_t i, int64_t units, const uint8_t* const* rows, float* out);
constexpr int dot_streams = 8;  // rows of weights of the widest tile
struct DotTiles {
  DotTile several[4];  // 1, 2, 4 and 8 rows of x by 8, 4, 4 and 2 rows of weights
  DotTile one[4];      // 1, 2, 4 and 8 rows of x by one row of weights
  int groups;
};
constexpr int tile_streams[] = {8, 4, 4, 2};
template <int GROUP, bool MINIMUM> constexpr DotTiles tiles_of() {
  return {{dot_tile<GROUP, MINIMUM, 1, 8>, dot_tile<GROUP, MINIMUM, 2, 4>, dot_tile<GROUP, MINIMUM, 4, 4>,
              dot_tile<GROUP, MINIMUM, 8, 2>},
      {dot_tile<GROUP, MINIMUM, 1, 1>, dot_tile<GROUP, MINIMUM, 2, 1>, dot_tile<GROUP, MINIMUM, 4, 1>,
          dot_tile<GROUP, MINIMUM, 8, 1>},
      unit / GROUP};
}
inline DotTiles dot_tiles(const QuantType& t) {
  if (t.group == unit) return t.minimum ? tiles_of<unit, true>() : tiles_of<unit, false>();
  return t.minimum ? tiles_of<unit / 2, true>() : tiles_of<unit / 2, false>();
}

// Writes one output, with its bias.
HEDDLE_SIMD void write_one(const QuantLinear& p, int64_t i, int64_t j, float sum) {
  if (p.bias) sum += load_any(p.bias, p.bias_type, j);
  const int64_t at = i * p.n + j;
  if (p.y_type == DType::f32) static_cast<float*>(p.y)[at] = sum;
  else store1(static_cast<bf16*>(p.y) + at, sum);
}

// Computes columns [j0, j1) of rows [i, i + 2^size). Splits the columns into as many streams as the tile has.
inline void dot_columns(const QuantLinear& p, const QuantType& t, const DotTiles& tiles, const Int8Rows& x, int64_t i,
    int size, int64_t j0, int64_t j1) {
  const int64_t units = p.k / unit, row_bytes = quant_row_bytes(t, p.k);
  const int streams = tile_streams[size], rows = 1 << size;
  const int64_t each = (j1 - j0) / streams;
  const uint8_t* w = static_cast<const uint8_t*>(p.w);
  float out[8 * dot_streams];
  for (int64_t j = 0; j < each; ++j) {
    const uint8_t* at[dot_streams];
    for (int s = 0; s < streams; ++s) at[s] = w + (j0 + s * each + j) * row_bytes;
    tiles.several[size](t, x, i, units, at, out);
    for (int m = 0; m < rows; ++m)
      for (int s = 0; s < streams; ++s) write_one(p, i + m, j0 + s * each + j, out[m * streams + s]);
  }
  for (int64_t j = j0 + each * streams; j < j1; ++j) {
    const uint8_t* at[1] = {w + j * row_bytes};
    tiles.one[size](t, x, i, units, at, out);
    for (int m = 0; m < rows; ++m) write_one(p, i + m, j, out[m]);
  }
}

// Rounds the rows of x, and computes the tiles' initial sums: minus the offset times the sum of each four values.
inline void round_rows(const QuantLinear& p, const Int8Rows& x, const DotTiles& tiles, Pool& pool) {
  pool.range(p.m * (p.k / unit), 512, [&](int64_t begin, int64_t end, int) {
    const int64_t units = p.k / unit;
    for (int64_t index = begin; index < end; ++index) {
      if (index % units == units - 1)  // totals are read in eights: clears those beyond the last unit
        for (int64_t g = (index / units * x.stride + units) * tiles.groups;
            g < (index / units + 1) * x.stride * tiles.groups; ++g)
          x.totals[g] = 0;
      alignas(64) float numbers[unit];
      int32_t sums[2];
      float scale;
      load_unit(p, index / units, index % units, numbers);
      const int64_t at = index / units * x.stride + index % units;
      const int64_t place = index % units * x.rows + index / units;
      int8_t* q = x.values + place * unit;
      round_unit(numbers, q, &scale, sums);
      for (int g = 0; g < tiles.groups; ++g) {
        x.scales[at * tiles.groups + g] = scale;
        x.totals[at * tiles.groups + g] = scale * static_cast<float>(tiles.groups == 2 ? sums[g] : sums[0] + sums[1]);
      }
      const __m256i fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), load_bytes(q)),
          _mm256_set1_epi16(static_cast<int16_t>(-signed_offset)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(x.starts + place * 8), fours);
    }
  });
}

inline void int8_dot(const QuantLinear& p, const Int8Rows& x, Pool& pool) {
  const QuantType& type = quant_type(p.w_type);
  const DotTiles tiles = dot_tiles(type);
  round_rows(p, x, tiles, pool);
  const int64_t tasks = Pool::stream_tasks(p.n * quant_row_bytes(type, p.k), pool.threads());
  pool.run(tasks, [&](int64_t task, int) {
    const int64_t j0 = p.n * task / tasks, j1 = p.n * (task + 1) / tasks;
    for (int64_t i = 0; i < p.m;) {
      int size = 3;
      while (i + (1 << size) > p.m) --size;
      dot_columns(p, type, tiles, x, i, size, j0, j1);
      i += 1 << size;
    }
  });
}

#else  // four lanes: loops over unpacked integers

constexpr int64_t dot_rows = 4;  // rows of activations that share unpacked weights

// group_dots returns the dot products of a group of x with the elements from `at` on of each output.
#if defined(HEDDLE_SIMD_DOT)
HEDDLE_SIMD F group_dots(const int8_t (&q)[W][span], int at, int group, const int8_t* x) {
  int32x4_t sum[W];
  const int8x16_t first = vld1q_s8(x);
#pragma GCC unroll 4
  for (int r = 0; r < W; ++r) sum[r] = vdotq_s32(vdupq_n_s32(0), vld1q_s8(q[r] + at), first);
  if (group == unit) {
    const int8x16_t second = vld1q_s8(x + unit / 2);
#pragma GCC unroll 4
    for (int r = 0; r < W; ++r) sum[r] = vdotq_s32(sum[r], vld1q_s8(q[r] + at + unit / 2), second);
  }
  const int32x4_t totals = vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3]));
  return reinterpret_cast<F>(vcvtq_f32_s32(totals));
}
#else
HEDDLE_SIMD int32_t plain_dot(const int8_t* a, const int8_t* b) {  // over half a unit
  int32_t s = 0;
  for (int i = 0; i < unit / 2; ++i) s += static_cast<int32_t>(static_cast<int16_t>(a[i]) * static_cast<int16_t>(b[i]));
  return s;
}
HEDDLE_SIMD F group_dots(const int8_t (&q)[W][span], int at, int group, const int8_t* x) {
  alignas(16) float dot[W];
  for (int r = 0; r < W; ++r) {
    int32_t total = plain_dot(q[r] + at, x);
    if (group == unit) total += plain_dot(q[r] + at + unit / 2, x + unit / 2);
    dot[r] = static_cast<float>(total);
  }
  return load(dot);
}
#endif

// Computes W outputs from output j on, for `rows` rows of x from row i on.
[[gnu::noinline]] static void dot_tile(
    const QuantLinear& p, const QuantType& t, const Int8Rows& x, int64_t i, int64_t rows, int64_t j) {
  const int64_t units = p.k / unit, row_bytes = quant_row_bytes(t, p.k);
  alignas(16) int8_t q[W][span];
  alignas(16) float scale[max_groups][W], minimum[max_groups][W];
  F sum[dot_rows];
  for (int m = 0; m < dot_rows; ++m) sum[m] = zero();
  for (int64_t k0 = 0; k0 < p.k; k0 += span) {
    const int count = static_cast<int>(min_of<int64_t>(span, p.k - k0)), groups = count / t.group;
    for (int r = 0; r < W; ++r) {
      float s[max_groups], lowest[max_groups];
      t.unpack(static_cast<const uint8_t*>(p.w) + min_of(j + r, p.n - 1) * row_bytes + quant_row_bytes(t, k0),
          count / t.elements, q[r], s, lowest);
      for (int g = 0; g < groups; ++g) {
        scale[g][r] = s[g];
        if (t.minimum) minimum[g][r] = lowest[g];
      }
    }
    for (int64_t m = 0; m < rows; ++m)
      for (int g = 0; g < groups; ++g) {
        const int64_t element = k0 + g * t.group, at_unit = (i + m) * units + element / unit;
        const F dot = group_dots(q, g * t.group, t.group, x.values + (i + m) * p.k + element);
        const int32_t* sums = x.sums + 2 * at_unit;
        const int32_t total = t.group == unit ? sums[0] + sums[1] : sums[element / (unit / 2) % 2];
        const F own = set1(x.scales[at_unit]);
        sum[m] = fma(mul(load(scale[g]), own), dot, sum[m]);
        if (t.minimum) sum[m] = fma(load(minimum[g]), mul(own, set1(static_cast<float>(total))), sum[m]);
      }
  }
  for (int64_t m = 0; m < rows; ++m) write_int8(p, i + m, j, p.n - j, sum[m]);
}
inline void round_rows(const QuantLinear& p, const Int8Rows& x, Pool& pool) {
  const int64_t units = p.k / unit;
  pool.range(p.m * units, 512, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at) {
      alignas(64) float numbers[unit];
      load_unit(p, at / units, at % units, numbers);
      round_unit(numbers, x.values + at * unit, x.scales + at, x.sums + 2 * at);
    }
  });
}

inline void int8_dot(const QuantLinear& p, const Int8Rows& x, Pool& pool) {
  round_rows(p, x, pool);
  const QuantType& type = quant_type(p.w_type);
  const int64_t tiles = ceil_div(p.n, W), tile_bytes = W * quant_row_bytes(type, p.k);
  int64_t tasks = min_of<int64_t>(ceil_div(tiles * tile_bytes, 16384), pool.threads() * 8);
  if (tasks < 1 || pool.threads() == 1) tasks = 1;
  tasks = min_of(tasks, tiles);
  pool.run(tasks, [&](int64_t task, int) {
    for (int64_t j = tiles * task / tasks * W; j < tiles * (task + 1) / tasks * W; j += W)
      for (int64_t i = 0; i < p.m; i += dot_rows) dot_tile(p, type, x, i, min_of(dot_rows, p.m - i), j);
  });
}
#endif

}  // namespace HEDDLE_ISA
}  // namespace heddle
