// Copies the values of a tensor to another tensor, rounded to the type of the destination. Training updates copies of
// its weights with this op.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// state = x, in place, rounded to nearest even.
void check_assign(const Node& n) {
  Check c("assign", n, 2, 2, 0, 0);
  const Operand state = c.in(0, "state"), x = c.in(1, "x");
  c.dtype(state, float_types), c.dtype(x, float_types), c.same_shape(x, state);
}

void assign(const Node& n) {
  map1(n.in[1], n.in[0], [](double x) { return x; });
}

HEDDLE_OP(assign_op, {"assign", 2, 2, 0, check_assign, assign, 0b1, 0, false, false, true});

}  // namespace
}  // namespace heddle
