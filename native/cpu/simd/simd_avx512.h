// Sixteen float lanes: AVX-512 F+BW+VL+DQ. Included by simd.h inside the namespace of the instruction set. Uses
// intrinsics only (no vector operators), so that tests can run it with SIMDe.

constexpr int W = 16;
using F = __m512;

HEDDLE_SIMD F zero() { return _mm512_setzero_ps(); }
HEDDLE_SIMD F set1(float v) { return _mm512_set1_ps(v); }
HEDDLE_SIMD F load(const float* p) { return _mm512_loadu_ps(p); }
HEDDLE_SIMD void store(float* p, F v) { _mm512_storeu_ps(p, v); }

HEDDLE_SIMD F add(F a, F b) { return _mm512_add_ps(a, b); }
HEDDLE_SIMD F sub(F a, F b) { return _mm512_sub_ps(a, b); }
HEDDLE_SIMD F mul(F a, F b) { return _mm512_mul_ps(a, b); }
HEDDLE_SIMD F div(F a, F b) { return _mm512_div_ps(a, b); }
HEDDLE_SIMD F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
HEDDLE_SIMD F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
// Returns 1 / x for x in [1, 2^100] within about 1 ulp: one Newton step from a 14-bit estimate. A division of this
// width takes 16 cycles on Intel's processors.
HEDDLE_SIMD F reciprocal(F x) {
#if defined(HEDDLE_EMULATE_AVX512)
  return div(set1(1.0f), x);
#else
  const F r = _mm512_rcp14_ps(x);
  return fma(r, fnma(x, r, set1(1.0f)), r);
#endif
}
HEDDLE_SIMD F max(F a, F b) { return _mm512_max_ps(a, b); }  // returns b if either is NaN
HEDDLE_SIMD F min(F a, F b) { return _mm512_min_ps(a, b); }
HEDDLE_SIMD F sqrt(F a) { return _mm512_sqrt_ps(a); }
HEDDLE_SIMD F abs(F a) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
}
HEDDLE_SIMD F round_even(F a) { return _mm512_roundscale_ps(a, 0); }
HEDDLE_SIMD F select_lt(F a, F b, F x, F y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x); }

HEDDLE_SIMD F power2(__m512i n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
// Moves the low 8 bits of t into the exponent field (see exp_nonpositive).
HEDDLE_SIMD F shift_exponent(F t) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23)); }
// Returns p * 2^n for integers n in [-150, 129], in two steps so that results may be subnormal.
HEDDLE_SIMD F scale2(F p, F n) {
  __m512i whole = _mm512_cvtps_epi32(n), half = _mm512_srai_epi32(whole, 1);
  return _mm512_mul_ps(_mm512_mul_ps(p, power2(half)), power2(_mm512_sub_epi32(whole, half)));
}

HEDDLE_SIMD __m256 low_half(F v) { return _mm512_castps512_ps256(v); }
HEDDLE_SIMD __m256 high_half(F v) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)); }
HEDDLE_SIMD float reduce_add(F v) {
  __m256 w = _mm256_add_ps(low_half(v), high_half(v));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
HEDDLE_SIMD float reduce_max(F v) {
  __m256 w = _mm256_max_ps(low_half(v), high_half(v));
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

HEDDLE_SIMD F load(const bf16* p) {
  __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
#if defined(HEDDLE_SIMD_BF16) && !defined(HEDDLE_EMULATE_AVX512)
#define HEDDLE_ROUNDS_BF16  // an instruction rounds to bf16, but treats subnormals as zero
// Clang 16 crashes on __m512bh, the vector type of the AVX512-BF16 intrinsics. It gets inline assembly on integer
// vectors instead.
#if defined(__clang__) && __clang_major__ < 17
HEDDLE_SIMD __m256i to_bf16(F v) {
  __m256i rounded;
  asm("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(v));
  return rounded;
}
HEDDLE_SIMD __m512i two_to_bf16(F low, F high) {
  __m512i rounded;
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(rounded) : "v"(high), "v"(low));
  return rounded;
}
HEDDLE_SIMD F add_pair_products(F acc, F a, F b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  return acc;
}
#else
HEDDLE_SIMD __m256i to_bf16(F v) { return (__m256i)_mm512_cvtneps_pbh(v); }
HEDDLE_SIMD __m512i two_to_bf16(F low, F high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
HEDDLE_SIMD F add_pair_products(F acc, F a, F b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}
#endif
// The following body rounds with integer instructions. With AVX512-BF16 it is used only for vectors that have
// subnormals.
[[gnu::noinline, gnu::cold]] inline __m256i round_bf16_subnormal(F v) {
#else
HEDDLE_SIMD __m256i round_bf16(F v) {
#endif
  // Adding 0x7fff plus the lowest kept bit rounds to the nearest even. NaNs keep their high half and become quiet.
  __m512i u = _mm512_castps_si512(v), high = _mm512_srli_epi32(u, 16);
  __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
  __m512i nan = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), nan));
}
#if defined(HEDDLE_ROUNDS_BF16)
// Tests the bits, because float comparisons treat subnormals as zero in denormals-are-zero mode.
HEDDLE_SIMD __mmask16 subnormal(F v) {
  const __m512i u = _mm512_castps_si512(v);
  return _mm512_mask_test_epi32_mask(
      _mm512_testn_epi32_mask(u, _mm512_set1_epi32(0x7f800000)), u, _mm512_set1_epi32(0x7fffff));
}
HEDDLE_SIMD __m256i round_bf16(F v) {
  if (__builtin_expect(subnormal(v), 0)) return round_bf16_subnormal(v);
  return to_bf16(v);
}
#endif
HEDDLE_SIMD void store(bf16* p, F v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_bf16(v)); }
#if defined(HEDDLE_ROUNDS_BF16)
HEDDLE_SIMD void store_two(bf16* p, F v, F next) {
  if (__builtin_expect(!!(subnormal(v) | subnormal(next)), 0)) store(p, v), store(p + W, next);
  else _mm512_storeu_si512(p, two_to_bf16(v, next));
}
#endif
HEDDLE_SIMD F load(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
// Stores the low byte of each integer.
HEDDLE_SIMD void store_bytes(uint8_t* p, F v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}
HEDDLE_SIMD F load(const f16* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
HEDDLE_SIMD void store(f16* p, F v) {
  __m128i* to = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(to, _mm256_cvtps_ph(low_half(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(to + 1, _mm256_cvtps_ph(high_half(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

HEDDLE_SIMD __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
HEDDLE_SIMD F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
HEDDLE_SIMD void store_n(float* p, F v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

// Loads the first n of 16 elements of 16 bits.
template <class T> HEDDLE_SIMD __m256i load16_n(const T* p, int n) {
  return _mm256_maskz_loadu_epi16(first_lanes(n), p);
}
HEDDLE_SIMD F load_n(const bf16* p, int n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load16_n(p, n)), 16));
}
HEDDLE_SIMD F load_n(const f16* p, int n) { return _mm512_cvtph_ps(load16_n(p, n)); }
HEDDLE_SIMD void store_n(bf16* p, F v, int n) { _mm256_mask_storeu_epi16(p, first_lanes(n), round_bf16(v)); }

HEDDLE_SIMD void transpose(F (&r)[16]) {
  F t[16], s[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // s[4i + c]: columns c, c+4, c+8, c+12 of rows 4i..4i+3, one 128-bit lane each
    s[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    s[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    s[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    s[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    F a = _mm512_shuffle_f32x4(s[c], s[c + 4], 0x88), b = _mm512_shuffle_f32x4(s[c], s[c + 4], 0xdd);
    F d = _mm512_shuffle_f32x4(s[c + 8], s[c + 12], 0x88), e = _mm512_shuffle_f32x4(s[c + 8], s[c + 12], 0xdd);
    r[c] = _mm512_shuffle_f32x4(a, d, 0x88);
    r[c + 8] = _mm512_shuffle_f32x4(a, d, 0xdd);
    r[c + 4] = _mm512_shuffle_f32x4(b, e, 0x88);
    r[c + 12] = _mm512_shuffle_f32x4(b, e, 0xdd);
  }
}

// Returns (a0 + a2, a1 + a3, b0 + b2, b1 + b3) in each group of four lanes.
HEDDLE_SIMD F sum_pairs(F a, F b) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
// Returns in lane i the exact bits of reduce_add(r[i]). Adds halves, quarters and so on, two vectors at a time.
// Overwrites r.
HEDDLE_SIMD F sum_lanes(F (&r)[16]) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)  // eight partial sums of r[i], then eight of r[i + 8]
    r[i] = _mm512_add_ps(_mm512_shuffle_f32x4(r[i], r[i + 8], 0x44), _mm512_shuffle_f32x4(r[i], r[i + 8], 0xee));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)  // four partial sums of each of r[i], r[i + 8], r[i + 4] and r[i + 12]
    r[i] = _mm512_add_ps(_mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd));
  const F a = sum_pairs(r[0], r[1]), b = sum_pairs(r[2], r[3]);
  // The lanes have the sums of r[0..3], r[8..11], r[4..7] and r[12..15]. The last shuffle swaps the middle two groups.
  const F in_fours = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
  return _mm512_shuffle_f32x4(in_fours, in_fours, 0xd8);
}

HEDDLE_SIMD __m512i load_bits(const bf16* p) {
  return _mm512_castps_si512(_mm512_loadu_ps(reinterpret_cast<const float*>(p)));
}
// load_even returns elements 0, 2, … of 2 W bf16, load_odd elements 1, 3, ….
HEDDLE_SIMD F load_even(const bf16* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(load_bits(p), 16)); }
HEDDLE_SIMD F load_odd(const bf16* p) {
  return _mm512_castsi512_ps(_mm512_and_si512(load_bits(p), _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

#if defined(HEDDLE_SIMD_BF16)
// Returns acc + the two products of bf16 pairs in each 32-bit lane. a and b hold bits, not floats.
HEDDLE_SIMD F dot_pairs(F a, F b, F acc) {
#if defined(HEDDLE_EMULATE_AVX512)
  return emulated::dpbf16_ps(acc, _mm512_castps_si512(a), _mm512_castps_si512(b));
#else
  return add_pair_products(acc, a, b);
#endif
}
// Loads W pairs of neighboring elements as bits. load_pairs_n loads only the first n elements; the rest are zeros.
HEDDLE_SIMD F load_pairs(const bf16* p) { return _mm512_loadu_ps(reinterpret_cast<const float*>(p)); }
HEDDLE_SIMD F load_pairs_n(const bf16* p, int64_t n) {
  __mmask32 mask = n >= 2 * W ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
  return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, p));
}
// Returns (low[i], high[i]) as a pair in lane i.
HEDDLE_SIMD F join_halves(__m256i low, __m256i high) {
  return _mm512_castsi512_ps(
      _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
}
HEDDLE_SIMD __m256i load16(const bf16* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
HEDDLE_SIMD F join_pairs(const bf16* low, const bf16* high) { return join_halves(load16(low), load16(high)); }
HEDDLE_SIMD F join_pairs_n(const bf16* low, const bf16* high, int n) {  // high may be null: zeros
  return join_halves(load16_n(low, n), high ? load16_n(high, n) : _mm256_setzero_si256());
}
// Rounds floats to bf16 and joins them like join_halves. Subnormals become zero, as in the dot product.
HEDDLE_SIMD F join_rounded(F low, F high) {
#if defined(HEDDLE_EMULATE_AVX512)
  return join_halves(round_bf16(low), round_bf16(high));
#else
  alignas(64) static constexpr uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9,
      25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(order), two_to_bf16(low, high)));
#endif
}
// Rounds 2 W consecutive floats (low, then high) to bf16 and pairs neighbors.
HEDDLE_SIMD F rounded_pairs(F low, F high) {
#if defined(HEDDLE_EMULATE_AVX512)
  return _mm512_castsi512_ps(_mm512_inserti64x4(_mm512_castsi256_si512(round_bf16(low)), round_bf16(high), 1));
#else
  return _mm512_castsi512_ps(two_to_bf16(low, high));
#endif
}
#endif
