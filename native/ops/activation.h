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
  const double cdf = 0.5 * std::erfc(-x * 0.7071067811865475244);         // 1 / sqrt(2)
  const double density = 0.3989422804014326779 * std::exp(-0.5 * x * x);  // 1 / sqrt(2 pi)
  return {x * cdf, cdf + x * density};
}

// GELU's tanh approximation.
inline Activated gelu_tanh(double x) {
  const double c = 0.7978845608028653559;  // sqrt(2 / pi)
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return {0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)};
}

// max(x, 0), and its square (So et al. 2021, "Primer").
inline Activated relu(double x) { return {x > 0 || std::isnan(x) ? x : 0, x > 0 ? 1.0 : 0.0}; }
inline Activated squared_relu(double x) { return {relu(x).value * relu(x).value, 2 * relu(x).value}; }

// Applies the function that the attribute `activation` selects: 0 to 2 in glu, 0 to 4 in the fused linear ops.
inline Activated activate(int64_t activation, double x) {
  switch (activation) {
    case 0: return silu(x);
    case 1: return gelu_tanh(x);
    case 2: return gelu_erf(x);
    case 3: return relu(x);
    default: return squared_relu(x);
  }
}

}  // namespace heddle
