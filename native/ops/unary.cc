// Elementwise functions of one operand, selected by `function`, and their derivatives. The values of Function are
// those of lib/graph/ops/unary.ts. Outside its domain a function returns NaN or infinity, as in C's math library.
#include <cmath>

#include "ops/activation.h"
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

enum Function { exp_, log_, sigmoid_, log_sigmoid_, tanh_, relu_, abs_, sqrt_, reciprocal_, log1mexp_, functions };

double sigmoid(double x) {
  // e^-|x| never overflows.
  const double e = std::exp(-std::fabs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

// Chooses the formula without cancellation (Maechler 2012, "Accurately computing log(1 - exp(-|a|))").
double log1mexp(double x) { return x > -0.6931471805599453 ? std::log(-std::expm1(x)) : std::log1p(-std::exp(x)); }

Activated apply(int64_t function, double x) {
  switch (function) {
    case exp_: return {std::exp(x), std::exp(x)};
    case log_: return {std::log(x), 1 / x};
    case sigmoid_: return {sigmoid(x), sigmoid(x) * sigmoid(-x)};
    case log_sigmoid_: return {std::fmin(x, 0) - std::log1p(std::exp(-std::fabs(x))), sigmoid(-x)};
    case tanh_: return {std::tanh(x), 1 / (std::cosh(x) * std::cosh(x))};
    case relu_: return {x > 0 || std::isnan(x) ? x : 0, x > 0 ? 1.0 : 0.0};
    case abs_: return {std::fabs(x), x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0};
    case sqrt_: return {std::sqrt(x), 0.5 / std::sqrt(x)};
    case reciprocal_: return {1 / x, -1 / (x * x)};
    default: return {log1mexp(x), 1 / -std::expm1(-x)};  // log1mexp
  }
}

void check_unary(const Node& n) {
  check_elementwise("unary", n, {"x"});
  Check("unary", n, 1, 1, 1, 1).attr_int("function", 0, functions - 1);
}

void unary(const Node& n) {
  const int64_t function = n.attr_int("function");
  map1(n.in[0], n.out[0], [&](double x) { return apply(function, x).value; });
}

void check_unary_backward(const Node& n) {
  check_elementwise("unary_backward", n, {"dy", "x"});
  Check("unary_backward", n, 2, 2, 1, 1).attr_int("function", 0, functions - 1);
}

void unary_backward(const Node& n) {
  const int64_t function = n.attr_int("function");
  // A zero dy gives a zero gradient even if the slope is infinite, as for the square root at 0.
  map2(n.in[0], n.in[1], n.out[0],
      [&](double dy, double x) { return dy == 0 ? 0 : dy * apply(function, x).derivative; });
}

HEDDLE_OP(unary_op, {"unary", 1, 1, 1, check_unary, unary, 0, 0b1, false, false, false, by_rows<0b1>});
HEDDLE_OP(unary_backward_op, {"unary_backward", 2, 2, 1, check_unary_backward, unary_backward, 0, 0b11});

}  // namespace
}  // namespace heddle
