// Multiplies few rows of activations by weights whose packed form is not complete yet. Weights are read once, in their
// stored layout. Each output is added up in the order of packed_tile (int8_packed_tile-inl.h), unit after unit, so its
// bits equal those of the packed form.
#pragma once
#include "cpu/quant/int8_packed_rows-inl.h"

#if defined(HEDDLE_INT8_PACKED)
namespace heddle {
namespace HEDDLE_ISA {

constexpr int stored_outputs = 8;  // outputs of a tile, one per lane

// One unit of each of two outputs: the integers plus their offset. `low` has the first half of each unit, `high` the
// second.
struct HalfUnits {
  Bytes low, high;
};
HEDDLE_SIMD Bytes joined_at(const uint8_t* a, const uint8_t* b) {
  return joined(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(a)), _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
}
HEDDLE_SIMD HalfUnits halves_of(Bytes a, Bytes b) {
  return {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
}

// Reads a form's integers, which include the form's offset, from the stored type. halves() returns unit u of the rows
// at a and b. Each row of x needs its own horizontal additions. For more than max_x rows it is cheaper to pack panels.
// A unit of unit_bytes begins with its scale. If unit_bytes is 0, scales() writes the scales of `units` units, rounded
// up to a multiple of eight. They begin with the block at `at`.
template <class P> struct StoredSource;
template <> struct StoredSource<Packed8> {
  static constexpr bool is_signed = true, minimum_added = false;
  static constexpr int offset = signed_offset, group = unit, unit_bytes = 34;
  static constexpr int64_t max_x = 4;
  HEDDLE_SIMD HalfUnits halves(const uint8_t* a, const uint8_t* b, int u) {
    const Bytes sign = _mm256_set1_epi8(static_cast<char>(signed_offset));
    a += u * unit_bytes + 2, b += u * unit_bytes + 2;
    return {_mm256_xor_si256(joined_at(a, b), sign), _mm256_xor_si256(joined_at(a + 16, b + 16), sign)};
  }
};
template <> struct StoredSource<Packed4> {
  static constexpr bool is_signed = false, minimum_added = false;
  static constexpr int offset = 8, group = unit, unit_bytes = 18;
  static constexpr int64_t max_x = 4;
  HEDDLE_SIMD HalfUnits halves(const uint8_t* a, const uint8_t* b, int u) {
    const Bytes v = joined_at(a + u * unit_bytes + 2, b + u * unit_bytes + 2);
    return {and15(v), and15(_mm256_srli_epi16(v, 4))};
  }
};
template <> struct StoredSource<Packed5> {
  static constexpr bool is_signed = false, minimum_added = false;
  static constexpr int offset = 16, group = unit, unit_bytes = 22;
  static constexpr int64_t max_x = packed_max_rows;
  HEDDLE_SIMD HalfUnits halves(const uint8_t* a, const uint8_t* b, int u) {
    return halves_of(integers(a + u * unit_bytes), integers(b + u * unit_bytes));
  }

 private:
  HEDDLE_SIMD Bytes integers(const uint8_t* block) {
    __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 6));
    Bytes low = and15(joined(v, _mm_srli_epi16(v, 4)));
    int32_t bits;
    __builtin_memcpy(&bits, block + 2, 4);
    // Copies the byte that holds bit i to byte i of the vector.
    const Bytes holder = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const Bytes own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    Bytes fifth = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), holder), own);
    return _mm256_or_si256(low, _mm256_and_si256(_mm256_cmpeq_epi8(fifth, own), _mm256_set1_epi8(16)));
  }
};
template <> struct StoredSource<Packed4K> {
  static constexpr bool is_signed = false, minimum_added = true;
  static constexpr int offset = 0, group = unit, unit_bytes = 0;
  static constexpr int64_t max_x = packed_max_rows;
  HEDDLE_SIMD void scales(const uint8_t* at, int units, float* scale, float* minimum) {
    for (int u = 0; u < units; u += 8, at += 144) {  // the scales of six_bit_scales, four at a time
      uint32_t w[3];
      __builtin_memcpy(w, at + 4, 12);
      _mm256_storeu_ps(
          scale + u, scaled(w[0] & 0x3f3f3f3f, (w[2] & 0x0f0f0f0f) | (w[0] >> 2 & 0x30303030), half_at(at)));
      _mm256_storeu_ps(minimum + u,
          scaled(w[1] & 0x3f3f3f3f, (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 2 & 0x30303030), -half_at(at + 2)));
    }
  }
  HEDDLE_SIMD HalfUnits halves(const uint8_t* a, const uint8_t* b, int u) {
    a += 16 + 32 * (u / 2), b += 16 + 32 * (u / 2);
    return {
        and15(shift_right(joined_at(a, b), 4 * (u & 1))), and15(shift_right(joined_at(a + 16, b + 16), 4 * (u & 1)))};
  }

 private:
  HEDDLE_SIMD Eight scaled(uint32_t low, uint32_t high, float d) {
    __m128i bytes = _mm_set_epi64x(0, static_cast<int64_t>(static_cast<uint64_t>(high) << 32 | low));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_set1_ps(d));
  }
};
template <> struct StoredSource<Packed6K> {
  static constexpr bool is_signed = false, minimum_added = false;
  static constexpr int offset = 32, group = unit / 2, unit_bytes = 0;
  static constexpr int64_t max_x = packed_max_rows;
  HEDDLE_SIMD void scales(const uint8_t* at, int units, float* scale, float*) {
    for (int u = 0; u < units; u += 8, at += 210)
      for (int half = 0; half < 2; ++half) {
        __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at + 192 + 8 * half));
        _mm256_storeu_ps(scale + 2 * u + 8 * half,
            _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_set1_ps(half_at(at + 208))));
      }
  }
  HEDDLE_SIMD HalfUnits halves(const uint8_t* a, const uint8_t* b, int u) {
    return halves_of(integers(a, u), integers(b, u));
  }

 private:
  HEDDLE_SIMD Bytes integers(const uint8_t* block, int u) {
    Bytes low = and15(shift_right(load_bytes(block + 64 * (u / 4) + 32 * (u & 1)), 2 * (u & 2)));
    Bytes high = shift_right(load_bytes(block + 128 + 32 * (u / 4)), 2 * (u & 3));
    high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4);
    return _mm256_or_si256(low, high);
  }
};

// v[n] holds four partial sums of output n in its lower half, and of output n + 4 in its upper half. Lane n of the
// result is the total of output n.
HEDDLE_SIMD __m256i fold_fours(const __m256i (&v)[4]) {
  const __m256i a = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
  const __m256i b = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
  return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
// Returns the scales at `offset` of the eight rows; lane n belongs to output n.
HEDDLE_SIMD Eight scales_before(const uint8_t* const (&at)[stored_outputs], int64_t offset) {
  __m128i v[stored_outputs];
#pragma GCC unroll 8
  for (int n = 0; n < stored_outputs; ++n) {
    int32_t bits;  // the scale and the two bytes after it
    __builtin_memcpy(&bits, at[n] + offset, 4);
    v[n] = _mm_cvtsi32_si128(bits);
  }
#pragma GCC unroll 4
  for (int n = 0; n < 4; ++n) v[n] = _mm_unpacklo_epi16(v[2 * n], v[2 * n + 1]);
  const __m128i halves = _mm_unpacklo_epi64(_mm_unpacklo_epi32(v[0], v[1]), _mm_unpacklo_epi32(v[2], v[3]));
  return _mm256_cvtph_ps(halves);
}
// Lane n of r[i] becomes lane i of r[n].
HEDDLE_SIMD void transpose_eight(Eight (&r)[8]) {
  Eight pairs[8], fours[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2)
    pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]), pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      fours[i + 2 * h] = _mm256_shuffle_ps(pairs[i + h], pairs[i + 2 + h], 0x44);
      fours[i + 2 * h + 1] = _mm256_shuffle_ps(pairs[i + h], pairs[i + 2 + h], 0xee);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    r[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20),
    r[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
}
// Transposes what S::scales wrote for each output, so that lane n belongs to output n.
template <int COUNT>
HEDDLE_SIMD void scales_side_by_side(const float (&of)[stored_outputs][COUNT], Eight (&to)[COUNT]) {
#pragma GCC unroll 2
  for (int first = 0; first < COUNT; first += 8) {
    Eight lines[8];
#pragma GCC unroll 8
    for (int n = 0; n < 8; ++n) lines[n] = _mm256_load_ps(of[n] + first);
    transpose_eight(lines);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) to[first + g] = lines[g];
  }
}

// Multiplies RM rows of x from row i on by eight outputs, whose stored rows are `rows`.
template <class P, int RM>
[[gnu::noinline]] void stored_tile(
    const PackedRows& x, int64_t i, int64_t units, const uint8_t* const* rows, float* out) {
  using S = StoredSource<P>;
  static_assert(S::offset == P::offset && unit / S::group == P::groups && S::minimum_added == P::has_minimum);
  constexpr int groups = P::groups, scales = part * groups;
  const QuantType& type = quant_type(P::type);
  const int64_t part_bytes = quant_row_bytes(type, part * unit);
  const uint8_t* at[stored_outputs];
  Eight sum[RM], scale[scales], minimum[scales];
#pragma GCC unroll 8
  for (int n = 0; n < stored_outputs; ++n) at[n] = rows[n];
#pragma GCC unroll 4
  for (int m = 0; m < RM; ++m) sum[m] = _mm256_setzero_ps();
  for (int64_t u0 = 0; u0 < units; u0 += part) {
    const int count = static_cast<int>(min_of<int64_t>(part, units - u0));
    for (int n = 0; n < stored_outputs; ++n)
      for (int64_t b = 0; b < part_bytes; b += 64) fetch_stream(at[n] + ahead_bytes + b);
    if constexpr (S::unit_bytes == 0) {
      alignas(32) float own_scales[stored_outputs][scales], own_minima[stored_outputs][scales];
      for (int n = 0; n < stored_outputs; ++n) S::scales(at[n], count, own_scales[n], own_minima[n]);
      scales_side_by_side(own_scales, scale);
      if constexpr (P::has_minimum) scales_side_by_side(own_minima, minimum);
    }
#pragma GCC unroll 1
    for (int u = 0; u < count; ++u) {
      HalfUnits w[4];
#pragma GCC unroll 4
      for (int n = 0; n < 4; ++n) w[n] = S::halves(at[n], at[n + 4], u);
      if constexpr (S::unit_bytes > 0) scale[u] = scales_before(at, u * S::unit_bytes);
#pragma GCC unroll 4
      for (int m = 0; m < RM; ++m) {
        const int64_t place = (u0 + u) * x.rows + i + m;
        const int8_t* values = x.values + place * unit;
        const Bytes low = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
        const Bytes high =
            _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values + unit / 2)));
        __m256i dot[groups][4];
#pragma GCC unroll 4
        for (int n = 0; n < 4; ++n) {
          dot[0][n] = products<S::is_signed>(_mm256_setzero_si256(), w[n].low, low);
          dot[groups - 1][n] =
              products<S::is_signed>(groups == 1 ? dot[0][n] : _mm256_setzero_si256(), w[n].high, high);
        }
        const Eight x_scale = _mm256_set1_ps(x.scales[place]);
#pragma GCC unroll 2
        for (int g = 0; g < groups; ++g) {
          const int32_t start = P::offset ? x.starts[((u0 + u) * groups + g) * x.rows + i + m] : 0;
          const Eight whole = _mm256_cvtepi32_ps(_mm256_add_epi32(fold_fours(dot[g]), _mm256_set1_epi32(start)));
          sum[m] = fma8(_mm256_mul_ps(scale[groups * u + g], x_scale), whole, sum[m]);
        }
        // S::scales returns minima to add; the packed form stores them negated.
        if (P::has_minimum) sum[m] = fma8(minimum[u], _mm256_set1_ps(x.totals[place]), sum[m]);
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < stored_outputs; ++n) at[n] += part_bytes;
  }
#pragma GCC unroll 4
  for (int m = 0; m < RM; ++m) _mm256_storeu_ps(out + m * stored_outputs, sum[m]);
}

// Computes outputs [j0, j1) for all rows of x, at most packed_max_rows. The outputs of a tile are distant rows, so
// that each one is a stream of consecutive rows.
template <class P> void stored_columns(const QuantLinear& p, const PackedRows& x, int64_t j0, int64_t j1) {
  const int64_t row_bytes = quant_row_bytes(quant_type(P::type), p.k), each = ceil_div(j1 - j0, stored_outputs),
                units = p.k / unit;
  const uint8_t* w = static_cast<const uint8_t*>(p.w);
  for (int64_t j = 0; j < each; ++j) {
    const uint8_t* at[stored_outputs];
    float out[packed_max_rows * stored_outputs];
    const auto output = [&](int n) { return j0 + n * each + j; };
    for (int n = 0; n < stored_outputs; ++n) at[n] = w + min_of(output(n), j1 - 1) * row_bytes;
    int64_t i = 0;
    for (; i + 4 <= x.rows; i += 4) stored_tile<P, 4>(x, i, units, at, out + i * stored_outputs);
    float* const last = out + i * stored_outputs;
    if (x.rows - i == 3) stored_tile<P, 3>(x, i, units, at, last);
    else if (x.rows - i == 2) stored_tile<P, 2>(x, i, units, at, last);
    else if (x.rows - i == 1) stored_tile<P, 1>(x, i, units, at, last);
    for (int64_t m = 0; m < x.rows; ++m)
      for (int n = 0; n < stored_outputs && output(n) < j1; ++n)
        write_one(p, m, output(n), out[m * stored_outputs + n]);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
#endif
