// Gated linear unit (Shazeer 2020): act(gate) * up, and its gradient. activation: 0 silu, 1 gelu tanh, 2 gelu erf.
#include "ops/activation.h"
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// gate, up -> y, all of one shape
void check_glu(const Node& n) {
  check_elementwise("glu", n, {"gate", "up"}, true);
  Check("glu", n, 2, 2, 1, 1).attr_int("activation", 0, 2);
}

void glu(const Node& n) {
  const int64_t activation = n.attr_int("activation");
  map2(n.in[0], n.in[1], n.out[0], [&](double gate, double up) { return activate(activation, gate).value * up; });
}

// dy, gate, up -> dgate, dup, all of one shape
void check_glu_backward(const Node& n) {
  Check c("glu_backward", n, 3, 3, 2, 2);
  const Operand dy = c.in(0, "dy"), gate = c.in(1, "gate"), up = c.in(2, "up");
  const Operand dgate = c.out(0, "dgate"), dup = c.out(1, "dup");
  c.dtype(dy, activation_types);
  c.same_shape(gate, dy), c.dtype(gate, activation_types);
  c.same_shape(up, dy), c.dtype(up, activation_types);
  c.same_shape(dgate, dy), c.dtype(dgate, activation_types);
  c.same_shape(dup, dy), c.dtype(dup, activation_types);
  c.attr_int("activation", 0, 2);
}

void glu_backward(const Node& n) {
  const int64_t activation = n.attr_int("activation"), count = n.in[0].shape.size();
  for (int64_t i = 0; i < count; ++i) {
    const double dy = load_float(n.in[0], i), up = load_float(n.in[2], i);
    const Activated gate = activate(activation, load_float(n.in[1], i));
    store_float(n.out[0], i, static_cast<float>(dy * up * gate.derivative));
    store_float(n.out[1], i, static_cast<float>(dy * gate.value));
  }
}

HEDDLE_OP(glu_op, {"glu", 2, 2, 1, check_glu, glu, 0, 0b11, false, false, false, by_rows<0b11>});
HEDDLE_OP(glu_backward_op, {"glu_backward", 3, 3, 2, check_glu_backward, glu_backward, 0, 0b111});

}  // namespace
}  // namespace heddle
