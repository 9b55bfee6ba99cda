// Linear layers with quantized weights. Either activations are rounded to 8 bits, or the product is exact. An exact
// product dequantizes a few rows of weights at a time to f32.
#pragma once
#include "cpu/gemm/gemm-inl.h"
#include "cpu/rows/elementwise-inl.h"
#include "cpu/quant/quant_int8-inl.h"

namespace heddle {
namespace HEDDLE_ISA {

// Dequantizes n elements (whole blocks) to f32. The results are bit-equal to those of dequantize().
inline void blocks_to_numbers(const QuantType& t, const void* from, int64_t n, float* to) {
  alignas(64) int8_t q[span];
  float scale[max_groups], minimum[max_groups];
  const uint8_t* block = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < n; i += span, block += quant_row_bytes(t, span)) {
    const int count = static_cast<int>(min_of<int64_t>(span, n - i));
    t.unpack(block, count / t.elements, q, scale, minimum);
    for (int g = 0; g < count / t.group; ++g)
      for (int e = g * t.group; e < (g + 1) * t.group; e += W) {
        const F product = mul(set1(scale[g]), load(q + e));
        store(to + i + e, t.minimum ? add(product, set1(minimum[g])) : product);
      }
  }
}

// Dequantizes rows [first, first + count) of w (., k) to f32.
inline void dequantize_rows(DType type, const void* w, int64_t k, int64_t first, int64_t count, float* to, Pool& pool) {
  const QuantType& t = quant_type(type);
  const int64_t row_bytes = quant_row_bytes(t, k);
  pool.range(count, max_of<int64_t>(1, 8192 / max_of<int64_t>(1, k)), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      blocks_to_numbers(t, static_cast<const char*>(w) + (first + r) * row_bytes, k, to + r * k);
  });
}

// Number of rows of w that are dequantized at a time. They take about a megabyte.
inline int64_t exact_rows(const QuantLinear& p) {
  const int64_t fit = max_of<int64_t>(1, 262144 / max_of<int64_t>(1, p.k)) / 16 * 16;
  return min_of(max_of<int64_t>(16, fit), round_up(p.n, 16));
}
inline size_t exact_bytes(const QuantLinear& p) { return static_cast<size_t>(round_up(exact_rows(p) * p.k * 4, 64)); }

inline size_t quant_linear_scratch(const QuantLinear& p, int threads) {
  if (p.int8) return int8_linear_scratch(p, threads);
  return exact_bytes(p) + gemm_scratch(p.m, exact_rows(p), p.k, threads);
}

inline void exact_linear(const QuantLinear& p, Pool& pool, void* scratch) {
  float* rows = static_cast<float*>(scratch);
  void* rest = static_cast<char*>(scratch) + exact_bytes(p);
  const int64_t step = exact_rows(p), y_bytes = p.y_type == DType::f32 ? 4 : 2;
  for (int64_t j = 0; j < p.n; j += step) {
    Gemm g{};
    g.m = p.m, g.n = min_of(step, p.n - j), g.k = p.k;
    dequantize_rows(p.w_type, p.w, p.k, j, g.n, rows, pool);
    g.a = p.x, g.a_type = p.x_type, g.lda = p.k;
    g.b = rows, g.b_type = DType::f32, g.ldb = p.k, g.b_transposed = true;
    g.c = static_cast<char*>(p.y) + j * y_bytes, g.c_type = p.y_type, g.ldc = p.n;
    if (p.bias)
      g.bias = static_cast<const char*>(p.bias) + j * (p.bias_type == DType::f32 ? 4 : 2), g.bias_type = p.bias_type;
    g.rowwise = p.rowwise;
    gemm(g, pool, rest);
  }
}

inline void quant_linears(const QuantLinear* p, int count, Pool& pool, void* scratch) {
  int8_linears(p, count, pool, scratch, exact_linear);
}
inline void quant_linear(const QuantLinear& p, Pool& pool, void* scratch) { quant_linears(&p, 1, pool, scratch); }

// Size of the f32 sums, if dx cannot hold them.
inline size_t backward_sums(const QuantLinear& p) {
  return p.x_type == DType::f32 ? 0 : static_cast<size_t>(round_up(p.m * p.k * 4, 64));
}
inline size_t quant_backward_scratch(const QuantLinear& p, int threads) {
  return exact_bytes(p) + backward_sums(p) + gemm_scratch(p.m, p.k, exact_rows(p), threads);
}
inline void quant_backward(const QuantLinear& p, Pool& pool, void* scratch) {
  if (p.m == 0 || p.k == 0) return;
  float* rows = static_cast<float*>(scratch);
  char* at = static_cast<char*>(scratch) + exact_bytes(p);
  float* sums = backward_sums(p) ? reinterpret_cast<float*>(at) : static_cast<float*>(p.dx);
  void* rest = at + backward_sums(p);
  const int64_t step = max_of<int64_t>(1, exact_rows(p)), y_bytes = p.y_type == DType::f32 ? 4 : 2;
  for (int64_t j = 0; j < p.n || j == 0; j += step) {  // runs once for n = 0 as well, to set dx to zero
    Gemm g{};
    g.m = p.m, g.n = p.k, g.k = min_of(step, p.n - j);
    dequantize_rows(p.w_type, p.w, p.k, j, g.k, rows, pool);
    g.a = static_cast<const char*>(p.y) + j * y_bytes, g.a_type = p.y_type, g.lda = p.n;
    g.b = rows, g.b_type = DType::f32, g.ldb = p.k;
    g.c = sums, g.c_type = DType::f32, g.ldc = p.k, g.accumulate = j > 0;
    gemm(g, pool, rest);
  }
  if (p.x_type != DType::f32) convert_range(sums, DType::f32, p.dx, p.x_type, 0, p.m * p.k);
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
