// Passes over a row of logits for sampling a token: the range, the sum of exponentials, and the index of a value.
#pragma once
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

constexpr int64_t logits_block = 8 * W;

// Finds the largest and the smallest of n > 0 numbers. Returns false if not all are finite.
inline bool logits_range(const float* x, int64_t n, float* largest, float* smallest) {
  F high[4], low[4], probe[4];
  for (int j = 0; j < 4; ++j) high[j] = set1(minus_infinity), low[j] = set1(-minus_infinity), probe[j] = zero();
  const auto see = [&](int j, F v) {
    high[j] = max(v, high[j]), low[j] = min(v, low[j]);
    probe[j] = fma(v, zero(), probe[j]);  // 0, or NaN from the first non-finite number on
  };
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) see(j, load(x + i + j * W));
  *largest = reduce_max(max(max(high[0], high[1]), max(high[2], high[3])));
  *smallest = -reduce_max(neg(min(min(low[0], low[1]), min(low[2], low[3]))));
  float nothing = reduce_add(add(add(probe[0], probe[1]), add(probe[2], probe[3])));
  for (; i < n; ++i) {
    *largest = max_of(*largest, x[i]), *smallest = min_of(*smallest, x[i]);
    nothing += 0 * x[i];
  }
  return nothing == 0;
}

// Returns the sum of exp(x - largest), where no x is above `largest`. Lanes sum a thousand numbers in float; these sums
// are added in double.
inline double logits_sum_exp(const float* x, int64_t n, float largest) {
  const F base = set1(largest);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += 64 * W) {
    const int64_t end = min_of(n, begin + 64 * W);
    F sums[4];
    for (int j = 0; j < 4; ++j) sums[j] = zero();
    int64_t i = begin;
    for (; i + 4 * W <= end; i += 4 * W)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sums[j] = add(sums[j], exp_nonpositive(sub(load(x + i + j * W), base)));
    for (; i < end; i += W) {
      alignas(64) float e[W];
      const int count = static_cast<int>(min_of<int64_t>(W, end - i));
      store(e, exp_nonpositive(sub(load_n(x + i, count), base)));
      for (int lane = count; lane < W; ++lane) e[lane] = 0;
      sums[0] = add(sums[0], load(e));
    }
    total += static_cast<double>(reduce_add(add(add(sums[0], sums[1]), add(sums[2], sums[3]))));
  }
  return total;
}

// Returns the lowest index of the largest number, which is `largest`.
inline int64_t logits_index(const float* x, int64_t n, float largest) {
  int64_t i = 0;
  for (; i + logits_block <= n; i += logits_block) {
    F top = load(x + i);
#pragma GCC unroll 8
    for (int j = 1; j < 8; ++j) top = max(top, load(x + i + j * W));
    if (reduce_max(top) == largest) break;
  }
  for (; i < n; ++i)
    if (x[i] == largest) return i;
  return n - 1;
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
