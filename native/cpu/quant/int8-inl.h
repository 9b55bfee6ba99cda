// Shared by the two kernels for quantized weights and 8-bit activations, int8_dot-inl.h and int8_gemm-inl.h.
//
// For an output j of a row i, with groups g of the weights' row that share a scale (16 or 32 elements):
//   y(i, j) = sum over g of  weight_scale(j, g) * scale(i, g) * integer dot(i, j, g)
//                     [+ weight_minimum(j, g) * scale(i, g) * integer sum(i, g)]
// The integer sums are exact. int8_dot-inl.h is for few rows. It reads weights in place, and the lanes of a vector hold
// parts of one group's dot product. In int8_gemm-inl.h each lane holds a different output. Each kernel adds up in its
// own fixed order, so a row's bits depend only on which kernel computes it. Rowwise products use int8_dot-inl.h only.
// Types with a packed form use neither (int8_packed-inl.h).
#pragma once
#include "cpu/rows/loops-inl.h"
#include "ops/quant.h"

// Defined for instruction sets with packed weights. For types with a packed form, int8_packed-inl.h replaces both
// kernels.
#if defined(HEDDLE_SIMD_AVX2) || defined(HEDDLE_SIMD_AVX512)
#define HEDDLE_INT8_PACKED 1
#endif
// Defined if one instruction adds four products of an unsigned and a signed byte to 32 bits (VNNI). Its first operand
// is unsigned, so signed weights are stored with 128 added.
#if defined(HEDDLE_SIMD_VNNI) || defined(HEDDLE_SIMD_AVX512)
#define HEDDLE_DOT_OF_FOUR 1
#endif

namespace heddle {
namespace HEDDLE_ISA {

using cpu::QuantLinear;

#include "ops/unpack-inl.h"

// A quantized type with its unpacking function. Kernels are compiled per property of a type, such as its group size,
// not per type.
struct QuantType {
  int elements, bytes, group;
  bool minimum;
  int low, high;
  void (*unpack)(const uint8_t* from, int blocks, int8_t* q, float* scale, float* minimum);
};
template <DType T> void unpack_blocks(const uint8_t* from, int blocks, int8_t* q, float* scale, float* minimum) {
  constexpr BlockType type = block_type(T);
  constexpr int groups = type.elements / type.group;
  for (int b = 0; b < blocks; ++b)
    Unpack<T>::run(from + b * type.bytes, q + b * type.elements, scale + b * groups, minimum + b * groups);
}
constexpr QuantType quant_types[] = {
#define HEDDLE_ROW(name, elements, bytes, group, minimum, low, high) \
  {elements, bytes, group, minimum, low, high, unpack_blocks<DType::name>},
    HEDDLE_BLOCK_TYPES(HEDDLE_ROW)
#undef HEDDLE_ROW
};
inline const QuantType& quant_type(DType t) {
  return quant_types[static_cast<int>(t) - static_cast<int>(DType::u8) - 1];
}
inline int64_t quant_row_bytes(const QuantType& t, int64_t elements) { return elements / t.elements * t.bytes; }

constexpr int unit = activation_group;  // elements of activations that share a scale
constexpr int span = largest_block;     // elements of weights that are unpacked at a time
constexpr int max_groups = 16;          // maximum groups of a span

// Rows of activations rounded to 8 bits. The layout of `values` depends on the kernel.
struct Int8Rows {
  int8_t* values;
  float* scales;            // (rows, units)
  int32_t* sums;            // (rows, 2 * units): sums of each half of a unit
  float* totals = nullptr;  // scale times the sum of a group
  // For int8_dot-inl.h: values are (units, rows, unit). scales and totals are (rows, stride, groups), where `groups` is
  // the weights' number of groups per unit.
  int32_t* starts = nullptr;  // (units, rows, 8): minus the weights' offset times the sum of four values
  int64_t rows = 0, stride = 0;
};

// Adds up the 16 partial sums of squared rounding errors of a unit, in the order of ops/quant.h.
HEDDLE_SIMD float fold_squares(const float* s) {
  float four[4];
  for (int l = 0; l < 4; ++l) four[l] = (s[4 * l] + s[4 * l + 2]) + (s[4 * l + 1] + s[4 * l + 3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

#if defined(HEDDLE_SIMD_AVX512)
// Combines the 16 integers of a vector with op.
template <class Op> HEDDLE_SIMD int32_t fold_integers(__m512i v, Op op) {
  const __m256i h = op(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  __m256i q = op(h, _mm256_permute4x64_epi64(h, 0x4e));
  q = op(q, _mm256_shuffle_epi32(q, 0x4e));
  return _mm256_extract_epi32(op(q, _mm256_shuffle_epi32(q, 0xb1)), 0);
}
// Returns in each lane the sum of the squared rounding errors of its a and its b.
HEDDLE_SIMD F left_squared(F a, F b, F inverse) {
  const F low = fnma(a, inverse, round_even(mul(a, inverse))), high = fnma(b, inverse, round_even(mul(b, inverse)));
  return fma(high, high, mul(low, low));
}
// Rounds one unit of 32 floats with the arithmetic of round_activations (ops/quant.cc). Tries both scales of
// activation_steps and keeps the one with the smaller squared error.
HEDDLE_SIMD void round_unit(const float* x, int8_t* q, float* scale, int32_t* sums) {
  const F a = load(x), b = load(x + W);
  // Compared as integers, magnitudes keep their order. Infinity and NaN are the largest.
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i bits = _mm512_max_epi32(
      _mm512_and_si512(_mm512_castps_si512(a), magnitude), _mm512_and_si512(_mm512_castps_si512(b), magnitude));
  const int32_t top = fold_integers(bits, [](__m256i l, __m256i r) { return _mm256_max_epi32(l, r); });
  const bool finite = top < 0x7f800000;
  float largest;
  __builtin_memcpy(&largest, &top, 4);
  const bool some = finite && largest > least_activation;
  alignas(64) float first[W], second[W];
  store(first, left_squared(a, b, set1(some ? activation_steps[0] / largest : 0.0f)));
  store(second, left_squared(a, b, set1(some ? activation_steps[1] / largest : 0.0f)));
  const float steps = activation_steps[second_steps_leave_less(fold_squares(first), fold_squares(second))];
  const F inverse = set1(some ? steps / largest : 0.0f);
  *scale = finite ? largest / steps : __builtin_nanf("");
  const __m512i nothing = _mm512_setzero_si512();
  const __m512i low = finite ? _mm512_cvtps_epi32(mul(a, inverse)) : nothing,
                high = finite ? _mm512_cvtps_epi32(mul(b, inverse)) : nothing;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(low));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q + W), _mm512_cvtepi32_epi8(high));
  const auto sum = [](__m256i l, __m256i r) { return _mm256_add_epi32(l, r); };
  sums[0] = fold_integers(low, sum), sums[1] = fold_integers(high, sum);
}
#elif defined(HEDDLE_SIMD_AVX2)
HEDDLE_SIMD int32_t fold_largest(__m256i v) {
  __m128i h = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}
// Returns the squared rounding error of a unit, added up in the order of fold_squares.
HEDDLE_SIMD float left_by(const F (&x)[4], float inverse) {
  const F by = set1(inverse);
  F left[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) left[i] = fnma(x[i], by, round_even(mul(x[i], by)));
  F sum[2];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const F s = fma(left[2 + h], left[2 + h], mul(left[h], left[h])), pairs = add(s, _mm256_permute_ps(s, 0x4e));
    sum[h] = add(pairs, _mm256_permute_ps(pairs, 0xb1));
  }
  const F both = add(sum[0], sum[1]);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1)));
}
HEDDLE_SIMD void round_unit(const float* x, int8_t* q, float* scale, int32_t* sums) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  F v[4];
  __m256i bits = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    v[i] = load(x + i * W), bits = _mm256_max_epi32(bits, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
  const int32_t top = fold_largest(bits);  // as integers, magnitudes keep their order; infinity and NaN are the largest
  const bool finite = top < 0x7f800000;
  float largest;
  __builtin_memcpy(&largest, &top, 4);
  const bool some = finite && largest > least_activation;
  const float inverses[2] = {some ? activation_steps[0] / largest : 0.0f, some ? activation_steps[1] / largest : 0.0f};
  const bool second = second_steps_leave_less(left_by(v, inverses[0]), left_by(v, inverses[1]));
  *scale = finite ? largest / activation_steps[second] : __builtin_nanf("");
  const F by = set1(inverses[second]);
  __m256i whole[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) whole[i] = finite ? _mm256_cvtps_epi32(mul(v[i], by)) : _mm256_setzero_si256();
  const __m256i fours =
      _mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3]));
  const __m256i bytes = _mm256_permutevar8x32_epi32(fours, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  __m256i sum = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
  sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
  sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xb1));
  sums[0] = _mm256_extract_epi32(sum, 0), sums[1] = _mm256_extract_epi32(sum, 4);
}
#else
HEDDLE_SIMD float left_by(const float* x, float inverse) {
  alignas(64) float rounded[unit], s[unit / 2];
  for (int i = 0; i < unit; i += W) store(rounded + i, round_even(mul(load(x + i), set1(inverse))));
  for (int i = 0; i < unit / 2; ++i) {
    const float low = __builtin_fmaf(x[i], inverse, -rounded[i]),
                high = __builtin_fmaf(x[i + 16], inverse, -rounded[i + 16]);
    s[i] = __builtin_fmaf(high, high, low * low);
  }
  return fold_squares(s);
}
HEDDLE_SIMD void round_unit(const float* x, int8_t* q, float* scale, int32_t* sums) {
  F top = abs(load(x)), poison = mul(load(x), zero());
  for (int i = W; i < unit; i += W) {
    F v = load(x + i);
    top = max(abs(v), top);
    poison = fma(v, zero(), poison);  // NaN if any element is not finite
  }
  float largest = reduce_max(top), nothing = reduce_add(poison);
  bool finite = nothing == 0;
  const bool some = finite && largest > least_activation;
  const bool second = some && second_steps_leave_less(
                                  left_by(x, activation_steps[0] / largest), left_by(x, activation_steps[1] / largest));
  const float inverse = some ? activation_steps[second] / largest : 0.0f;
  *scale = largest / activation_steps[second] + nothing;
  alignas(64) float rounded[unit] = {};
  for (int i = 0; finite && i < unit; i += W) store(rounded + i, round_even(mul(load(x + i), set1(inverse))));
  sums[0] = sums[1] = 0;
  for (int i = 0; i < unit; ++i) q[i] = static_cast<int8_t>(static_cast<int32_t>(rounded[i]));
  for (int i = 0; i < unit / 2; ++i) sums[0] += q[i], sums[1] += q[unit / 2 + i];
}
#endif

// Loads unit u of row r of x as floats.
HEDDLE_SIMD void load_unit(const QuantLinear& p, int64_t r, int64_t u, float* to) {
  int64_t at = r * p.k + u * unit;
  for (int i = 0; i < unit; i += W)
    store(to + i, p.x_type == DType::f32 ? load(static_cast<const float*>(p.x) + at + i)
                                         : load(static_cast<const bf16*>(p.x) + at + i));
}

// Writes up to W columns of row i from column j on: `sum` plus bias. Lanes from n on are ignored.
HEDDLE_SIMD void write_int8(const QuantLinear& p, int64_t i, int64_t j, int64_t n, F sum) {
  int count = static_cast<int>(min_of<int64_t>(W, n));
  if (p.bias) {
    alignas(64) float bias[W] = {};
    for (int l = 0; l < count; ++l) bias[l] = load_any(p.bias, p.bias_type, j + l);
    sum = add(sum, load(bias));
  }
  int64_t at = i * p.n + j;
  if (p.y_type == DType::f32) {
    float* y = static_cast<float*>(p.y) + at;
    count == W ? store(y, sum) : store_n(y, sum, count);
  } else {
    bf16* y = static_cast<bf16*>(p.y) + at;
    count == W ? store(y, sum) : store_n(y, sum, count);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
