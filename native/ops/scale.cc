// Multiplication by a constant.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_scale(const Node& n) {
  check_elementwise("scale", n, {"x"});
  Check("scale", n, 1, 1, 1, 1).attr("factor", -3.4e38, 3.4e38);
}
void scale(const Node& n) {
  const double factor = n.attr("factor");
  map1(n.in[0], n.out[0], [&](double x) { return x * factor; });
}

HEDDLE_OP(scale_op, {"scale", 1, 1, 1, check_scale, scale, 0, 0b1});

}  // namespace
}  // namespace heddle
