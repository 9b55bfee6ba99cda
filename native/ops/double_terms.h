// A double as three floats, for outputs that must not round it.
#pragma once
#include <cmath>

namespace heddle {

constexpr int double_terms = 3;

// Their sum in double precision is `value`, if that is a sum of floats. The terms after an infinity or a NaN are 0.
inline void store_terms(double value, float* to) {
  for (int i = 0; i < double_terms; ++i) {
    to[i] = static_cast<float>(value);
    value = std::isfinite(to[i]) ? value - static_cast<double>(to[i]) : 0;
  }
}

}  // namespace heddle
