// Elementwise product of two tensors of one shape.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_mul(const Node& n) { check_elementwise("mul", n, {"a", "b"}); }
void mul(const Node& n) {
  map2(n.in[0], n.in[1], n.out[0], [](double a, double b) { return a * b; });
}

HEDDLE_OP(mul_op, {"mul", 2, 2, 1, check_mul, mul, 0, 0b11, false, false, false, by_rows<0b11>});

}  // namespace
}  // namespace heddle
