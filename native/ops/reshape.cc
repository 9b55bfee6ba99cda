// Changes the shape of a tensor. The planner makes it a view. The copy here is for callers without a planner.
#include <cstring>

#include "ops/check.h"

namespace heddle {
namespace {

void check_reshape(const Node& n) {
  Check c("reshape", n, 1, 1, 1, 1);
  const Operand x = c.in(0, "x"), y = c.out(0, "y");
  c.same_dtype(y, x);
  if (x.shape().size() != y.shape().size())
    c.mismatch("elements of x: expected " + std::to_string(y.shape().size()) + " like y of shape " +
               to_string(y.shape()) + ", got " + std::to_string(x.shape().size()) + " of shape " +
               to_string(x.shape()));
}

void reshape(const Node& n) {
  const Tensor &x = n.in[0], &y = n.out[0];
  if (y.data != x.data && x.bytes() > 0) std::memmove(y.data, x.data, x.bytes());
}

HEDDLE_OP(reshape_op, {"reshape", 1, 1, 1, check_reshape, reshape, 0, 0, true});

}  // namespace
}  // namespace heddle
