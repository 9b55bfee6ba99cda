// Passes over a row of logits for sampling a token: the range, the sums of exponentials, and the index of a value.
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

// Computes the sums of exp(-d) and of d * exp(-d), with d = largest - x >= 0. Sums 64 vectors at a time in float, and
// adds these sums in double.
inline void logits_sums(const float* x, int64_t n, float largest, double* mass, double* distance) {
  const F base = set1(largest);
  *mass = *distance = 0;
  const auto total = [](const F* s) { return static_cast<double>(reduce_add(add(add(s[0], s[1]), add(s[2], s[3])))); };
  for (int64_t begin = 0; begin < n; begin += 64 * W) {
    const int64_t end = min_of(n, begin + 64 * W);
    F sums[4], weighted[4];
    for (int j = 0; j < 4; ++j) sums[j] = weighted[j] = zero();
    // Bounds infinite distances, whose product with 0 would be NaN.
    const auto below = [&](F v) { return max(set1(-88.0f), sub(v, base)); };
    int64_t i = begin;
    for (; i + 4 * W <= end; i += 4 * W)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const F d = below(load(x + i + j * W)), e = exp_nonpositive(d);
        sums[j] = add(sums[j], e), weighted[j] = fnma(e, d, weighted[j]);
      }
    for (; i < end; i += W) {
      alignas(64) float e[W];
      const int count = static_cast<int>(min_of<int64_t>(W, end - i));
      const F d = below(load_n(x + i, count));
      store(e, exp_nonpositive(d));
      for (int lane = count; lane < W; ++lane) e[lane] = 0;
      sums[0] = add(sums[0], load(e)), weighted[0] = fnma(load(e), d, weighted[0]);
    }
    *mass += total(sums), *distance += total(weighted);
  }
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
