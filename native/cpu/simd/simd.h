// The SIMD vocabulary of the CPU kernels. An isa_*.cc file defines HEDDLE_ISA (its namespace), then includes this and
// the *-inl.h algorithms, which compile once per instruction set.
//
// F is a vector of W floats. load/store take float, bf16 or f16 memory (stores round to the nearest even);
// the _n forms touch only the first n <= W elements (missing lanes read as 0). select_lt(a, b, x, y) is a < b ? x : y.
// fma is a b + c, and fnma is c - a b.
//
// One-definition rule: a function emitted here is compiled with wider instructions than the rest of the library.
// Everything therefore lives in the namespace of its instruction set, and no std:: template or inline function of
// a shared header may be called from an *-inl.h: the linker could keep the wide copy for the whole library. Functions
// that are always inlined, such as those of core/round.h, have no such copy.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/round.h"
#include "core/tensor.h"

#ifndef HEDDLE_ISA
#error "an isa_*.cc file defines HEDDLE_ISA before including simd.h"
#endif

#if defined(HEDDLE_SIMD_AVX512) && defined(HEDDLE_EMULATE_AVX512)
#include "cpu/isa/emulate_avx512.h"
#elif defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define HEDDLE_SIMD [[gnu::always_inline]] static inline
// Follows the parameters of a lambda. Clang ignores an attribute in brackets there.
#define HEDDLE_INLINE_LAMBDA __attribute__((always_inline))

namespace heddle {
namespace HEDDLE_ISA {

#if defined(HEDDLE_SIMD_AVX512)
#include "cpu/simd/simd_avx512.h"
#if defined(HEDDLE_SIMD_AMX)
#include "cpu/simd/simd_amx.h"
#endif
#elif defined(HEDDLE_SIMD_AVX2)
#include "cpu/simd/simd_avx2.h"
#else
#include "cpu/simd/simd_x4.h"
#if defined(HEDDLE_SIMD_BF16)
#include "cpu/simd/simd_neon_bf16.h"
#endif
#endif

// Prefetches a line of streaming data long before it is read. It goes to L2, which has more outstanding misses than L1.
HEDDLE_SIMD void fetch_stream(const void* p) { __builtin_prefetch(p, 0, 2); }

template <class T> HEDDLE_SIMD T min_of(T a, T b) { return a < b ? a : b; }
template <class T> HEDDLE_SIMD T max_of(T a, T b) { return a > b ? a : b; }
#if !defined(HEDDLE_SIMD_AVX2)
HEDDLE_SIMD F fma_in_place(F a, F b, F c) { return fma(a, b, c); }
#endif
#if !defined(HEDDLE_ROUNDS_BF16)
HEDDLE_SIMD void store_two(bf16* p, F v, F next) { store(p, v), store(p + W, next); }
#endif
// Returns the product rounded to f32. Otherwise compilers could fuse it with a following addition, which rounds once.
HEDDLE_SIMD F rounded(F product) {
#if defined(HEDDLE_SIMD_AVX512) && defined(HEDDLE_EMULATE_AVX512)
  asm("" : "+m"(product));
#elif defined(HEDDLE_SIMD_AVX512)
  asm("" : "+v"(product));
#elif defined(__SSE2__)
  asm("" : "+x"(product));
#elif defined(__aarch64__)
  asm("" : "+w"(product));
#else
  asm("" : "+m"(product));
#endif
  return product;
}
HEDDLE_SIMD F neg(F a) { return sub(zero(), a); }

#if !defined(HEDDLE_SIMD_AVX512)
// Returns in lane i the sum of the lanes of r[i]. Adds the two halves of r[i], then the halves of that sum, and so on.
// Overwrites r.
HEDDLE_SIMD F sum_lanes(F (&r)[W]) {
  transpose(r);
#pragma GCC unroll 16
  for (int step = W / 2; step > 0; step /= 2)
    for (int j = 0; j < step; ++j) r[j] = add(r[j], r[j + step]);
  return r[0];
}
#endif

// Loads the first n elements of 16 bits through a small buffer. Only AVX-512 has masked loads of 16 bits.
template <class T> HEDDLE_SIMD F load_n16(const T* p, int n) {
  T t[W] = {};
  for (int i = 0; i < n; ++i) t[i] = p[i];
  return load(t);
}
template <class T> HEDDLE_SIMD void store_n16(T* p, F v, int n) {
  T t[W];
  store(t, v);
  for (int i = 0; i < n; ++i) p[i] = t[i];
}
#if !defined(HEDDLE_SIMD_AVX512)
HEDDLE_SIMD F load_n(const bf16* p, int n) { return load_n16(p, n); }
HEDDLE_SIMD F load_n(const f16* p, int n) { return load_n16(p, n); }
HEDDLE_SIMD void store_n(bf16* p, F v, int n) { store_n16(p, v, n); }
#endif
HEDDLE_SIMD void store_n(f16* p, F v, int n) { store_n16(p, v, n); }

#if defined(HEDDLE_SIMD_BF16)
// Overloads for floats and f16, which are rounded to bf16. load_pairs pairs neighboring elements, and join_pairs pairs
// the elements of two lines. load_some loads min(n, W) elements, or none.
template <class T> HEDDLE_SIMD F load_pairs(const T* p) { return rounded_pairs(load(p), load(p + W)); }
template <class T> HEDDLE_SIMD F load_some(const T* p, int64_t n) {
  return n >= W ? load(p) : n > 0 ? load_n(p, static_cast<int>(n)) : zero();
}
template <class T> HEDDLE_SIMD F load_pairs_n(const T* p, int64_t n) {
  return rounded_pairs(load_some(p, n), load_some(p + W, n - W));
}
template <class T> HEDDLE_SIMD F join_pairs(const T* low, const T* high) { return join_rounded(load(low), load(high)); }
template <class T> HEDDLE_SIMD F join_pairs_n(const T* low, const T* high, int n) {
  return join_rounded(load_some(low, n), high ? load_some(high, n) : zero());
}
#endif

// Converts one element through the vector conversions, so that scalar and vector code round alike.
HEDDLE_SIMD float load1(const float* p) { return *p; }
template <class T> HEDDLE_SIMD float load1(const T* p) {
  float t[W];
  store(t, load_n16(p, 1));
  return t[0];
}
HEDDLE_SIMD void store1(float* p, float v) { *p = v; }
template <class T> HEDDLE_SIMD void store1(T* p, float v) { store_n16(p, set1(v), 1); }

// Returns e^r for |r| <= ln 2 / 2, with a relative error of 5e-9 before rounding: 1 + r + r^2 q(r), with q fitted at
// Chebyshev nodes.
HEDDLE_SIMD F exp_reduced(F r) {
  F q = fma(set1(0.0013946091f), r, set1(0.0083690798f));
  q = fma(q, r, set1(0.041666269f));
  q = fma(q, r, set1(0.16666517f));
  q = fma(q, r, set1(0.5f));
  return fma(fma(q, r, set1(1.0f)), r, set1(1.0f));
}
// Functions of one number, computed in double and rounded. Rounding nearly always hides the differences between the
// math libraries of systems.
inline float scalar_exp(float x) { return static_cast<float>(__builtin_exp(static_cast<double>(x))); }
inline float scalar_expm1(float x) { return static_cast<float>(__builtin_expm1(static_cast<double>(x))); }
inline float scalar_log(float x) { return static_cast<float>(__builtin_log(static_cast<double>(x))); }
inline float scalar_log1p(float x) { return static_cast<float>(__builtin_log1p(static_cast<double>(x))); }
inline float scalar_tanh(float x) { return static_cast<float>(__builtin_tanh(static_cast<double>(x))); }

constexpr float minus_infinity = -__builtin_inff();
constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;

// Returns e^x within about 2 ulp. Subnormal results are correct, -inf gives 0, above 88.73 gives inf, NaN stays NaN.
HEDDLE_SIMD F exp(F x) {
  x = min(set1(89.0f), max(set1(-104.0f), x));
  F n = round_even(mul(x, set1(log2_e)));
  F r = fnma(n, set1(ln2_low), fnma(n, set1(ln2_high), x));
  return scale2(exp_reduced(r), n);
}
// Returns e^x for x <= 0, and exactly 0 below -87.7. Softmax spends most of its time here. Adding 1.5 * 2^23 + 127
// rounds to an integer n and leaves n + 127, the exponent field of 2^n, in the low bits. For n = -127 the field is 0,
// which means 0.0.
HEDDLE_SIMD F exp_nonpositive(F x) {
  constexpr float shift = 12582912.0f + 127;
  x = max(set1(-88.0f), x);
  F t = fma(x, set1(log2_e), set1(shift)), n = sub(t, set1(shift));
  F r = fnma(n, set1(ln2_low), fnma(n, set1(ln2_high), x));
  return mul(exp_reduced(r), shift_exponent(t));
}
#if !defined(HEDDLE_SIMD_AVX512)
HEDDLE_SIMD F reciprocal(F x) { return div(set1(1.0f), x); }
#endif
// Returns 1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0, with e = exp(-|x|). Neither form overflows or cancels.
HEDDLE_SIMD F sigmoid(F x) {
  F e = exp_nonpositive(neg(abs(x))), r = reciprocal(add(set1(1.0f), e));
  return select_lt(x, zero(), mul(e, r), r);
}

HEDDLE_SIMD F tanh(F x) {
  F big = sub(set1(1.0f), div(set1(2.0f), add(exp(add(x, x)), set1(1.0f))));
  // Near 0 the difference above cancels. The Taylor series keeps the relative error at rounding level.
  F s = mul(x, x), p = fma(set1(0.021869488f), s, set1(-0.053968254f));
  p = fma(p, s, set1(0.13333333f));
  p = fma(p, s, set1(-0.33333333f));
  return select_lt(abs(x), set1(0.25f), fma(mul(x, s), p, x), big);
}
// Returns the slope of tanh, 1 - tanh^2, as 4 e / (1 + e)^2 with e = exp(-2 |x|), which does not cancel.
HEDDLE_SIMD F tanh_slope(F x) {
  F e = exp_nonpositive(mul(abs(x), set1(-2.0f))), r = div(set1(2.0f), add(set1(1.0f), e));
  return mul(e, mul(r, r));
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
