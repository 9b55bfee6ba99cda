// Eight float lanes: AVX2 + FMA + F16C. Included by simd.h inside the namespace of the instruction set.

constexpr int W = 8;
using F = __m256;

HEDDLE_SIMD F zero() { return _mm256_setzero_ps(); }
HEDDLE_SIMD F set1(float v) { return _mm256_set1_ps(v); }
HEDDLE_SIMD F load(const float* p) { return _mm256_loadu_ps(p); }
HEDDLE_SIMD void store(float* p, F v) { _mm256_storeu_ps(p, v); }

HEDDLE_SIMD F add(F a, F b) { return _mm256_add_ps(a, b); }
HEDDLE_SIMD F sub(F a, F b) { return _mm256_sub_ps(a, b); }
HEDDLE_SIMD F mul(F a, F b) { return _mm256_mul_ps(a, b); }
HEDDLE_SIMD F div(F a, F b) { return _mm256_div_ps(a, b); }
HEDDLE_SIMD F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
// Like fma, but accumulates in c's register. Compilers choose another register for the result, and then spill.
HEDDLE_SIMD F fma_in_place(F a, F b, F c) {
  asm("vfmadd231ps %1, %2, %0" : "+x"(c) : "x"(a), "x"(b));
  return c;
}
HEDDLE_SIMD F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
HEDDLE_SIMD F max(F a, F b) { return _mm256_max_ps(a, b); }  // returns b if either is NaN
HEDDLE_SIMD F min(F a, F b) { return _mm256_min_ps(a, b); }
HEDDLE_SIMD F sqrt(F a) { return _mm256_sqrt_ps(a); }
HEDDLE_SIMD F abs(F a) { return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff))); }
HEDDLE_SIMD F round_even(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
HEDDLE_SIMD F select_lt(F a, F b, F x, F y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }

HEDDLE_SIMD F power2(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// Returns p * 2^n for integers n in [-150, 129], in two steps so that results may be subnormal.
HEDDLE_SIMD F scale2(F p, F n) {
  __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(p, power2(half)), power2(_mm256_sub_epi32(whole, half)));
}
// Moves the low 8 bits of t into the exponent field (see exp_nonpositive).
HEDDLE_SIMD F shift_exponent(F t) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23)); }

HEDDLE_SIMD float reduce_add(F v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
HEDDLE_SIMD float reduce_max(F v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

HEDDLE_SIMD F load(const bf16* p) {
  __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
HEDDLE_SIMD void store(bf16* p, F v) {
  // Adding 0x7fff plus the lowest kept bit rounds to the nearest even. NaNs keep their high half and become quiet.
  __m256i u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16);
  __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
  __m256i nan = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  rounded = _mm256_blendv_epi8(rounded, nan, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
  __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
HEDDLE_SIMD F load(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
// Stores the low byte of each integer.
HEDDLE_SIMD void store_bytes(uint8_t* p, F v) {
  const __m256i low = _mm256_and_si256(_mm256_cvtps_epi32(v), _mm256_set1_epi32(0xff));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
HEDDLE_SIMD F load(const f16* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
HEDDLE_SIMD void store(f16* p, F v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

HEDDLE_SIMD __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HEDDLE_SIMD F load_n(const float* p, int n) { return _mm256_maskload_ps(p, first_lanes(n)); }
HEDDLE_SIMD void store_n(float* p, F v, int n) { _mm256_maskstore_ps(p, first_lanes(n), v); }

HEDDLE_SIMD void transpose(F (&r)[8]) {
  F t[8], s[8];
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

// load_even returns elements 0, 2, … of 2 W bf16, load_odd elements 1, 3, ….
HEDDLE_SIMD F load_even(const bf16* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), 16));
}
HEDDLE_SIMD F load_odd(const bf16* p) {
  __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
}
