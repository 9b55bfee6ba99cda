// Passes over a row of logits. They use only vectors of the baseline instruction set, so that every sum has one fixed
// order. A seed then draws the same token under every HEDDLE_ISA.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace heddle {

// Vector extensions of GCC and Clang. Vectors of 16 bytes exist on every x86-64 and arm64.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int32_t __attribute__((vector_size(16)));

constexpr int scan_vectors = 4;  // independent accumulators
constexpr int64_t scan_width = 4 * scan_vectors;

inline Float4 load4(const float* p) {
  Float4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Float4 fill4(float v) { return Float4{v, v, v, v}; }

// Returns exp(-x) for x >= 0, and 0 from 87 on, with a relative error below 2e-7. Splits x = k ln 2 + r and evaluates a
// polynomial in r.
inline Float4 exp_negative(Float4 x) {
  const Float4 limit = fill4(87.0f);
  const Float4 bounded = x < limit ? x : limit;
  const Int4 k = __builtin_convertvector(bounded * 1.44269504f + 0.5f, Int4);
  const Float4 kf = __builtin_convertvector(k, Float4);
  const Float4 r = (bounded - kf * 0.693145752f) - kf * 1.42860677e-6f;  // ln 2 in two parts; |r| <= ln 2 / 2
  const Float4 p =
      1.0f -
      r * (1.0f - r * (0.5f - r * (0.166666657f - r * (0.0416664854f - r * (0.00833452121f - r * 0.00138888671f)))));
  const Int4 bits = (127 - k) << 23;  // 2^-k
  Float4 power;
  std::memcpy(&power, &bits, sizeof power);
  return x < limit ? p * power : fill4(0.0f);
}
inline float exp_negative(float x) { return exp_negative(fill4(x))[0]; }

struct LogitRange {
  float largest, smallest;  // `smallest` ignores logits of -infinity
  bool nan;
};

inline LogitRange scan_range(const float* x, int64_t n) {
  Float4 high[scan_vectors], low[scan_vectors];
  Int4 nan = {};
  for (int j = 0; j < scan_vectors; ++j) high[j] = fill4(-INFINITY), low[j] = fill4(INFINITY);
  const auto see = [&](int j, Float4 v) {
    high[j] = v > high[j] ? v : high[j];
    const Float4 finite = v == -INFINITY ? fill4(INFINITY) : v;
    low[j] = finite < low[j] ? finite : low[j];
    nan |= v != v;
  };
  int64_t i = 0;
  for (; i + scan_width <= n; i += scan_width)
    for (int j = 0; j < scan_vectors; ++j) see(j, load4(x + i + 4 * j));
  for (; i < n; ++i) see(0, fill4(x[i]));
  LogitRange r{-INFINITY, INFINITY, false};
  for (int j = 0; j < scan_vectors; ++j)
    for (int lane = 0; lane < 4; ++lane) {
      r.largest = high[j][lane] > r.largest ? high[j][lane] : r.largest;
      r.smallest = low[j][lane] < r.smallest ? low[j][lane] : r.smallest;
      r.nan |= nan[lane] != 0;
    }
  return r;
}

// Sums over a row of logits, with d = largest - logit: `mass` of exp(-d), and `distance` of d * exp(-d).
struct LogitSums {
  double mass, distance;

  // The entropy of the softmax in nats. Not negative, because the largest logit alone has a mass of 1.
  double entropy() const { return std::log(mass) + distance / mass; }
};

// Returns the sums of a row. Adds four terms at a time in float, and these sums in double.
inline LogitSums scan_sums(const float* x, int64_t n, float largest) {
  double mass[4] = {}, distance[4] = {};
  // Bounds infinite distances, whose product with 0 would be NaN.
  const auto bounded = [](Float4 d) { return d < 88.0f ? d : fill4(88.0f); };
  int64_t i = 0;
  for (; i + scan_width <= n; i += scan_width) {
    Float4 e[scan_vectors], weighted[scan_vectors];
    for (int j = 0; j < scan_vectors; ++j) {
      const Float4 d = bounded(largest - load4(x + i + 4 * j));
      e[j] = exp_negative(d);
      weighted[j] = d * e[j];
    }
    const Float4 sum = (e[0] + e[1]) + (e[2] + e[3]);
    const Float4 weighted_sum = (weighted[0] + weighted[1]) + (weighted[2] + weighted[3]);
    for (int j = 0; j < 4; ++j) mass[j] += sum[j], distance[j] += weighted_sum[j];
  }
  for (; i < n; ++i) {
    const Float4 d = bounded(fill4(largest - x[i])), e = exp_negative(d);
    mass[0] += e[0], distance[0] += d[0] * e[0];
  }
  return {(mass[0] + mass[1]) + (mass[2] + mass[3]), (distance[0] + distance[1]) + (distance[2] + distance[3])};
}

// Returns the lowest index of `value`, which must be in x.
inline int64_t first_index_of(const float* x, int64_t n, float value) {
  int64_t i = 0;
  for (; i + scan_width <= n; i += scan_width) {
    Int4 found = load4(x + i) == value;
    for (int j = 1; j < scan_vectors; ++j) found |= load4(x + i + 4 * j) == value;
    if (found[0] | found[1] | found[2] | found[3]) break;
  }
  for (; i < n; ++i)
    if (x[i] == value) return i;
  return n - 1;
}

}  // namespace heddle
