// The elementwise minimum of two operands, and its gradient. The gradient goes to the smaller operand, or half to each
// if they are equal (PyTorch's rule). If an operand is NaN, the minimum is NaN.
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_minimum(const Node& n) { check_elementwise("minimum", n, {"a", "b"}); }
void minimum(const Node& n) {
  map2(n.in[0], n.in[1], n.out[0], [](double a, double b) { return std::isnan(a) || a < b ? a : b; });
}

// dy, a, b -> da, db
void check_minimum_backward(const Node& n) {
  Check c("minimum_backward", n, 3, 3, 2, 2);
  const Operand dy = c.in(0, "dy");
  c.dtype(dy, activation_types);
  for (const Operand& other : {c.in(1, "a"), c.in(2, "b"), c.out(0, "da"), c.out(1, "db")})
    c.same_shape(other, dy), c.same_dtype(other, dy);
}
void minimum_backward(const Node& n) {
  const int64_t size = n.in[0].shape.size();
  for (int64_t i = 0; i < size; ++i) {
    const double dy = load_float(n.in[0], i), a = load_float(n.in[1], i), b = load_float(n.in[2], i);
    const double share = a < b ? 1 : a > b ? 0 : 0.5;
    store_float(n.out[0], i, static_cast<float>(dy * share));
    store_float(n.out[1], i, static_cast<float>(dy * (1 - share)));
  }
}

HEDDLE_OP(minimum_op, {"minimum", 2, 2, 1, check_minimum, minimum, 0, 0b11});
HEDDLE_OP(minimum_backward_op, {"minimum_backward", 3, 3, 2, check_minimum_backward, minimum_backward});

}  // namespace
}  // namespace heddle
