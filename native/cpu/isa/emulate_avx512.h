// For test builds (-DHEDDLE_EMULATE_AVX512): SIMDe replaces AVX-512 on machines without it, so that simd_avx512.h runs
// everywhere. This file adds instructions that SIMDe lacks, lane by lane. It also replaces masked moves, because those
// of SIMDe 0.8.2 access all sixteen lanes.
#pragma once
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors pass between functions of this build only
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/avx512/dpbusd.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <cstdint>
#include <cstring>

#include "cpu/isa/emulate_amx.h"

namespace heddle {
namespace emulated {

static inline __m256i cvtepi32_epi16(__m512i v) {
  int32_t wide[16];
  int16_t narrow[16];
  std::memcpy(wide, &v, sizeof wide);
  for (int i = 0; i < 16; ++i) narrow[i] = static_cast<int16_t>(wide[i]);
  __m256i r;
  std::memcpy(&r, narrow, sizeof r);
  return r;
}

static inline __m128i cvtepi32_epi8(__m512i v) {
  int32_t wide[16];
  int8_t narrow[16];
  std::memcpy(wide, &v, sizeof wide);
  for (int i = 0; i < 16; ++i) narrow[i] = static_cast<int8_t>(wide[i]);
  __m128i r;
  std::memcpy(&r, narrow, sizeof r);
  return r;
}

static inline __mmask16 cmplt_epi32_mask(__m512i a, __m512i b) {
  int32_t x[16], y[16];
  std::memcpy(x, &a, sizeof x), std::memcpy(y, &b, sizeof y);
  __mmask16 mask = 0;
  for (int i = 0; i < 16; ++i)
    if (x[i] < y[i]) mask = static_cast<__mmask16>(mask | 1 << i);
  return mask;
}

template <class V> __m512i zero_extended(V v) {
  __m512i r = _mm512_setzero_si512();
  std::memcpy(&r, &v, sizeof v);
  return r;
}

static inline __m512i cvtepi8_epi32(__m128i v) {
  int8_t narrow[16];
  int32_t wide[16];
  std::memcpy(narrow, &v, sizeof narrow);
  for (int i = 0; i < 16; ++i) wide[i] = narrow[i];
  __m512i r;
  std::memcpy(&r, wide, sizeof r);
  return r;
}

static inline __m512 maskz_loadu_ps(__mmask16 mask, const float* p) {
  float lane[16] = {};
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) lane[i] = p[i];
  __m512 r;
  std::memcpy(&r, lane, sizeof r);
  return r;
}
static inline void mask_storeu_ps(float* p, __mmask16 mask, __m512 v) {
  float lane[16];
  std::memcpy(lane, &v, sizeof lane);
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) p[i] = lane[i];
}

template <class V, class M> V maskz_loadu_epi16(M mask, const void* p) {
  int16_t lane[sizeof(V) / 2] = {};
  for (size_t i = 0; i < sizeof(V) / 2; ++i)
    if (mask >> i & 1) std::memcpy(lane + i, static_cast<const int16_t*>(p) + i, 2);
  V r;
  std::memcpy(&r, lane, sizeof r);
  return r;
}
static inline void mask_storeu_epi16(void* p, __mmask16 mask, __m256i v) {
  int16_t lane[16];
  std::memcpy(lane, &v, sizeof lane);
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) std::memcpy(static_cast<int16_t*>(p) + i, lane + i, 2);
}

// VDPBF16PS adds to each lane the product of the odd elements, then that of the even ones. Subnormal inputs and results
// count as zero. Rounding is to nearest even regardless of MXCSR (Intel SDM).
static inline float flush(float v) { return v < 1.17549435e-38f && v > -1.17549435e-38f ? 0.0f : v; }
static inline __m512 dpbf16_ps(__m512 sum, __m512i a, __m512i b) {
  float s[16];
  uint32_t x[16], y[16];
  std::memcpy(s, &sum, sizeof s), std::memcpy(x, &a, sizeof x), std::memcpy(y, &b, sizeof y);
  const auto high = [](uint32_t bits) {
    float f;
    bits &= 0xffff0000u;
    std::memcpy(&f, &bits, sizeof f);
    return flush(f);
  };
  for (int i = 0; i < 16; ++i) {
    s[i] = flush(flush(s[i]) + high(x[i]) * high(y[i]));
    s[i] = flush(s[i] + high(x[i] << 16) * high(y[i] << 16));
  }
  __m512 r;
  std::memcpy(&r, s, sizeof r);
  return r;
}

}  // namespace emulated
}  // namespace heddle

#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 ::heddle::emulated::cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 ::heddle::emulated::cvtepi32_epi8
#undef _mm512_cmplt_epi32_mask
#define _mm512_cmplt_epi32_mask ::heddle::emulated::cmplt_epi32_mask
#undef _mm512_zextsi128_si512
#define _mm512_zextsi128_si512 ::heddle::emulated::zero_extended<__m128i>
#undef _mm512_zextsi256_si512
#define _mm512_zextsi256_si512 ::heddle::emulated::zero_extended<__m256i>
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 ::heddle::emulated::cvtepi8_epi32
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps ::heddle::emulated::maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps ::heddle::emulated::mask_storeu_ps
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 ::heddle::emulated::maskz_loadu_epi16<__m256i>
#undef _mm512_maskz_loadu_epi16
#define _mm512_maskz_loadu_epi16 ::heddle::emulated::maskz_loadu_epi16<__m512i>
#undef _mm256_mask_storeu_epi16
#define _mm256_mask_storeu_epi16 ::heddle::emulated::mask_storeu_epi16
