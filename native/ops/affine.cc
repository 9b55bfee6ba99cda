// y = factor * x + offset, with constant factor and offset.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_affine(const Node& n) {
  check_elementwise("affine", n, {"x"});
  Check c("affine", n, 1, 1, 1, 1);
  c.attr("factor", -3.4e38, 3.4e38), c.attr("offset", -3.4e38, 3.4e38);
}
void affine(const Node& n) {
  const double factor = n.attr("factor"), offset = n.attr("offset");
  map1(n.in[0], n.out[0], [&](double x) { return x * factor + offset; });
}

HEDDLE_OP(affine_op, {"affine", 1, 1, 1, check_affine, affine, 0, 0b1, false, false, false, by_rows<0b1>});

}  // namespace
}  // namespace heddle
