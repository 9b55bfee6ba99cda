// Soft cap of logits (Gemma 2): y = cap * tanh(x / cap), and its gradient.
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_cap(const Check& c) { c.attr("cap", 1e-6, 1e6); }

void check_softcap(const Node& n) {
  check_elementwise("softcap", n, {"x"});
  check_cap(Check("softcap", n, 1, 1, 1, 1));
}
void softcap(const Node& n) {
  const double cap = n.attr("cap");
  map1(n.in[0], n.out[0], [&](double x) { return cap * std::tanh(x / cap); });
}

void check_softcap_backward(const Node& n) {
  check_elementwise("softcap_backward", n, {"dy", "x"});
  check_cap(Check("softcap_backward", n, 2, 2, 1, 1));
}
void softcap_backward(const Node& n) {
  const double cap = n.attr("cap");
  map2(n.in[0], n.in[1], n.out[0], [&](double dy, double x) {
    const double t = std::tanh(x / cap);
    return dy * (1 - t * t);
  });
}

HEDDLE_OP(softcap_op, {"softcap", 1, 1, 1, check_softcap, softcap, 0, 0b1, false, false, false, by_rows<0b1>});
HEDDLE_OP(softcap_backward_op, {"softcap_backward", 2, 2, 1, check_softcap_backward, softcap_backward, 0, 0b11});

}  // namespace
}  // namespace heddle
