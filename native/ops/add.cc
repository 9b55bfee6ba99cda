// Elementwise sum of two tensors of one shape.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_add(const Node& n) { check_elementwise("add", n, {"a", "b"}); }
void add(const Node& n) {
  map2(n.in[0], n.in[1], n.out[0], [](double a, double b) { return a + b; });
}

HEDDLE_OP(add_op, {"add", 2, 2, 1, check_add, add, 0, 0b11, false, false, false, by_rows<0b11>});

}  // namespace
}  // namespace heddle
