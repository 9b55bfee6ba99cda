// Gradient accumulation over micro-batches.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// state f32 = keep * state + g, in place; keep (1) f32. keep = 0 overwrites whatever the state holds, even NaN.
void check_accumulate(const Node& n) {
  Check c("accumulate", n, 3, 3, 0, 0);
  const Operand state = c.in(0, "state"), g = c.in(1, "g"), keep = c.in(2, "keep");
  c.dtype(state, f32_only);
  c.same_shape(g, state), c.dtype(g, activation_types);
  c.dtype(keep, f32_only), c.shape(keep, {1});
}

void accumulate(const Node& n) {
  const double keep = load_float(n.in[2], 0);
  map2(n.in[0], n.in[1], n.in[0], [&](double state, double g) { return keep == 0 ? g : keep * state + g; });
}

HEDDLE_OP(accumulate_op, {"accumulate", 3, 3, 0, check_accumulate, accumulate, 0b1});

}  // namespace
}  // namespace heddle
