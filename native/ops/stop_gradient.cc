// Returns its operand and blocks gradients. The planner makes it a view. The copy is for callers without a planner.
#include <cstring>

#include "ops/check.h"

namespace heddle {
namespace {

void check_stop_gradient(const Node& n) { check_elementwise("stop_gradient", n, {"x"}); }
void stop_gradient(const Node& n) {
  const Tensor &x = n.in[0], &y = n.out[0];
  if (y.data != x.data && x.bytes() > 0) std::memmove(y.data, x.data, x.bytes());
}

HEDDLE_OP(stop_gradient_op, {"stop_gradient", 1, 1, 1, check_stop_gradient, stop_gradient, 0, 0, true});

}  // namespace
}  // namespace heddle
