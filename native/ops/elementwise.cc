// add, mul, scale, cast, sum and broadcast.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_add(const Node& n) { check_elementwise("add", n, {"a", "b"}); }
void add(const Node& n) {
  map2(n.in[0], n.in[1], n.out[0], [](double a, double b) { return a + b; });
}

void check_mul(const Node& n) { check_elementwise("mul", n, {"a", "b"}); }
void mul(const Node& n) {
  map2(n.in[0], n.in[1], n.out[0], [](double a, double b) { return a * b; });
}

void check_scale(const Node& n) {
  check_elementwise("scale", n, {"x"});
  Check("scale", n, 1, 1, 1, 1).attr("factor", -3.4e38, 3.4e38);
}
void scale(const Node& n) {
  const double factor = n.attr("factor");
  map1(n.in[0], n.out[0], [&](double x) { return x * factor; });
}

// Between floating point types, and from i32.
void check_cast(const Node& n) {
  Check c("cast", n, 1, 1, 1, 1);
  const Operand x = c.in(0, "x"), y = c.out(0, "y");
  c.dtype(x, float_types | i32_only), c.dtype(y, float_types), c.same_shape(y, x);
}
void cast(const Node& n) {
  map1(n.in[0], n.out[0], [](double x) { return x; });
}

// x of any shape -> (1) f32
void check_sum(const Node& n) {
  Check c("sum", n, 1, 1, 1, 1);
  const Operand x = c.in(0, "x"), y = c.out(0, "y");
  c.dtype(x, activation_types), c.dtype(y, f32_only), c.shape(y, {1});
}
void sum(const Node& n) {
  double total = 0;
  for (int64_t i = 0, count = n.in[0].shape.size(); i < count; ++i) total += load_float(n.in[0], i);
  store_float(n.out[0], 0, static_cast<float>(total));
}

// x (1) f32 -> y of any shape
void check_broadcast(const Node& n) {
  Check c("broadcast", n, 1, 1, 1, 1);
  const Operand x = c.in(0, "x");
  c.dtype(x, f32_only), c.shape(x, {1}), c.dtype(c.out(0, "y"), activation_types);
}
void broadcast(const Node& n) {
  const float value = load_float(n.in[0], 0);
  for (int64_t i = 0, count = n.out[0].shape.size(); i < count; ++i) store_float(n.out[0], i, value);
}

HEDDLE_OP(add_op, {"add", 2, 2, 1, check_add, add, 0, 0b11});
HEDDLE_OP(mul_op, {"mul", 2, 2, 1, check_mul, mul, 0, 0b11});
HEDDLE_OP(scale_op, {"scale", 1, 1, 1, check_scale, scale, 0, 0b1});
HEDDLE_OP(cast_op, {"cast", 1, 1, 1, check_cast, cast});
HEDDLE_OP(sum_op, {"sum", 1, 1, 1, check_sum, sum});
HEDDLE_OP(broadcast_op, {"broadcast", 1, 1, 1, check_broadcast, broadcast});

}  // namespace
}  // namespace heddle
