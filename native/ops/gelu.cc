// GELU without a gate (gpt2, bert), and its gradient. The attribute `tanh` selects the tanh approximation (1) or the
// exact function (0).
#include "ops/activation.h"
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

Activated gelu_of(bool tanh, double x) { return tanh ? gelu_tanh(x) : gelu_erf(x); }

void check_gelu(const Node& n) {
  check_elementwise("gelu", n, {"x"}, true);
  Check("gelu", n, 1, 1, 1, 1).attr_flag("tanh");
}

void gelu(const Node& n) {
  const bool tanh = n.attr_flag("tanh");
  map1(n.in[0], n.out[0], [&](double x) { return gelu_of(tanh, x).value; });
}

void check_gelu_backward(const Node& n) {
  check_elementwise("gelu_backward", n, {"dy", "x"});
  Check("gelu_backward", n, 2, 2, 1, 1).attr_flag("tanh");
}

void gelu_backward(const Node& n) {
  const bool tanh = n.attr_flag("tanh");
  map2(n.in[0], n.in[1], n.out[0], [&](double dy, double x) { return dy * gelu_of(tanh, x).derivative; });
}

HEDDLE_OP(gelu_op, {"gelu", 1, 1, 1, check_gelu, gelu, 0, 0b1, false, false, false, by_rows<0b1>});
HEDDLE_OP(gelu_backward_op, {"gelu_backward", 2, 2, 1, check_gelu_backward, gelu_backward, 0, 0b11});

}  // namespace
}  // namespace heddle
