// A double as three floats, for outputs that must not round it.
#pragma once
#include <cmath>

namespace heddle {

constexpr int double_terms = 3;

// Writes `value` as three floats, the largest first, whose sum in double precision is `value`. Bits below 2^-149, the
// least positive float, are lost. The terms after an infinity or a NaN are 0.
inline void store_terms(double value, float* to) {
  for (int i = 0; i < double_terms; ++i) {
    to[i] = static_cast<float>(value);
    value = std::isfinite(to[i]) ? value - static_cast<double>(to[i]) : 0;
  }
}

}  // namespace heddle
