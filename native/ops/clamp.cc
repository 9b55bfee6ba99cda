// Clamps values to an interval. The gradient passes if the value is inside, including the ends.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

struct Interval {
  double low, high;
  explicit Interval(const Node& n) : low(n.attr("low")), high(n.attr("high")) {}
};

void check_interval(const Check& c) {
  const double low = c.attr("low", -3.5e38, 3.5e38), high = c.attr("high", -3.5e38, 3.5e38);
  if (low > high) c.invalid("low: expected at most high, " + std::to_string(high) + ", got " + std::to_string(low));
}

void check_clamp(const Node& n) {
  check_elementwise("clamp", n, {"x"});
  check_interval(Check("clamp", n, 1, 1, 1, 1));
}
void clamp(const Node& n) {
  const Interval to(n);
  map1(n.in[0], n.out[0], [&](double x) { return x < to.low ? to.low : x > to.high ? to.high : x; });
}

void check_clamp_backward(const Node& n) {
  check_elementwise("clamp_backward", n, {"dy", "x"});
  check_interval(Check("clamp_backward", n, 2, 2, 1, 1));
}
void clamp_backward(const Node& n) {
  const Interval to(n);
  map2(n.in[0], n.in[1], n.out[0], [&](double dy, double x) { return x >= to.low && x <= to.high ? dy : 0; });
}

HEDDLE_OP(clamp_op, {"clamp", 1, 1, 1, check_clamp, clamp, 0, 0b1});
HEDDLE_OP(clamp_backward_op, {"clamp_backward", 2, 2, 1, check_clamp_backward, clamp_backward, 0, 0b11});

}  // namespace
}  // namespace heddle
