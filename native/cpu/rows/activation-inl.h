// Activation functions and their derivatives on vectors.
#pragma once
#include "cpu/simd/simd.h"

namespace heddle {
namespace HEDDLE_ISA {

// The probability that a standard normal variable is below x: 1/2 + x p(x^2) / q(x^2), a minimax fit for |x| <= 5.5
// with an absolute error of 1.7e-7. Beyond 5.5 the fraction is constant. Its product with x then exceeds 1/2 and is
// clamped, so the result is exactly 0 or 1.
HEDDLE_SIMD F normal_cdf(F x) {
  F s = min(mul(x, x), set1(30.25f));
  F p = fma(set1(2.2899757e-08f), s, set1(6.309647e-06f)), q = fma(set1(1.198714e-06f), s, set1(7.2408744e-05f));
  p = fma(p, s, set1(1.6527185e-04f)), q = fma(q, s, set1(1.8645577e-03f));
  p = fma(p, s, set1(4.6557179e-03f)), q = fma(q, s, set1(2.8453965e-02f));
  p = fma(p, s, set1(3.3523805e-02f)), q = fma(q, s, set1(2.5069803e-01f));
  p = fma(p, s, set1(3.9894226e-01f)), q = fma(q, s, set1(1.0f));
  F half = min(set1(0.5f), max(set1(-0.5f), mul(mul(x, p), reciprocal(q))));
  return add(set1(0.5f), half);
}

struct Activated {
  F value, derivative;
};
HEDDLE_SIMD Activated silu(F x) {
  F s = sigmoid(x), value = mul(x, s);
  return {value, fma(value, sub(set1(1), s), s)};
}
HEDDLE_SIMD Activated gelu_erf(F x) {
  F cdf = normal_cdf(x);
  F density = mul(set1(0.39894228f), exp_nonpositive(mul(set1(-0.5f), mul(x, x))));
  return {mul(x, cdf), fma(x, density, cdf)};
}
// (1 + tanh(z / 2)) / 2 is sigmoid(z). Its slope e / (1 + e)^2 with e = exp(-|z|) has no cancellation, unlike 1 -
// tanh^2.
HEDDLE_SIMD Activated gelu_tanh(F x) {
  F c = set1(2 * 0.79788456f), s = mul(x, x);
  F z = mul(mul(c, x), fma(set1(0.044715f), s, set1(1)));
  F e = exp_nonpositive(neg(abs(z))), r = reciprocal(add(set1(1), e));
  F gate = select_lt(z, zero(), mul(e, r), r);
  F inner = mul(c, fma(set1(3 * 0.044715f), s, set1(1)));
  return {mul(x, gate), fma(mul(x, mul(e, mul(r, r))), inner, gate)};
}

}  // namespace HEDDLE_ISA
}  // namespace heddle
