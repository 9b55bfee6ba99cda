// Few rows of activations (decoding): the weights of W outputs at a time, read once and in place. Bound by memory.
#pragma once
#include "cpu/int8-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int64_t dot_rows = 4;  // rows of activations for which the weights stay in registers

#if defined(HEDDLE_SIMD_AVX2) || defined(HEDDLE_SIMD_AVX512)
using Bytes = __m256i;  // a unit of 8-bit integers
HEDDLE_SIMD Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
HEDDLE_SIMD Bytes and15(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
HEDDLE_SIMD Bytes shift_right(Bytes v, int bits) { return _mm256_srl_epi16(v, _mm_cvtsi32_si128(bits)); }

#if defined(HEDDLE_SIMD_AVX512)
using Lanes = __m512i;  // W sums
HEDDLE_SIMD Lanes plus(Lanes a, Lanes b) { return _mm512_add_epi32(a, b); }
HEDDLE_SIMD Lanes minus(Lanes a, int32_t b) { return _mm512_sub_epi32(a, _mm512_set1_epi32(b)); }
HEDDLE_SIMD F numbers(Lanes a) { return _mm512_cvtepi32_ps(a); }
#else
using Lanes = __m256i;
HEDDLE_SIMD Lanes plus(Lanes a, Lanes b) { return _mm256_add_epi32(a, b); }
HEDDLE_SIMD Lanes minus(Lanes a, int32_t b) { return _mm256_sub_epi32(a, _mm256_set1_epi32(b)); }
HEDDLE_SIMD F numbers(Lanes a) { return _mm256_cvtepi32_ps(a); }
#endif

// Products of a unit, added in neighbours: eight 32-bit sums, the first four of the unit's first half.
template <bool SIGNED> HEDDLE_SIMD __m256i products(Bytes w, Bytes x) {
#if defined(HEDDLE_SIMD_VNNI)
  return _mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x);  // signed ones come with 128 added
#else
  __m256i pairs = SIGNED ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}
HEDDLE_SIMD __m256i neighbours32(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}
HEDDLE_SIMD __m256i quarters32(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
// Sums of the two halves of a unit, for eight outputs.
template <bool SIGNED> HEDDLE_SIMD void eight_sums(const Bytes* w, Bytes x, __m256i& first, __m256i& second) {
  __m256i a = quarters32(neighbours32(products<SIGNED>(w[0], x), products<SIGNED>(w[1], x)),
                         neighbours32(products<SIGNED>(w[2], x), products<SIGNED>(w[3], x)));
  __m256i b = quarters32(neighbours32(products<SIGNED>(w[4], x), products<SIGNED>(w[5], x)),
                         neighbours32(products<SIGNED>(w[6], x), products<SIGNED>(w[7], x)));
  first = _mm256_permute2x128_si256(a, b, 0x20), second = _mm256_permute2x128_si256(a, b, 0x31);
}
#if !defined(HEDDLE_SIMD_VNNI)
// The same in 16 bits until the end, for unsigned integers of at most 31: four products of pairs fit (31 * 127 * 2 * 4).
HEDDLE_SIMD __m256i neighbours16(__m256i a, __m256i b) {
  return _mm256_add_epi16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}
HEDDLE_SIMD __m256i quarters16(__m256i a, __m256i b) {
  return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
HEDDLE_SIMD __m256i four_narrow(const Bytes* w, Bytes x) {
  __m256i a = neighbours16(_mm256_maddubs_epi16(w[0], x), _mm256_maddubs_epi16(w[1], x));
  __m256i b = neighbours16(_mm256_maddubs_epi16(w[2], x), _mm256_maddubs_epi16(w[3], x));
  return _mm256_madd_epi16(quarters16(a, b), _mm256_set1_epi16(1));
}
HEDDLE_SIMD void eight_narrow_sums(const Bytes* w, Bytes x, __m256i& first, __m256i& second) {
  __m256i a = four_narrow(w, x), b = four_narrow(w + 4, x);
  first = _mm256_permute2x128_si256(a, b, 0x20), second = _mm256_permute2x128_si256(a, b, 0x31);
}
#endif

template <class S> HEDDLE_SIMD void eight_of(const Bytes* w, Bytes x, __m256i& first, __m256i& second) {
#if !defined(HEDDLE_SIMD_VNNI)
  if (S::narrow) return eight_narrow_sums(w, x, first, second);
#endif
  eight_sums<S::is_signed>(w, x, first, second);
}
template <class S> HEDDLE_SIMD void unit_sums(const Bytes* w, Bytes x, Lanes& first, Lanes& second) {
#if defined(HEDDLE_SIMD_AVX512)
  __m256i a, b, c, d;
  eight_of<S>(w, x, a, b), eight_of<S>(w + 8, x, c, d);
  first = _mm512_inserti64x4(_mm512_castsi256_si512(a), c, 1), second = _mm512_inserti64x4(_mm512_castsi256_si512(b), d, 1);
#else
  eight_of<S>(w, x, first, second);
#endif
}

HEDDLE_SIMD void transpose8(__m256 (&r)[8]) {
  __m256 t[8], s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    s[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    s[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    s[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    s[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
  }
}
// Eight numbers of each of eight outputs become eight rows of lanes.
HEDDLE_SIMD void scatter8(__m256 (&rows)[8], float* to, int lane) {
  transpose8(rows);
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) _mm256_storeu_ps(to + g * W + lane, rows[g]);
}

// Where a type's units and scales come from, for the W outputs of a tile. prepare() takes what is shared by a span:
// `scale` and `minimum` then hold (groups, W); get() gives the integers of unit u of output r, without their offset.
struct Scales {
  alignas(64) float scale[2 * span / unit * W], minimum[2 * span / unit * W];
};

// Any type, by way of its unpacked integers.
template <int GROUP, bool MINIMUM> struct AnySource : Scales {
  static constexpr bool is_signed = true, narrow = false, minimum_added = MINIMUM;
  static constexpr int offset = 0, group = GROUP;
  int8_t q[W][span];
  static void prepare(AnySource& to, const QuantType& t, const uint8_t* const* at, int units) {
    float s[most_groups], m[most_groups];
    for (int r = 0; r < W; ++r) {
      t.unpack(at[r], units * unit / t.elements, to.q[r], s, m);
      for (int g = 0; g < units * unit / GROUP; ++g) {
        to.scale[g * W + r] = s[g];
        if (MINIMUM) to.minimum[g * W + r] = m[g];
      }
    }
  }
  HEDDLE_SIMD Bytes get(const AnySource& s, const uint8_t* const*, int r, int u) { return load_bytes(s.q[r] + u * unit); }
};

// Blocks of one unit that begin with their scale.
template <int BYTES> HEDDLE_SIMD void unit_scales(const uint8_t* const* at, int units, float* scale) {
  alignas(64) uint16_t halves[span / unit][W];
  for (int u = 0; u < units; ++u)
#pragma GCC unroll 16
    for (int r = 0; r < W; ++r) __builtin_memcpy(&halves[u][r], at[r] + u * BYTES, 2);
  for (int u = 0; u < units; ++u) store(scale + u * W, load(reinterpret_cast<const f16*>(halves[u])));
}

struct Q8_0Source : Scales {
  static constexpr bool is_signed = true, narrow = false, minimum_added = false;
  static constexpr int offset = 0, group = unit;
  HEDDLE_SIMD void prepare(Q8_0Source& s, const QuantType&, const uint8_t* const* at, int units) { unit_scales<34>(at, units, s.scale); }
  HEDDLE_SIMD Bytes get(const Q8_0Source&, const uint8_t* const* at, int r, int u) { return load_bytes(at[r] + u * 34 + 2); }
};

struct Q4_0Source : Scales {
  static constexpr bool is_signed = false, narrow = true, minimum_added = false;
  static constexpr int offset = 8, group = unit;
  HEDDLE_SIMD void prepare(Q4_0Source& s, const QuantType&, const uint8_t* const* at, int units) { unit_scales<18>(at, units, s.scale); }
  HEDDLE_SIMD Bytes get(const Q4_0Source&, const uint8_t* const* at, int r, int u) {
    __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at[r] + u * 18 + 2));
    return and15(_mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1));
  }
};

struct Q5_0Source : Scales {
  static constexpr bool is_signed = false, narrow = true, minimum_added = false;
  static constexpr int offset = 16, group = unit;
  HEDDLE_SIMD void prepare(Q5_0Source& s, const QuantType&, const uint8_t* const* at, int units) { unit_scales<22>(at, units, s.scale); }
  HEDDLE_SIMD Bytes get(const Q5_0Source&, const uint8_t* const* at, int r, int u) {
    const uint8_t* b = at[r] + u * 22;
    __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 6));
    Bytes low = and15(_mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1));
    int32_t bits;
    __builtin_memcpy(&bits, b + 2, 4);
    // Byte i of the unit sees the byte of bits that holds its own.
    const Bytes holder = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const Bytes own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    Bytes fifth = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), holder), own);
    return _mm256_or_si256(low, _mm256_and_si256(_mm256_cmpeq_epi8(fifth, own), _mm256_set1_epi8(16)));
  }
};

struct Q4_KSource : Scales {
  static constexpr bool is_signed = false, narrow = true, minimum_added = true;
  static constexpr int offset = 0, group = unit;
  HEDDLE_SIMD __m256 scaled(uint32_t low, uint32_t high, float d) {
    __m128i bytes = _mm_set_epi64x(0, static_cast<int64_t>(static_cast<uint64_t>(high) << 32 | low));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_set1_ps(d));
  }
  HEDDLE_SIMD void prepare(Q4_KSource& s, const QuantType&, const uint8_t* const* at, int) {
    for (int half = 0; half < W; half += 8) {
      __m256 scales[8], minima[8];
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r) {  // the bits of six_bit_scales, four at a time
        const uint8_t* b = at[half + r];
        uint32_t w[3];
        __builtin_memcpy(w, b + 4, 12);
        scales[r] = scaled(w[0] & 0x3f3f3f3f, (w[2] & 0x0f0f0f0f) | (w[0] >> 2 & 0x30303030), half_at(b));
        minima[r] = scaled(w[1] & 0x3f3f3f3f, (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 2 & 0x30303030), -half_at(b + 2));
      }
      scatter8(scales, s.scale, half), scatter8(minima, s.minimum, half);
    }
  }
  HEDDLE_SIMD Bytes get(const Q4_KSource&, const uint8_t* const* at, int r, int u) {
    return and15(shift_right(load_bytes(at[r] + 16 + 32 * (u / 2)), 4 * (u & 1)));
  }
};

struct Q6_KSource : Scales {
  static constexpr bool is_signed = false, narrow = false, minimum_added = false;
  static constexpr int offset = 32, group = unit / 2;
  HEDDLE_SIMD void prepare(Q6_KSource& s, const QuantType&, const uint8_t* const* at, int) {
    for (int half = 0; half < W; half += 8)
      for (int part = 0; part < 2; ++part) {
        __m256 scales[8];
#pragma GCC unroll 8
        for (int r = 0; r < 8; ++r) {
          const uint8_t* b = at[half + r];
          __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b + 192 + 8 * part));
          scales[r] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_set1_ps(half_at(b + 208)));
        }
        scatter8(scales, s.scale + 8 * part * W, half);
      }
  }
  HEDDLE_SIMD Bytes get(const Q6_KSource&, const uint8_t* const* at, int r, int u) {
    const uint8_t* b = at[r];
    Bytes low = and15(shift_right(load_bytes(b + 64 * (u / 4) + 32 * (u & 1)), 2 * (u & 2)));
    Bytes high = shift_right(load_bytes(b + 128 + 32 * (u / 4)), 2 * (u & 3));
    high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4);
    return _mm256_or_si256(low, high);
  }
};

// Outputs [j, j + W) of RM rows from row i on.
template <class S, int RM>
[[gnu::noinline]] void dot_tile(const QuantLinear& p, const QuantType& t, const Int8Rows& x, int64_t i, int64_t j) {
  constexpr bool halves = S::group < unit;
#if defined(HEDDLE_SIMD_VNNI)
  constexpr int offset = S::is_signed ? 128 : S::offset;
#else
  constexpr int offset = S::offset;
#endif
  const int64_t units = p.k / unit, row_bytes = quant_row_bytes(t, p.k), span_bytes = quant_row_bytes(t, span);
  const uint8_t* at[W];
  for (int r = 0; r < W; ++r) at[r] = static_cast<const uint8_t*>(p.w) + min_of(j + r, p.n - 1) * row_bytes;
  // As in gemv: short rows hide the stream from the hardware's prefetchers.
  const int64_t stream = W * row_bytes, ahead = stream <= 24576 ? stream : 2048;
  S s;
  F sum[RM];
#pragma GCC unroll 4
  for (int m = 0; m < RM; ++m) sum[m] = zero();
  for (int64_t u0 = 0; u0 < units; u0 += span / unit) {
    const int count = static_cast<int>(min_of<int64_t>(span / unit, units - u0));
    for (int64_t b = 0; b < span_bytes; b += 64)
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) __builtin_prefetch(at[r] + ahead + b);
    S::prepare(s, t, at, count);
    for (int u = 0; u < count; ++u) {
      Bytes w[W];
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) {
        w[r] = S::get(s, at, r, u);
#if defined(HEDDLE_SIMD_VNNI)
        if (S::is_signed) w[r] = _mm256_xor_si256(w[r], _mm256_set1_epi8(-128));
#endif
      }
#pragma GCC unroll 4
      for (int m = 0; m < RM; ++m) {
        const int64_t at_unit = (i + m) * units + u0 + u;
        Lanes first, second;
        unit_sums<S>(w, load_bytes(x.values + at_unit * unit), first, second);
        const int32_t* sums = x.sums + 2 * at_unit;
        const F own = set1(x.scales[at_unit]);
        const auto add_group = [&](Lanes dot, int32_t total, int g) [[gnu::always_inline]] {
          if (offset) dot = minus(dot, offset * total);
          sum[m] = fma(mul(load(s.scale + g * W), own), numbers(dot), sum[m]);
          if (S::minimum_added) sum[m] = fma(load(s.minimum + g * W), mul(own, set1(static_cast<float>(total))), sum[m]);
        };
        if (halves) add_group(first, sums[0], 2 * u), add_group(second, sums[1], 2 * u + 1);
        else add_group(plus(first, second), sums[0] + sums[1], u);
      }
    }
    for (int r = 0; r < W; ++r) at[r] += span_bytes;
  }
#pragma GCC unroll 4
  for (int m = 0; m < RM; ++m) write_int8(p, i + m, j, p.n - j, sum[m]);
}

using DotTile = void (*)(const QuantLinear&, const QuantType&, const Int8Rows&, int64_t i, int64_t j);
struct DotTiles {
  DotTile rows[dot_rows];  // of 1 to dot_rows rows
};
template <class S> constexpr DotTiles tiles_of() { return {{dot_tile<S, 1>, dot_tile<S, 2>, dot_tile<S, 3>, dot_tile<S, 4>}}; }
inline DotTiles dot_tiles(DType type) {
  switch (type) {
    case DType::q8_0: return tiles_of<Q8_0Source>();
    case DType::q4_0: return tiles_of<Q4_0Source>();
    case DType::q5_0: return tiles_of<Q5_0Source>();
    case DType::q4_k: return tiles_of<Q4_KSource>();
    case DType::q6_k: return tiles_of<Q6_KSource>();
    default: break;
  }
  const QuantType& t = quant_type(type);
  if (t.group == unit) return t.minimum ? tiles_of<AnySource<unit, true>>() : tiles_of<AnySource<unit, false>>();
  return t.minimum ? tiles_of<AnySource<unit / 2, true>>() : tiles_of<AnySource<unit / 2, false>>();
}

#else  // four lanes: plain loops over unpacked integers

HEDDLE_SIMD int32_t plain_dot(const int8_t* a, const int8_t* b) {  // half a unit
  int32_t s = 0;
  for (int i = 0; i < unit / 2; ++i) s += static_cast<int32_t>(static_cast<int16_t>(a[i]) * static_cast<int16_t>(b[i]));
  return s;
}

[[gnu::noinline]] static void dot_tile(const QuantLinear& p, const QuantType& t, const Int8Rows& x, int64_t i, int64_t rows, int64_t j) {
  const int64_t units = p.k / unit, row_bytes = quant_row_bytes(t, p.k);
  alignas(16) int8_t q[W][span];
  alignas(16) float scale[most_groups][W], minimum[most_groups][W];
  F sum[dot_rows];
  for (int m = 0; m < dot_rows; ++m) sum[m] = zero();
  for (int64_t k0 = 0; k0 < p.k; k0 += span) {
    const int count = static_cast<int>(min_of<int64_t>(span, p.k - k0)), groups = count / t.group;
    for (int r = 0; r < W; ++r) {
      float s[most_groups], lowest[most_groups];
      t.unpack(static_cast<const uint8_t*>(p.w) + min_of(j + r, p.n - 1) * row_bytes + quant_row_bytes(t, k0), count / t.elements, q[r], s, lowest);
      for (int g = 0; g < groups; ++g) {
        scale[g][r] = s[g];
        if (t.minimum) minimum[g][r] = lowest[g];
      }
    }
    for (int64_t m = 0; m < rows; ++m)
      for (int g = 0; g < groups; ++g) {
        const int64_t element = k0 + g * t.group, at_unit = (i + m) * units + element / unit;
        const int8_t* values = x.values + (i + m) * p.k + element;
        alignas(16) float dot[W];
        for (int r = 0; r < W; ++r) {
          int32_t total = plain_dot(q[r] + g * t.group, values);
          if (t.group == unit) total += plain_dot(q[r] + g * t.group + unit / 2, values + unit / 2);
          dot[r] = static_cast<float>(total);
        }
        const int32_t* sums = x.sums + 2 * at_unit;
        const int32_t total = t.group == unit ? sums[0] + sums[1] : sums[element / (unit / 2) % 2];
        const F own = set1(x.scales[at_unit]);
        sum[m] = fma(mul(load(scale[g]), own), load(dot), sum[m]);
        if (t.minimum) sum[m] = fma(load(minimum[g]), mul(own, set1(static_cast<float>(total))), sum[m]);
      }
  }
  for (int64_t m = 0; m < rows; ++m) write_int8(p, i + m, j, p.n - j, sum[m]);
}
#endif

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
#if defined(HEDDLE_SIMD_AVX2) || defined(HEDDLE_SIMD_AVX512)
  const DotTiles tile = dot_tiles(p.w_type);
#endif
  // Tasks of at least 16 KiB of weights, and enough of them to balance the threads.
  const int64_t tiles = ceil_div(p.n, W), tile_bytes = W * quant_row_bytes(type, p.k);
  int64_t tasks = min_of<int64_t>(ceil_div(tiles * tile_bytes, 16384), pool.threads() * 8);
  if (tasks < 1 || pool.threads() == 1) tasks = 1;
  tasks = min_of(tasks, tiles);
  pool.run(tasks, [&](int64_t task, int) {
    for (int64_t j = tiles * task / tasks * W; j < tiles * (task + 1) / tasks * W; j += W)
      for (int64_t i = 0; i < p.m; i += dot_rows) {
        const int64_t rows = min_of(dot_rows, p.m - i);
#if defined(HEDDLE_SIMD_AVX2) || defined(HEDDLE_SIMD_AVX512)
        tile.rows[rows - 1](p, type, x, i, j);
#else
        dot_tile(p, type, x, i, rows, j);
#endif
      }
  });
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
