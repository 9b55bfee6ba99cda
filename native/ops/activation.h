// Activation functions and their derivatives in double, as PyTorch defines them.
#pragma once
#include <cmath>

namespace heddle {

struct Activated {
  double value, derivative;
};

inline Activated silu(double x) {
  const double s = 1 / (1 + std::exp(-x));
  return {x * s, s * (1 + x * (1 - s))};
}

// GELU (Hendrycks & Gimpel 2016), exact.
inline Activated gelu_erf(double x) {
  const double cdf = 0.5 * std::erfc(-x * 0.7071067811865475244);
  const double density = 0.3989422804014326779 * std::exp(-0.5 * x * x);
  return {x * cdf, cdf + x * density};
}

// GELU's tanh approximation.
inline Activated gelu_tanh(double x) {
  const double c = 0.7978845608028653559;  // sqrt(2 / pi)
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return {0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)};
}

// The `activation` attribute of glu.
inline Activated activate(int64_t activation, double x) {
  return activation == 0 ? silu(x) : activation == 1 ? gelu_tanh(x) : gelu_erf(x);
}

}  // namespace heddle
