// Writes finished sums to the output of their product.
#pragma once
#include "cpu/rows/activation-inl.h"
#include "cpu/isa/kernels.h"
#include "cpu/rows/loops-inl.h"
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

using cpu::Gemm;

// Writes rows and columns of `tile` (stride ts) to c from (i, j) on.
inline void write_tile(const float* tile, int64_t ts, int64_t rows, int64_t columns, const Gemm& g, int64_t i,
    int64_t j, bool accumulate) {
  if (g.c_transposed) {
    for (int64_t s = 0; s < columns; ++s)
      for (int64_t r = 0; r < rows; ++r) {
        int64_t at = (j + s) * g.ldc + i + r;
        float v = tile[r * ts + s];
        if (g.c_type == DType::bf16) store1(static_cast<bf16*>(g.c) + at, v);
        else static_cast<float*>(g.c)[at] = accumulate ? static_cast<float*>(g.c)[at] + v : v;
      }
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = tile + r * ts;
    int64_t at = (i + r) * g.ldc + j, s = 0;
    if (g.c_type == DType::f32) {
      float* to = static_cast<float*>(g.c) + at;
      for (; s + W <= columns; s += W) store(to + s, accumulate ? add(load(to + s), load(from + s)) : load(from + s));
      for (; s < columns; ++s) to[s] = accumulate ? to[s] + from[s] : from[s];
    } else if (accumulate) {
      bf16* to = static_cast<bf16*>(g.c) + at;
      for (; s + W <= columns; s += W) store(to + s, add(load(to + s), load(from + s)));
      if (s < columns) {
        const int rest = static_cast<int>(columns - s);
        store_n(to + s, add(load_n(to + s, rest), load_n(from + s, rest)), rest);
      }
    } else {
      bf16* to = static_cast<bf16*>(g.c) + at;
      for (; s + 2 * W <= columns; s += 2 * W) store_two(to + s, load(from + s), load(from + s + W));
      for (; s + W <= columns; s += W) store(to + s, load(from + s));
      if (s < columns) store_n(to + s, load_n(from + s, static_cast<int>(columns - s)), static_cast<int>(columns - s));
    }
  }
}

// Applies the product's activation to finished sums and writes them. Overwrites `tile`, including the padding of its
// rows to whole vectors.
[[gnu::noinline]] inline void write_activated_tile(
    float* tile, int64_t ts, int64_t rows, int64_t columns, const Gemm& g, int64_t i, int64_t j) {
  const auto activate = [&](auto act) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t s = r * ts; s < r * ts + columns; s += W) store(tile + s, act(load(tile + s)).value);
  };
  if (g.end == 1) activate([](F x) { return gelu_tanh(x); });
  else activate([](F x) { return gelu_erf(x); });
  write_tile(tile, ts, rows, columns, g, i, j, false);
}

// Writes `count` neighboring elements of row i of c from column j on: `sum` plus bias.
HEDDLE_SIMD void write_sums(const Gemm& g, int64_t i, int64_t j, int count, F sum) {
  if (g.bias) {
    const F bias = g.bias_type == DType::f32    ? load_n(static_cast<const float*>(g.bias) + j, count)
                   : g.bias_type == DType::bf16 ? load_n(static_cast<const bf16*>(g.bias) + j, count)
                                                : load_n(static_cast<const f16*>(g.bias) + j, count);
    sum = add(sum, bias);
  }
  if (g.c_transposed) {
    alignas(64) float numbers[W];
    store(numbers, sum);
    for (int l = 0; l < count; ++l) {
      const int64_t at = (j + l) * g.ldc + i;
      if (g.c_type == DType::f32) static_cast<float*>(g.c)[at] = numbers[l];
      else store1(static_cast<bf16*>(g.c) + at, numbers[l]);
    }
  } else if (g.c_type == DType::f32) {
    float* to = static_cast<float*>(g.c) + i * g.ldc + j;
    count == W ? store(to, sum) : store_n(to, sum, count);
  } else {
    bf16* to = static_cast<bf16*>(g.c) + i * g.ldc + j;
    count == W ? store(to, sum) : store_n(to, sum, count);
  }
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
