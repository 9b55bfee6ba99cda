// Conversion of the element type, rounding to nearest even.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// Casts between floating-point types, and from i32.
void check_cast(const Node& n) {
  Check c("cast", n, 1, 1, 1, 1);
  const Operand x = c.in(0, "x"), y = c.out(0, "y");
  c.dtype(x, float_types | i32_only), c.dtype(y, float_types), c.same_shape(y, x);
}
void cast(const Node& n) {
  map1(n.in[0], n.out[0], [](double x) { return x; });
}

HEDDLE_OP(cast_op, {"cast", 1, 1, 1, check_cast, cast});

}  // namespace
}  // namespace heddle
