// The sum of all elements, and its gradient, which broadcasts one number to a shape.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

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

HEDDLE_OP(sum_op, {"sum", 1, 1, 1, check_sum, sum});
HEDDLE_OP(broadcast_op, {"broadcast", 1, 1, 1, check_broadcast, broadcast});

}  // namespace
}  // namespace heddle
