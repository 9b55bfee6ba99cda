// Softmax over the last dimension, and its gradient.
#include "ops/attention.h"

namespace heddle {
namespace {

void check_softmax(const Node& n) {
  check_elementwise("softmax", n, {"x"});
  Check c("softmax", n, 1, 1, 1, 1);
  c.rank_at_least(c.in(0, "x"), 1), c.positive(c.in(0, "x"), n.in[0].shape.rank - 1);
}

void softmax(const Node& n) {
  const int64_t C = n.in[0].shape.last(), rows = n.in[0].shape.rows();
  Row row(C);
  for (int64_t i = 0; i < rows; ++i) {
    load_row(n.in[0], i * C, C, row.data());
    softmax_in_place(row.data(), C);
    store_row(n.out[0], i * C, row);
  }
}

void check_softmax_backward(const Node& n) {
  check_elementwise("softmax_backward", n, {"dy", "y"});
  Check c("softmax_backward", n, 2, 2, 1, 1);
  c.rank_at_least(c.in(0, "dy"), 1), c.positive(c.in(0, "dy"), n.in[0].shape.rank - 1);
}

void softmax_backward(const Node& n) {
  const int64_t C = n.in[0].shape.last(), rows = n.in[0].shape.rows();
  Row dy(C), y(C);
  for (int64_t i = 0; i < rows; ++i) {
    load_row(n.in[0], i * C, C, dy.data());
    load_row(n.in[1], i * C, C, y.data());
    const double mean = dot(dy.data(), y.data(), C);
    for (int64_t j = 0; j < C; ++j) dy[j] = y[j] * (dy[j] - mean);
    store_row(n.out[0], i * C, dy);
  }
}

HEDDLE_OP(softmax_op, {"softmax", 1, 1, 1, check_softmax, softmax, 0, 0b1});
HEDDLE_OP(softmax_backward_op, {"softmax_backward", 2, 2, 1, check_softmax_backward, softmax_backward});

}  // namespace
}  // namespace heddle
