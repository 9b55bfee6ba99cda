// Passes over a row of logits, written so that a compiler vectorises them with the baseline instruction set. Every
// sum has a fixed order, so that a seed draws the same token whatever the instruction set of the other kernels.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace heddle {

constexpr int scan_lanes = 8;

struct LogitRange {
  float largest, smallest;  // smallest: of those above -infinity
  bool nan;
};

inline LogitRange scan_range(const float* x, int64_t n) {
  float high[scan_lanes], low[scan_lanes];
  int32_t nan[scan_lanes] = {};
  for (int j = 0; j < scan_lanes; ++j) high[j] = -INFINITY, low[j] = INFINITY;
  const auto see = [&](int j, float v) {
    high[j] = v > high[j] ? v : high[j];
    const float finite = v == -INFINITY ? INFINITY : v;
    low[j] = finite < low[j] ? finite : low[j];
    nan[j] |= v != v;
  };
  int64_t i = 0;
  for (; i + scan_lanes <= n; i += scan_lanes)
    for (int j = 0; j < scan_lanes; ++j) see(j, x[i + j]);
  for (; i < n; ++i) see(0, x[i]);
  LogitRange r{high[0], low[0], nan[0] != 0};
  for (int j = 1; j < scan_lanes; ++j) {
    r.largest = high[j] > r.largest ? high[j] : r.largest;
    r.smallest = low[j] < r.smallest ? low[j] : r.smallest;
    r.nan |= nan[j] != 0;
  }
  return r;
}

// exp(-x) for x >= 0, 0 beyond 87; relative error below 2e-7. Splits x = k ln 2 + r and takes a polynomial in r.
inline float exp_negative(float x) {
  const float bounded = x < 87.0f ? x : 87.0f;
  const float k = static_cast<float>(static_cast<int32_t>(bounded * 1.44269504f + 0.5f));
  const float r = (bounded - k * 0.693145752f) - k * 1.42860677e-6f;  // ln 2 in two parts; |r| <= ln 2 / 2
  const float p =
      1.0f - r * (1.0f - r * (0.5f - r * (0.166666657f - r * (0.0416664854f - r * (0.00833452121f - r * 0.00138888671f)))));
  const int32_t bits = (127 - static_cast<int32_t>(k)) << 23;  // 2^-k
  float power;
  std::memcpy(&power, &bits, 4);
  return x < 87.0f ? p * power : 0.0f;
}

// log(sum of exp(x)) given the largest x.
inline double scan_log_sum_exp(const float* x, int64_t n, float largest) {
  double lane[scan_lanes] = {};
  int64_t i = 0;
  for (; i + scan_lanes <= n; i += scan_lanes) {
    float e[scan_lanes];
    for (int j = 0; j < scan_lanes; ++j) e[j] = exp_negative(largest - x[i + j]);
    for (int j = 0; j < scan_lanes; ++j) lane[j] += e[j];
  }
  for (; i < n; ++i) lane[0] += exp_negative(largest - x[i]);
  double sum = 0;
  for (int j = 0; j < scan_lanes; ++j) sum += lane[j];
  return static_cast<double>(largest) + std::log(sum);
}

// The lowest index whose value is `value`, which must occur.
inline int64_t first_index_of(const float* x, int64_t n, float value) {
  for (int64_t i = 0; i < n; ++i)
    if (x[i] == value) return i;
  return n - 1;
}

}  // namespace heddle
